"""Agents that infer from whole episodes: what strategies give them, and the strategy that is their own."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from idaq.adapt.adapt import why_not
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import RandomPolicy
from idaq.adapt.strategies import BestOfPrior, Idaq, IdaqMixture, InContext, Posterior
from idaq.core.seeds import generator
from idaq.core.types import Array, Floats
from idaq.learn.algorithm import EpisodicAgent
from idaq.loader.contexts import Experience
from idaq.loader.transitions import Transitions
from tests.adapt.test_strategies import PRIOR, SPEC, EchoAgent, episodes


@dataclass
class Remembering:
    """A policy with a memory, which began with a belief."""

    beliefs: Floats

    def reset(self) -> None: ...

    def act(self, observations: Array) -> Array:
        return self.beliefs

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None: ...


class SequenceAgent:
    """Its belief is the rewards of all episodes as digits of one number: order and completeness can be read off."""

    config, spec, prior = EchoAgent.config, SPEC, PRIOR

    def infer(self, context: Transitions) -> Floats:
        pytest.fail("a bag of transitions is not enough for it")

    def infer_episodes(self, experience: Experience) -> Floats:
        number = np.zeros((len(experience.valid), 1), np.float32)
        for reward, valid in zip(experience.transitions.rewards.T, experience.valid.T, strict=True):
            number[:, 0] = np.where(valid, number[:, 0] * 10 + reward, number[:, 0])
        return number

    def policy(self, beliefs: Floats) -> Remembering:
        return Remembering(beliefs)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


class SampledAgent(SequenceAgent):
    """It explores under its belief and a drawn digit behind it."""

    def sampled_policy(self, beliefs: Floats, rng: np.random.Generator) -> Remembering:
        return Remembering(beliefs * 10 + rng.integers(1, 10))


def history(problems: int = 2) -> AdaptationHistory:
    agent = SequenceAgent()
    assert isinstance(agent, EpisodicAgent)
    return AdaptationHistory(agent=agent, problems=problems, budget=4, rng=generator(0))


def record(seen: AdaptationHistory, z: list[float], rewards: list[list[float]], lengths: list[int]) -> None:
    seen.add(seen.agent.policy(np.array(z, np.float32)[:, None]), episodes(rewards, lengths))


def beliefs(policy: object) -> list[float]:
    assert isinstance(policy, Remembering)
    return policy.beliefs[:, 0].tolist()


@pytest.fixture
def seen() -> AdaptationHistory:
    """Two problems, three episodes: the second is the best of the first problem, the third of the second."""
    seen = history()
    record(seen, [0.5, 0.5], [[1, 2, 9], [3, 4, 5]], [2, 3])
    record(seen, [1.5, 1.5], [[6, 7, 0], [1, 0, 0]], [3, 1])
    record(seen, [2.5, 2.5], [[1, 0, 0], [8, 9, 0]], [1, 2])
    return seen


def test_in_context_begins_with_the_belief_of_nothing_and_goes_on_with_all_of_it_in_order(
    seen: AdaptationHistory,
) -> None:
    strategy = InContext()
    assert beliefs(strategy.explore(history())) == [0, 0]
    assert beliefs(strategy.explore(seen)) == beliefs(strategy.deploy(seen)) == [126701, 345189]


def test_in_context_draws_nothing_at_random_and_is_for_such_agents_alone(seen: AdaptationHistory) -> None:
    state = seen.rng.bit_generator.state
    InContext().explore(seen)
    assert seen.rng.bit_generator.state == state
    assert why_not(InContext(), EchoAgent(), has_data=True) is not None
    assert why_not(InContext(), SequenceAgent(), has_data=False) is None


def test_an_agent_whose_actions_can_be_drawn_explores_by_drawing_them_and_deploys_the_likeliest(
    seen: AdaptationHistory,
) -> None:
    seen.agent = SampledAgent()
    digit = generator(0).integers(1, 10)
    assert beliefs(InContext().explore(seen)) == [1267010 + digit, 3451890 + digit]
    assert beliefs(InContext().deploy(seen)) == [126701, 345189]


def test_posterior_is_the_belief_of_all_episodes(seen: AdaptationHistory) -> None:
    assert beliefs(Posterior().deploy(seen)) == [126701, 345189]


def test_idaq_infers_from_the_accepted_episodes_whole_and_in_order(seen: AdaptationHistory) -> None:
    """Reference stage of 2: the first problem accepts its second episode alone, the other its first and its third."""
    accepted = beliefs(Idaq(reference=2, candidates=8).explore(seen))
    assert accepted[0] == 670
    assert accepted[1] in {345, 89, 34589}  # whole episodes drawn by weight, from those accepted
    assert beliefs(Idaq(reference=2).deploy(seen)) == [1.5, 2.5]


def test_a_mixture_is_of_subsets_of_the_best_episodes(seen: AdaptationHistory) -> None:
    drawn = {tuple(beliefs(IdaqMixture(reference=2, num_accepted=2, candidates=1).explore(seen))) for _ in range(40)}
    assert {one for one, _ in drawn} == {12, 670, 12670}
    assert {other for _, other in drawn} == {345, 89, 34589}


def test_a_policy_with_a_memory_can_begin_again_with_the_belief_that_it_began_with(seen: AdaptationHistory) -> None:
    assert beliefs(BestOfPrior().deploy(seen)) == [1.5, 2.5]


def test_a_policy_without_a_belief_has_none(seen: AdaptationHistory) -> None:
    seen.add(RandomPolicy(replace(SPEC), 2, seen.rng), episodes([[9], [9]]))
    assert np.isnan(seen.beliefs[-1]).all()
    assert beliefs(InContext().explore(seen)) == [1267019, 3451899]


def test_history_gives_the_accepted_episodes_alone(seen: AdaptationHistory) -> None:
    experience = seen.experience(np.array([[False, True], [True, False], [True, False]]))
    assert experience.transitions.rewards.tolist() == [[6, 7, 0, 1], [3, 4, 5, 0]]
    assert experience.starts.tolist() == [[True, False, False, True], [True, False, False, False]]
    assert experience.valid.tolist() == [[True] * 4, [True] * 3 + [False]]
