"""What every Strategy must do: choose each problem's next policy from that problem's own history, and hold no state."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.adapt.config import Role
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.adapt.session import Session
from idaq.adapt.strategy import Strategy
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import IdaqError
from idaq.core.seeds import generator
from idaq.core.types import Array, Floats
from idaq.learn.algorithm import Agent, Prior
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.cross_returns import CrossReturns
from idaq.loader.transitions import Transitions
from idaq.tasks.systems import PlayedEpisode

STEPS, BUDGET = 5, 6
GOALS = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2], [0.3, -1.0]], np.float32)
"""(P, 2) where each problem's point is paid to be"""
_UNITS = AgentSpec(
    observation_mean=[0.0, 0.0],
    observation_std=[1.0, 1.0],
    change_std=[1.0, 1.0],
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0, 0.0],
    action_scale=[1.0, 1.0],
)


def made_up_cross_returns(beliefs_MZ: Floats) -> CrossReturns:
    """As if a policy earned the less the farther its belief is from a task's own."""
    away = np.linalg.norm(beliefs_MZ[:, None] - beliefs_MZ, axis=-1).astype(np.float64)
    return CrossReturns(tasks=np.arange(len(beliefs_MZ)), returns=-STEPS * away[..., None])


_HEADINGS = np.array([[np.cos(angle), np.sin(angle)] for angle in np.arange(8)], np.float32)


class PointAgent:
    """An agent for a point on the plane, by hand: a belief is where it heads, an embedding where the reward rose."""

    config: TrainConfig = FocalTd3BcConfig()
    spec = _UNITS
    prior: Prior | None = Prior(
        beliefs=_HEADINGS,
        task_indices=np.arange(8),
        offline_return=-1.0,
        random_return=-6.0,
        cross_returns=made_up_cross_returns(_HEADINGS),
    )

    def embed(self, transitions: Transitions) -> Floats:
        """(..., 2)"""
        return (transitions.next_observations + transitions.actions * transitions.rewards[..., None]).astype(np.float32)

    def infer(self, context: Transitions) -> Floats:
        """(P, 2)"""
        return self.embed(context).mean(-2)

    def policy(self, beliefs: Floats) -> Policy:
        """Heads for its belief."""
        return BeliefPolicy(respond=lambda seen, z: np.clip(z - seen, -0.4, 0.4).astype(np.float32), beliefs=beliefs)

    def predict(self, data: Transitions, beliefs: Floats) -> tuple[Floats, Floats]:
        """Two members, which believe in the belief and in half of it: (2, R, 3), (R, 3)."""
        change = data.next_observations - data.observations
        told = [np.linalg.norm(data.next_observations - share * beliefs, axis=1) for share in (1.0, 0.5)]
        predicted = np.stack([np.concatenate([-away[:, None], change], 1) for away in told]).astype(np.float32)
        return predicted, np.concatenate([data.rewards[:, None], change], 1).astype(np.float32)

    def tensors(self) -> dict[str, Any]:
        """It has learned nothing."""
        return {}


class StrategyContract:
    """Subclass it and give `strategy`, with a reference stage of at most 3 episodes."""

    def strategy(self) -> Strategy:
        """Yours to give: the strategy."""
        raise NotImplementedError

    def agent(self) -> Agent:
        """What it adapts: of 2 numbers of observation and 2 of action. Give another where yours needs another kind."""
        return PointAgent()

    def beliefs(self, goals: Array) -> Floats:
        """What the agent believes of each goal (P, 2) from offline data. Give another where your agent's Z is not 2."""
        return goals.astype(np.float32)

    def test_its_settings_are_plain_data(self) -> None:
        strategy = self.strategy()
        assert from_mapping(type(strategy), to_mapping(strategy), where="settings", strict=True) == strategy
        assert strategy.role in get_args(Role)

    def test_every_episode_has_a_policy_and_there_is_one_to_deploy_after_each(self) -> None:
        for acted in self.adapt(GOALS).acted:
            assert (acted.shape, acted.dtype.kind) == ((len(GOALS), STEPS, 2), "f")
            assert np.isfinite(acted).all()

    def test_it_follows_from_the_history_alone(self) -> None:
        """Whatever global random numbers there are, and where the strategy is made anew between episodes, as a resumed
        session does."""
        results = []
        for seed in (0, 1):
            np.random.seed(seed)
            results.append(self.adapt(GOALS).acted)
        assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))

    def test_its_random_numbers_are_the_historys(self) -> None:
        """Histories of another seed may come out otherwise, those of one seed never."""
        first, second = (self.adapt(GOALS, seed=5).history.rng.bit_generator.state for _ in range(2))
        assert first == second

    @pytest.mark.parametrize("problem", range(len(GOALS)))
    def test_a_problem_is_adapted_to_by_its_own_episodes_alone(self, problem: int) -> None:
        """The others are permuted, easy, or hopeless: it makes no difference to this one."""
        expected = self.adapt(GOALS).acted
        for others in (np.roll(GOALS, 1, 0), 0 * GOALS, 9 * GOALS):
            goals = others.copy()
            goals[problem] = GOALS[problem]
            for found, kept in zip(self.adapt(goals).acted, expected, strict=True):
                np.testing.assert_array_equal(found[problem], kept[problem])

    def test_deploying_leaves_the_history_as_it_is(self) -> None:
        done = self.adapt(GOALS).history
        policies, episodes = list(done.policies), copy.deepcopy(done.episodes)
        self.strategy().deploy(done)
        assert [id(policy) for policy in done.policies] == [id(policy) for policy in policies]
        assert len(done.episodes) == len(episodes) == BUDGET
        for found, kept in zip(done.episodes, episodes, strict=True):
            np.testing.assert_array_equal(found.transitions.rewards, kept.transitions.rewards)
            np.testing.assert_array_equal(found.valid, kept.valid)

    def test_how_often_one_deploys_makes_no_difference(self) -> None:
        """Else what is explored would depend on which budgets are reported."""
        once, twice = (self.adapt(GOALS, deploys=deploys).history.episodes for deploys in (1, 2))
        for first, second in zip(once, twice, strict=True):
            np.testing.assert_array_equal(first.transitions.actions, second.transitions.actions)

    def test_what_is_anytime_does_the_same_within_every_budget(self) -> None:
        """Where it says so, one run of the largest budget stands for those of all smaller ones."""
        if not self.strategy().anytime:
            pytest.skip("each budget is run on its own")
        whole = self.adapt(GOALS).acted
        for budget in range(1, BUDGET):
            for found, expected in zip(self.adapt(GOALS, budget=budget).acted, whole, strict=False):
                np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("budget", range(1, BUDGET + 1))
    def test_the_reference_stage_draws_from_the_prior_alone(self, budget: int) -> None:
        stage, history = self.strategy().reference_stage(budget), self.adapt(GOALS, budget=budget).history
        assert stage <= 3
        known = {belief.tobytes() for belief in history.prior.beliefs}
        for played in history.beliefs[:stage]:
            assert {belief.tobytes() for belief in played} <= known

    def test_offline_data_is_used_only_where_it_says_so(self) -> None:
        strategy = self.strategy()
        if strategy.uses_offline_data:
            with pytest.raises(IdaqError):
                strategy.deploy(replace(self.adapt(GOALS).history, offline=None))
        else:
            assert self.adapt(GOALS).history.offline is None

    def test_a_session_of_it_resumes_as_if_it_had_not_stopped(self, tmp_path: Path) -> None:
        """All that it knows follows from the recorded episodes, so that a robot may be switched off in between."""
        if self.strategy().uses_offline_data:
            pytest.skip("it looks at offline data, and so adapts in simulation alone")
        whole, stopped = (self._session(file) for file in (None, tmp_path / "one.session"))
        for first, second in zip(whole, stopped, strict=True):
            np.testing.assert_array_equal(first.actions, second.actions)

    def _session(self, file: Path | None) -> tuple[PlayedEpisode, ...]:
        """The episodes of a session on one goal; with a file, switched off after each of them."""
        session = Session(self.agent(), self.strategy(), BUDGET)
        while not session.done:
            session.record(_episode(play(session.next_policy().policy, GOALS[:1])))
            if file is not None:
                session.save(file)
                session = Session.load(file, self.agent(), allow=[session.name])
        return session.episodes

    def adapt(self, goals: Array, seed: int = 0, deploys: int = 1, budget: int = BUDGET) -> "Adapted":
        """A whole adaptation, the strategy made anew for every episode, with what each deployed policy did."""
        offline = (lambda size: self.beliefs(goals)) if self.strategy().uses_offline_data else None
        history = AdaptationHistory(
            agent=self.agent(), problems=len(goals), budget=budget, rng=generator(seed), offline=offline
        )
        acted = []
        for _ in range(budget):
            policy = self.strategy().explore(history)
            history.add(policy, play(policy, goals))
            acted.append(history.episodes[-1].transitions.actions)
            deployed = [self.strategy().deploy(history) for _ in range(deploys)]
            acted += [play(policy, goals).transitions.actions for policy in deployed]
        return Adapted(history, acted)


@dataclass(frozen=True)
class Adapted:
    """What an adaptation came to."""

    history: AdaptationHistory
    acted: list[NDArray[np.float32]]
    """actions (P, T, 2) of each episode, and of each deployed policy"""


def play(policy: Policy, goals: Array) -> EpisodeBatch:
    """One episode of P points on the plane; the reward is minus the distance to the goal after the move."""
    policy.reset()
    place, alive = np.zeros((len(goals), 2), np.float32), np.ones(len(goals), bool)
    rows = []
    for _ in range(STEPS):
        action = np.asarray(policy.act(place), np.float32)
        moved = place + np.clip(action, -0.4, 0.4)
        reward = -np.sqrt(((moved - goals) ** 2).sum(1)).astype(np.float32)
        policy.observe(action, reward, moved, ~alive)
        rows.append((place, action, reward, moved))
        place = moved
    observations, actions, rewards, following = (np.stack(column, 1) for column in zip(*rows, strict=True))
    shape = rewards.shape
    columns = Transitions(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=following,
        terminated=np.zeros(shape, bool),
    )
    return EpisodeBatch(transitions=columns, valid=np.ones(shape, bool), success=rewards[:, -1] > -0.2)


def _episode(batch: EpisodeBatch) -> PlayedEpisode:
    """The first of a batch, cut by a time limit."""
    columns = batch.transitions[0]
    truncated = np.zeros(len(columns), bool)
    truncated[-1] = True
    return PlayedEpisode(
        observations=np.concatenate([columns.observations, columns.next_observations[-1:]]),
        actions=columns.actions,
        rewards=columns.rewards,
        terminated=columns.terminated,
        truncated=truncated,
    )
