"""Online episodes of P problems (test task x seed) side by side: one batched policy call a time step.

Shapes: P problems, T steps, D observation, A action, Z latent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Array
from idaq.loader.transitions import Floats, Transitions
from idaq.tasks import Family

Policy = Callable[[Array, int], Array]
"""observations (P, D), time step -> actions (P, A) in the environment's units"""


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


def run_episodes(
    family: Family, tasks_P: NDArray[np.int64], seeds_P: NDArray[np.uint64], policy: Policy
) -> EpisodeBatch:
    """Run one episode of every problem to its end or the time limit; T is the horizon, zeros follow an early end."""
    env, problems, horizon = family.lockstep(), len(tasks_P), family.horizon
    observations = env.reset(tasks_P, seeds_P)
    seen = np.zeros((problems, horizon + 1, *observations.shape[1:]), np.float32)
    rewards = np.zeros((problems, horizon), np.float32)
    flags = np.zeros((3, problems, horizon), bool)  # valid, terminated, success
    actions: list[Array] = []
    alive = np.ones(problems, bool)
    seen[:, 0] = observations
    for step in range(horizon):
        actions.append(policy(observations, step))
        result = env.step(actions[-1])
        observations = result.observations
        seen[:, step + 1], rewards[:, step] = observations, result.rewards
        flags[:, :, step] = alive, result.terminated, result.success
        alive = alive & ~(result.terminated | result.truncated)
        if not alive.any():
            break
    acted = np.zeros((problems, horizon, actions[0].shape[1]), np.float32)
    acted[:, : len(actions)] = np.stack(actions, 1)
    valid, terminated, success = flags
    return EpisodeBatch(
        transitions=Transitions(
            observations=seen[:, :-1],
            actions=acted,
            rewards=rewards,
            next_observations=seen[:, 1:],
            terminated=terminated,
        ),
        valid=valid,
        success=_solved(family, tasks_P, success, valid),
    )


def _solved(
    family: Family, tasks_P: NDArray[np.int64], success_PT: NDArray[np.bool_], valid_PT: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    any_step = {task.task_index: task.success.when == "any-step" for task in family.tasks}
    last = success_PT[np.arange(len(tasks_P)), valid_PT.sum(1) - 1]
    return np.where([any_step[int(task)] for task in tasks_P], (success_PT & valid_PT).any(1), last)


def latent_policy(act: Callable[[Array, Floats], Floats], z_PZ: Floats) -> Policy:
    """The meta-policy under fixed latents."""
    return lambda observations, _step: act(observations, z_PZ)
