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
from idaq.core.types import Array, Episode, leaves_of
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
    """A policy as one system steps it: an observation in, an action out, both in the system's units: (D,) and (A,)
    where they are arrays of numbers, a dict, an index or an image where the agent has learned from such spaces.

    `reset` begins an episode; a policy with a memory also needs `observe` after every action. `source` says where
    the policy came from.
    """

    def __init__(self, policy: Policy, agent: Agent, source: PolicySource | None = None) -> None:
        self.policy, self.agent, self.source = policy, agent, source
        self._view = agent.spec.view
        self.saw: list[Array] = []
        """the observations (D,) since `reset`, in the agent's view"""
        self.acted: list[Array] = []
        """the actions given for them, as the environment takes them"""
        self.begun = 0
        """times that an episode has begun"""

    def reset(self) -> None:
        """An episode begins."""
        self.begun += 1
        self.saw.clear()
        self.acted.clear()
        self.policy.reset()

    def act(self, observation: object) -> Any:
        """The action for an observation. Raises UsageError, NonFiniteError for one that the agent does not know."""
        if self._view is not None:
            return self._act_in_view(observation)
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

    def _act_in_view(self, observation: object) -> Any:
        """An action of the environment's spaces for an observation of them, by way of the agent's view."""
        assert self._view is not None
        seen = self._view.encode_observations(observation)
        if seen.ndim != 1:
            raise UsageError(f"{len(seen)} observations were given at once; one is needed")
        if not np.isfinite(seen).all():
            raise NonFiniteError(f"the observation at step {len(self.acted)} holds NaN or infinity")
        action = self._view.decode_actions(np.asarray(self.policy.act(seen[None]))[0])
        self.saw.append(seen)
        self.acted.append(action)
        return action.copy() if action.ndim else action[()]

    def observe(self, action: Any, reward: float, next_observation: object, ended: bool) -> None:
        """What the action led to, and whether the episode is over."""
        if self._view is None:
            following, taken = np.asarray(next_observation), np.asarray(action)
        else:
            following, taken = self._view.encode_observations(next_observation), self._view.encode_actions(action)
        self.policy.observe(taken.reshape(1, -1), np.array([reward]), following.reshape(1, -1), np.array([ended]))

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
    seen, acted = _spaces_rows(columns, spec)
    episode = PlayedEpisode(
        observations=seen,
        actions=acted,
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
        if not _same(before[3], after[0]):
            raise UsageError(
                f"step {number + 1} begins at another observation than step {number} has led to",
                hint="give the steps in their order, none left out",
            )
    names = ("actions", "rewards", "terminated", "truncated")
    return {
        "observations": _stacked("observations", [*(row[0] for row in rows), rows[-1][3]]),
        **{name: _stacked(name, [row[i] for row in rows]) for name, i in zip(names, (1, 2, 4, 5), strict=True)},
    }


def _stacked(name: str, rows: list[Any]) -> Any:
    if all(isinstance(row, dict) for row in rows):
        if len({tuple(row) for row in rows}) > 1:
            raise UsageError(f"{name} have rows with other keys than the first")
        return {key: _stacked(f"{name}/{key}", [row[key] for row in rows]) for key in rows[0]}
    if len(shapes := {row.shape for row in rows}) > 1:
        raise UsageError(f"{name} have rows of the shapes {', '.join(map(str, sorted(shapes)))}")
    return np.stack(rows)


def _step(number: int, given: object) -> list[Any]:
    if isinstance(given, Mapping):
        step = cast(Mapping[str, object], given)
        if missing := [name for name in _STEP if name not in step]:
            raise UsageError(f"step {number} lacks {', '.join(missing)}", hint=f"a step has {', '.join(_STEP)}")
        return [_values(f"{name} of step {number}", step[name]) for name in _STEP]
    values = list(cast(Sequence[object], given)) if isinstance(given, Sequence) else []
    if len(values) != len(_STEP):
        raise UsageError(f"step {number} is {given!r:.60}", hint=f"a step is ({', '.join(_STEP)})")
    return [_values(f"{name} of step {number}", value) for name, value in zip(_STEP, values, strict=True)]


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


def _values(name: str, given: object) -> Any:
    """A copy of an array, or of a dict of such, nested as it is."""
    if isinstance(given, Mapping):
        return {key: _values(f"{name}/{key}", value) for key, value in cast(Mapping[str, object], given).items()}
    return _numbers(name, given)


def _same(one: Any, other: Any) -> bool:
    leaves, others = leaves_of(one), leaves_of(other)
    return leaves.keys() == others.keys() and all(np.array_equal(leaves[name], others[name]) for name in leaves)


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


def _spaces_rows(columns: Mapping[str, object], spec: AgentSpec) -> tuple[Any, Array]:
    """Observations (T + 1 rows) and actions (T rows) of the spaces that the agent has learned from."""
    view = spec.view
    if view is None:
        seen = _rows("observations", columns["observations"], spec.observation_size)
        return seen, _rows("actions", columns["actions"], spec.action_size)
    observations, actions = _values("observations", columns["observations"]), _numbers("actions", columns["actions"])
    view.encode_observations(observations)  # raises for values of other spaces
    view.encode_actions(actions)
    return observations, actions


def _rows(name: str, column: object, width: int) -> NDArray[Any]:
    """(T, width), flattened where the system's have more axes."""
    array = _numbers(name, column)
    if not array.ndim or not len(array) or array.size != len(array) * width:
        raise UsageError(f"{name} have the shape {array.shape}; the agent knows rows of {width} numbers")
    return array.reshape(len(array), width)


def _check(episode: Episode) -> None:
    """Raise where lengths, numbers or ends contradict each other."""
    steps = len(episode.rewards)
    seen = leaves_of(episode.observations)
    lengths = {"actions": len(episode.actions), "terminated": len(episode.terminated)}
    lengths |= {"truncated": len(episode.truncated), **{name: len(column) for name, column in seen.items()}}
    if wrong := [name for name, length in lengths.items() if length != steps + (name in seen)]:
        raise UsageError(
            f"{steps} rewards do not fit {', '.join(f'{lengths[name]} {name}' for name in wrong)}",
            hint="T rewards, actions and flags go with T + 1 observations: the last one too",
        )
    for name, column in {**seen, "actions": episode.actions, "rewards": episode.rewards}.items():
        finite = _finite(column).reshape(len(column), -1)
        if not finite.all():
            row = int(np.flatnonzero(~finite.all(1))[0])
            hint = "session.discard() and run the episode again"
            raise NonFiniteError(f"{name} of step {row} hold NaN, infinity, or what float32 does not hold", hint=hint)
    early = np.flatnonzero((episode.terminated | episode.truncated)[:-1])
    if len(early):
        raise UsageError(f"step {early[0]} of {steps} ends the episode already", hint="give each episode by itself")


def as_batch(episode: PlayedEpisode, spec: AgentSpec) -> EpisodeBatch:
    """The episode in the agent's view, as the only one of its batch (P = 1)."""
    return EpisodeBatch(
        transitions=from_episode(episode, spec.view)[None],
        valid=np.ones((1, len(episode)), bool),
        success=np.array([bool(episode.success)]),
    )


def row_of(observations: Any, number: int) -> Any:
    """One row of an array, or of each in a nested dict of such."""
    if isinstance(observations, Mapping):
        return {key: row_of(column, number) for key, column in cast(Mapping[str, Any], observations).items()}
    return observations[number]
