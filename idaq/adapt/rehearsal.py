"""Judge strategies by cross returns alone: one training task at a time is taken for a new one.

Its row and its own arm are taken away. What remains is the prior, and the cross returns that a strategy is told; its
episodes earn the task's entries of the table. Nothing is simulated, and no validation or test task is seen. (The
prior's mean offline return, with which `gaussian-process` begins, is still that of all training tasks.)

Shapes: N tasks left out, B budgets, S seeds, M beliefs of the prior (arms), K episodes of each pair in the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from idaq.adapt.adapt import checked_policy, planned_runs, why_not
from idaq.adapt.between import points_between
from idaq.adapt.config import AdaptConfig
from idaq.adapt.history import NOT_MEASURED, AdaptationHistory, known_prior
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.adapt.strategy import AdaptPlan, Strategy
from idaq.core.errors import RunError
from idaq.core.outside import raised_as
from idaq.core.seeds import generator
from idaq.core.types import Advance, Array, Floats, ignore_progress
from idaq.learn.algorithm import Agent, Prior
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.cross_returns import CrossReturns
from idaq.loader.transitions import Transitions

LISTED: Mapping[str, Mapping[str, Any]] = {
    "policy-reuse": {"between": 1.0},
    "gaussian-process": {"features": "latents"},
}
"""settings with which strategies play no point between the beliefs that the table knows"""
_WHICH = (
    "a rehearsal is for strategies that choose among the training tasks' beliefs by returns: best-average,"
    " best-of-prior, nearest-training-task, policy-reuse with between=1, gaussian-process with features=latents"
)


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What the policies that strategies deploy earn on training tasks that were left out."""

    tasks: Int64[np.ndarray, "N"]
    """their task_index"""
    budgets: tuple[int, ...]
    returns: Mapping[str, Float64[np.ndarray, "B N S"]]
    """of each strategy: the mean of the deployed arm's entry"""
    episodes: int
    """K: of how many episodes an entry is the mean"""
    foretold: float
    """share of what a policy earns that the others foretell (R^2); above `between`, policy-reuse plays others too"""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A training task taken for a new one: an agent that does not know it, whose policies earn and do not act."""

    task: int
    config: TrainConfig
    spec: AgentSpec
    prior: Prior
    """without the task's belief; its cross returns are without the task's row and arm"""
    returns: Float64[np.ndarray, "M K"]
    """what the policies under the beliefs of that prior earn on the task"""

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """NaN: the table holds no transitions."""
        return np.full((len(context), self.prior.beliefs.shape[1]), np.nan, np.float32)

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> BeliefPolicy:
        """Nothing but its beliefs."""
        return BeliefPolicy(respond=_no_action, beliefs=beliefs)

    def tensors(self) -> Mapping[str, Any]:
        """None: nothing is calculated."""
        return {}

    def earned(self, policy: Policy, whose: str) -> Float64[np.ndarray, "S K"]:
        """The entries of a strategy's policy. Raises RunError for one under a belief that has none."""
        arms = {belief.tobytes(): arm for arm, belief in enumerate(self.prior.beliefs)}
        played = [belief.tobytes() for belief in policy.beliefs] if isinstance(policy, BeliefPolicy) else [b"none"]
        if not arms.keys() >= set(played):
            raise RunError(f"{whose} gave a policy under no training task's belief: no return is known", hint=_WHICH)
        return self.returns[[arms[belief] for belief in played]]


def rehearse(agent: Agent, plan: AdaptPlan, tasks: int | None = None, progress: Advance = ignore_progress) -> Rehearsal:
    """Adapt to the first so many training tasks that the agent's cross returns have a row of; to all of them for None.

    Budgets and seeds are the plan's; each budget is planned on its own, as in `adapt`. All strategies draw from the
    same random numbers. `progress` counts tasks, once for each strategy. Raises RunError where no cross returns were
    measured, and for a strategy that does more than choose among the training tasks' beliefs by returns.
    """
    prior, config = known_prior(agent), plan.config
    cross = prior.cross_returns
    if cross is None:
        raise RunError(NOT_MEASURED, hint="idaq adapt RUN --strategies policy-reuse measures it")
    if len(cross.tasks) < 2:
        raise RunError("cross returns of one training task leave no row without it", hint="--set cross_tasks=10")
    chosen = cross.tasks[:tasks]
    returns = {name: np.zeros((len(config.report_at), len(chosen), config.seeds)) for name in plan.strategies}
    for row in range(len(chosen)):
        left_out = leave_out(agent, row)
        for name, strategy in plan.strategies.items():
            if problem := why_not(strategy, left_out, has_data=False):
                raise RunError(f"strategy {name} cannot be rehearsed: {problem}", hint=_WHICH)
            with raised_as(RunError, f"strategy {name}"):
                returns[name][:, row] = _adapted(left_out, name, strategy, config)
            progress(1)
    return Rehearsal(
        tasks=chosen,
        budgets=(*config.report_at,),
        returns=returns,
        episodes=cross.returns.shape[-1],
        foretold=points_between(prior.beliefs, cross.means).foretold,
    )


def leave_out(agent: Agent, row: int) -> LeftOut:
    """The task of a row of the agent's cross returns, and the agent without it."""
    prior = known_prior(agent)
    assert prior.cross_returns is not None
    tasks, returns = prior.cross_returns.tasks, prior.cross_returns.returns
    others = prior.task_indices != tasks[row]
    known = CrossReturns(tasks=np.delete(tasks, row), returns=np.delete(returns, row, 0)[:, others])
    beliefs, indices = prior.beliefs[others], prior.task_indices[others]
    reduced = replace(prior, beliefs=beliefs, task_indices=indices, cross_returns=known)
    return LeftOut(
        task=int(tasks[row]), config=agent.config, spec=agent.spec, prior=reduced, returns=returns[row, others]
    )


def _adapted(left_out: LeftOut, name: str, strategy: Strategy, config: AdaptConfig) -> Float64[np.ndarray, "B S"]:
    """What is deployed after each budget earns, for every seed."""
    seeds, repeats = config.seeds, left_out.returns.shape[1]
    drawn = generator(config.seed, left_out.task, 1).integers(repeats, size=(config.episodes, seeds))
    deployed = list[Float64[np.ndarray, "S"]]()
    for budgets in planned_runs(config, strategy):
        rng = generator(config.seed, left_out.task, 0)
        history = AdaptationHistory(agent=left_out, problems=seeds, budget=budgets[-1], rng=rng)
        for number in range(history.budget):
            policy = checked_policy(strategy.explore(history), f"explore of strategy {name}", seeds)
            entries = left_out.earned(policy, f"explore of strategy {name}")
            history.add(policy, _episode(entries[np.arange(seeds), drawn[number]]))
            if number + 1 in budgets:
                final = checked_policy(strategy.deploy(history), f"deploy of strategy {name}", seeds)
                deployed.append(left_out.earned(final, f"deploy of strategy {name}").mean(1))
    return np.stack(deployed)


def _episode(returns: Float64[np.ndarray, "S"]) -> EpisodeBatch:
    """Episodes of one step that earn so much; what was observed and done in them is not known."""
    once, unknown = np.ones((len(returns), 1), bool), np.full((len(returns), 1, 1), np.nan, np.float32)
    rewards = returns[:, None].astype(np.float32)
    seen = Transitions(
        observations=unknown, actions=unknown, rewards=rewards, next_observations=unknown, terminated=once
    )
    return EpisodeBatch(transitions=seen, valid=once, success=np.zeros(len(returns), bool))


def _no_action(_observations: Array, _beliefs: Floats, /) -> Array:
    raise RunError("no policy acts in a rehearsal: what it earns stands in a table")
