"""Online episodes of P problems (test task x seed) side by side: one batched policy call a time step.

Shapes: P problems, T steps, D observation, A action, Z latent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.core.errors import PluginError, RunError
from idaq.core.types import Array
from idaq.learn.algorithm import Respond
from idaq.loader.flat import FlatView
from idaq.loader.transitions import Transitions, concatenate
from idaq.tasks import Family

_SLACK = 1e-4  # of the width of the action space, for what rounding does


@dataclass(frozen=True, kw_only=True)
class EpisodeBatch:
    """One episode of each problem."""

    transitions: Transitions
    """(P, T) columns"""
    valid: NDArray[np.bool_]
    """(P, T) false after an episode's end"""
    success: NDArray[np.bool_]
    """(P,)"""

    @property
    def returns(self) -> NDArray[np.float64]:
        """(P,) undiscounted"""
        return np.where(self.valid, self.transitions.rewards, 0).sum(1, dtype=np.float64)

    @property
    def trimmed(self) -> "EpisodeBatch":
        """The same as far as the longest episode goes: what is calculated of it does not depend on a time limit."""
        return self.of_length(int(self.valid.sum(1).max()))

    def of_length(self, steps: int) -> "EpisodeBatch":
        """The same with T = `steps`: cut, or followed by steps of zeros that are not valid."""
        if steps == self.valid.shape[1]:
            return self
        columns = {f.name: _of_length(getattr(self.transitions, f.name), steps) for f in fields(Transitions)}
        return replace(self, transitions=Transitions(**columns), valid=_of_length(self.valid, steps))


def _of_length(column: Array, steps: int) -> Array:
    """(P, T, ...) -> (P, steps, ...)"""
    missing = max(0, steps - column.shape[1])
    return np.pad(column[:, :steps], [(0, 0), (0, missing), *[(0, 0)] * (column.ndim - 2)])


class Rollouts:
    """Runs episodes of a family; its environments are made once.

    A policy sees and acts in the agent's `view` of the family's spaces; None where both are arrays of numbers.

    Where the family is deterministic, what a function of observation and belief does on a task under a belief is known
    once it has been seen: it is not run again.
    """

    def __init__(self, family: Family, view: FlatView | None = None) -> None:
        self.family, self._view = family, view
        self._env, self._bounds = family.lockstep(), _bounds(family, view)
        slack = _SLACK * (self._bounds[1] - self._bounds[0])
        self._low, self._high = self._bounds[0] - slack, self._bounds[1] + slack
        self._responses: list[Respond] = []
        self._known: dict[tuple[int, int, bytes], tuple[EpisodeBatch, int]] = {}

    def run(
        self, tasks_P: NDArray[np.int64], seeds_P: NDArray[np.uint64], policy: Policy, what: str = "the policy"
    ) -> EpisodeBatch:
        """One episode of every problem to its end or the time limit; T is the horizon, zeros follow an early end.

        Raises PluginError for actions that the environment does not take; `what` says whose they are.
        """
        if not (self.family.deterministic and isinstance(policy, BeliefPolicy)):
            return self._play(tasks_P, seeds_P, policy, what)
        if policy.respond not in self._responses:
            self._responses.append(policy.respond)
        response = self._responses.index(policy.respond)
        keys = [(response, task, z.tobytes()) for task, z in zip(tasks_P.tolist(), policy.beliefs, strict=True)]
        new = {key: problem for problem, key in enumerate(keys) if key not in self._known}
        if new:
            rows = np.array(list(new.values()))
            batch = self._play(tasks_P[rows], seeds_P[rows], policy.of_problems(rows), what)
            self._known |= {key: (batch, row) for row, key in enumerate(new)}
        return stack([self._known[key] for key in keys])

    def _play(self, tasks_P: NDArray[np.int64], seeds_P: NDArray[np.uint64], policy: Policy, what: str) -> EpisodeBatch:
        env, problems, horizon = self._env, len(tasks_P), self.family.horizon
        observations = self._seen(env.reset(tasks_P, seeds_P))
        policy.reset()
        seen = np.zeros((problems, horizon + 1, *observations.shape[1:]), np.float32)
        rewards = np.zeros((problems, horizon), np.float32)
        flags = np.zeros((3, problems, horizon), bool)  # valid, terminated, success
        actions: list[Array] = []
        alive = np.ones(problems, bool)
        seen[:, 0] = observations
        for step in range(horizon):
            given = self._checked(policy.act(observations), alive, f"{what} at step {step}")
            taken = given if self._view is None else self._view.decode_actions(given)
            actions.append(given if self._view is None else self._view.encode_actions(taken))
            result = env.step(taken)
            observations = self._seen(result.observations)
            seen[:, step + 1], rewards[:, step] = observations, result.rewards
            flags[:, :, step] = alive, result.terminated, result.success
            alive = alive & ~(result.terminated | result.truncated)
            policy.observe(actions[-1], result.rewards, observations, ~alive)
            if not alive.any():
                break
        acted = np.zeros((problems, horizon, actions[0].shape[1]), np.float32)
        acted[:, : len(actions)] = np.stack(actions, 1)
        valid, terminated, success = flags
        columns = Transitions(
            observations=seen[:, :-1],
            actions=acted,
            rewards=rewards,
            next_observations=seen[:, 1:],
            terminated=terminated,
        )
        return EpisodeBatch(transitions=columns, valid=valid, success=_solved(self.family, tasks_P, success, valid))

    def _seen(self, observations: Any) -> Array:
        """(P, D) in the agent's view."""
        return observations if self._view is None else self._view.encode_observations(observations)

    def _checked(self, actions: object, alive_P: NDArray[np.bool_], what: str) -> Array:
        """(P, A) that the environment takes; those of ended episodes are not looked at. Raises PluginError."""
        given, shape = np.asarray(actions), (len(alive_P), len(self._low))
        if given.shape != shape or given.dtype.kind not in "fiu":
            raise PluginError(f"{what} gave actions of {given.dtype} {given.shape}; numbers {shape} were expected")
        inside = ((given >= self._low) & (given <= self._high)).all(1)  # NaN is not
        if (alive_P & ~inside).any():
            wrong = given[alive_P & ~inside][0]
            raise PluginError(
                f"{what} gave the action {wrong.tolist()}, outside {self._bounds[0].tolist()} to"
                f" {self._bounds[1].tolist()}",
                hint="clip actions to the action space, in the environment's units; look for NaN",
            )
        return given


def _bounds(family: Family, view: FlatView | None) -> tuple[Array, Array]:
    """(A,) lowest and highest numbers of an action in the view. Raises RunError for a space that it is not of."""
    counted, space = view and view.actions.bounds, family.spaces().actions
    if counted is not None:
        return counted
    if not isinstance(space, Box):
        raise RunError(f"{family.name} takes actions of {space}; the agent knows boxes of numbers")
    return cast(Array, space.low).ravel(), cast(Array, space.high).ravel()


def stack(rows: Sequence[tuple[EpisodeBatch, int]]) -> EpisodeBatch:
    """One batch of single rows of others."""
    return EpisodeBatch(
        transitions=concatenate([batch.transitions[row : row + 1] for batch, row in rows]),
        valid=np.stack([batch.valid[row] for batch, row in rows]),
        success=np.stack([batch.success[row] for batch, row in rows]),
    )


def _solved(
    family: Family, tasks_P: NDArray[np.int64], success_PT: NDArray[np.bool_], valid_PT: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    any_step = {task.task_index: task.success is None or task.success.when == "any-step" for task in family.tasks}
    last = success_PT[np.arange(len(tasks_P)), valid_PT.sum(1) - 1]
    return np.where([any_step[int(task)] for task in tasks_P], (success_PT & valid_PT).any(1), last)
