"""One system stepped from outside: its policy, and the episodes that a user brings.

Shapes: T steps, D observation, A action; of a batch, P = 1 problem.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import Policy
from idaq.core.errors import NonFiniteError, UsageError
from idaq.core.types import Array, Episode
from idaq.deploy.document import PolicyDocument, PolicySource
from idaq.deploy.save import save_policy
from idaq.learn.algorithm import Agent
from idaq.learn.config import AgentSpec
from idaq.loader.transitions import from_episode
from idaq.tasks.systems import PlayedEpisode

_STEP = ("observation", "action", "reward", "next_observation", "terminated", "truncated")
_COLUMNS = ("observations", "actions", "rewards", "terminated", "truncated")
_NAMES = {"terminated": ("terminated", "terminations"), "truncated": ("truncated", "truncations")}


class SystemPolicy:
    """A policy as one system steps it: an observation (D,) in, an action (A,) out, both in the system's units.

    `reset` begins an episode; a policy with a memory also needs `observe` after every action. `source` says where
    the policy came from.
    """

    def __init__(self, policy: Policy, agent: Agent, source: PolicySource | None = None) -> None:
        self.policy, self.agent, self.source = policy, agent, source
        self.saw: list[Array] = []
        """the observations (D,) since `reset`"""
        self.acted: list[Array] = []
        """the actions given for them"""
        self.begun = 0
        """times that an episode has begun"""

    def reset(self) -> None:
        """An episode begins."""
        self.begun += 1
        self.saw.clear()
        self.acted.clear()
        self.policy.reset()

    def act(self, observation: object) -> Array:
        """The action (A,) for an observation of D numbers. Raises UsageError, NonFiniteError for another."""
        seen = _numbers("an observation", observation)
        if seen.size != self.agent.spec.observation_size:
            raise UsageError(
                f"an observation of {seen.dtype} {seen.shape} was given;"
                f" {self.agent.spec.observation_size} numbers are needed"
            )
        if not _finite(seen).all():
            step = len(self.acted)
            raise NonFiniteError(f"the observation at step {step} holds NaN, infinity, or what float32 does not hold")
        action = np.asarray(self.policy.act(seen.reshape(1, -1)))[0]
        self.saw.append(seen.ravel())
        self.acted.append(action)
        return action.copy()

    def observe(self, action: Array, reward: float, next_observation: Array, ended: bool) -> None:
        """What the action led to, and whether the episode is over."""
        following = np.asarray(next_observation).reshape(1, -1)
        self.policy.observe(np.asarray(action).reshape(1, -1), np.array([reward]), following, np.array([ended]))

    def save(self, folder: str | Path, *, formats: Sequence[str] = ("npz",), force: bool = False) -> PolicyDocument:
        """Write it into a folder that runs without idaq. As `idaq.save_policy`, which says what it raises."""
        return save_policy(folder, self.agent, self.policy, formats=formats, source=self.source, force=force)


def as_episode(given: object, spec: AgentSpec) -> PlayedEpisode:
    """An episode of what a user or a recorder gives, as an agent can learn from it.

    An `Episode`; anything with `observations` (T + 1), `actions`, `rewards`, `terminations` and `truncations` (T), such
    as Minari's episodes and buffers; or T steps, each `(observation, action, reward, next_observation, terminated,
    truncated)` or a mapping of these names. Raises UsageError, naming the step, for what is no such episode, and
    NonFiniteError for NaN, infinity and what float32 does not hold.
    """
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        columns = _of_steps(cast(Sequence[object], given))
    else:
        columns = _of_columns(given)
    episode = PlayedEpisode(
        observations=_rows("observations", columns["observations"], spec.observation_size),
        actions=_rows("actions", columns["actions"], spec.action_size),
        rewards=_numbers("rewards", columns["rewards"]).reshape(-1),
        terminated=_flags("terminated", columns["terminated"]),
        truncated=_flags("truncated", columns["truncated"]),
        success=given.success if isinstance(given, PlayedEpisode) else None,
        seed=given.seed if isinstance(given, PlayedEpisode) else None,
    )
    _check(episode)
    return episode


def _of_steps(steps: Sequence[object]) -> dict[str, object]:
    """T steps as columns; each must begin where the one before has led."""
    if not steps:
        raise UsageError("an episode without a step was given", hint="session.discard() for one that was aborted")
    rows = [_step(number, step) for number, step in enumerate(steps)]
    for number, (before, after) in enumerate(pairwise(rows)):
        if not np.array_equal(before[3], after[0]):
            raise UsageError(
                f"step {number + 1} begins at another observation than step {number} has led to",
                hint="give the steps in their order, none left out",
            )
    names = ("actions", "rewards", "terminated", "truncated")
    return {
        "observations": _stacked("observations", [*(row[0] for row in rows), rows[-1][3]]),
        **{name: _stacked(name, [row[i] for row in rows]) for name, i in zip(names, (1, 2, 4, 5), strict=True)},
    }


def _stacked(name: str, rows: list[Array]) -> Array:
    if len(shapes := {row.shape for row in rows}) > 1:
        raise UsageError(f"{name} have rows of the shapes {', '.join(map(str, sorted(shapes)))}")
    return np.stack(rows)


def _step(number: int, given: object) -> list[Array]:
    if isinstance(given, Mapping):
        step = cast(Mapping[str, object], given)
        if missing := [name for name in _STEP if name not in step]:
            raise UsageError(f"step {number} lacks {', '.join(missing)}", hint=f"a step has {', '.join(_STEP)}")
        return [_numbers(f"{name} of step {number}", step[name]) for name in _STEP]
    values = list(cast(Sequence[object], given)) if isinstance(given, Sequence) else []
    if len(values) != len(_STEP):
        raise UsageError(f"step {number} is {given!r:.60}", hint=f"a step is ({', '.join(_STEP)})")
    return [_numbers(f"{name} of step {number}", value) for name, value in zip(_STEP, values, strict=True)]


def _of_columns(given: object) -> dict[str, object]:
    def column(name: str) -> object:
        return cast(Mapping[str, object], given).get(name) if isinstance(given, Mapping) else getattr(given, name, None)

    kind = type(given).__name__
    values = {name: [column(alias) for alias in _NAMES.get(name, (name,))] for name in _COLUMNS}
    found = {name: next((v for v in given if v is not None), None) for name, given in values.items()}
    if missing := {name for name, value in found.items() if value is None}:
        raise UsageError(
            f"a {kind} is no episode: it has no {', '.join(sorted(missing))}",
            hint="an idaq.Episode, a list of steps, or an episode of Minari",
        )
    return found


def _numbers(name: str, given: object) -> NDArray[Any]:
    """A copy: whose array it is may change it in place."""
    try:
        array = np.array(given)
    except ValueError as error:  # rows of different lengths
        raise UsageError(f"{name}: no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{name}: numbers are needed, got {array.dtype}")
    return array


def _flags(name: str, column: object) -> NDArray[np.bool_]:
    """(T,)"""
    array = _numbers(name, column)
    if not np.isin(array, (0, 1)).all():
        raise UsageError(f"{name}: true and false are needed, got {array[~np.isin(array, (0, 1))][0]}")
    return array.astype(bool).reshape(-1)


def _finite(array: Array) -> NDArray[np.bool_]:
    """Where float32 holds a number."""
    with np.errstate(over="ignore"):
        return np.isfinite(array.astype(np.float32))


def _rows(name: str, column: object, width: int) -> NDArray[Any]:
    """(T, width), flattened where the system's have more axes."""
    array = _numbers(name, column)
    if not array.ndim or not len(array) or array.size != len(array) * width:
        raise UsageError(f"{name} have the shape {array.shape}; the agent knows rows of {width} numbers")
    return array.reshape(len(array), width)


def _check(episode: Episode) -> None:
    """Raise where lengths, numbers or ends contradict each other."""
    steps = len(episode.rewards)
    lengths = {"actions": len(episode.actions), "terminated": len(episode.terminated)}
    lengths |= {"truncated": len(episode.truncated), "observations": len(episode.observations) - 1}
    if wrong := [name for name, length in lengths.items() if length != steps]:
        raise UsageError(
            f"{steps} rewards do not fit {', '.join(f'{len(getattr(episode, name))} {name}' for name in wrong)}",
            hint="T rewards, actions and flags go with T + 1 observations: the last one too",
        )
    for name in ("observations", "actions", "rewards"):
        finite = _finite(getattr(episode, name)).reshape(len(getattr(episode, name)), -1)
        if not finite.all():
            row = int(np.flatnonzero(~finite.all(1))[0])
            hint = "session.discard() and run the episode again"
            raise NonFiniteError(f"{name} of step {row} hold NaN, infinity, or what float32 does not hold", hint=hint)
    early = np.flatnonzero((episode.terminated | episode.truncated)[:-1])
    if len(early):
        raise UsageError(f"step {early[0]} of {steps} ends the episode already", hint="give each episode by itself")


def as_batch(episode: PlayedEpisode) -> EpisodeBatch:
    """The episode as the only one of its batch (P = 1)."""
    return EpisodeBatch(
        transitions=from_episode(episode)[None],
        valid=np.ones((1, len(episode)), bool),
        success=np.array([bool(episode.success)]),
    )
