"""Strategies by value: farthest draws, acceptance, beliefs."""

from collections.abc import Callable

import numpy as np
import pytest

from idaq.adapt.config import AdaptConfig
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.strategies import (
    STRATEGIES,
    Trial,
    accepted_by_idaq,
    best_episode,
    best_episodes,
    everything,
    farthest,
    from_prior,
    idaq_explore,
    mixture,
    mixture_explore,
    nearest_explore,
    pooled,
    posterior_explore,
    random_explore,
)
from idaq.core.config import from_mapping
from idaq.core.errors import ConfigError
from idaq.core.seeds import generator
from idaq.learn.agent import Agent
from idaq.learn.config import AgentSpec, FocalConfig, TrainConfig
from idaq.loader.transitions import Floats, Transitions

SPEC = AgentSpec(
    observation_mean=[0.0],
    observation_std=[1.0],
    change_std=[1.0],
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0],
    action_scale=[1.0],
)


class EchoEncoder(Agent):
    """An agent whose belief is the mean reward of the context: what went into it can be read off."""

    def embed(self, transitions: Transitions) -> Floats:
        return transitions.rewards[..., None]


def episodes(rewards_PT: list[list[float]], lengths: list[int] | None = None) -> EpisodeBatch:
    rewards = np.array(rewards_PT, np.float32)
    shape = (*rewards.shape, 1)
    lengths = lengths or [rewards.shape[1]] * len(rewards)
    return EpisodeBatch(
        transitions=Transitions(
            observations=np.zeros(shape, np.float32),
            actions=np.zeros(shape, np.float32),
            rewards=rewards,
            next_observations=np.zeros(shape, np.float32),
            terminated=np.zeros(rewards.shape, bool),
        ),
        valid=np.arange(rewards.shape[1]) < np.array(lengths)[:, None],
        success=np.zeros(len(rewards), bool),
    )


def trial(problems: int = 1, **changes: object) -> Trial:
    config = AdaptConfig(
        **{"episodes": 4, "reference": 2, "num_accepted": 2, "candidates": 3, "report_at": [4], **changes}
    )  # type: ignore[arg-type]
    return Trial(
        agent=EchoEncoder(TrainConfig(encoder=FocalConfig(latent=1, hidden=4)), SPEC),
        config=config,
        prior=np.array([[0.0], [1.0], [2.0]], np.float32),
        offline=np.full((problems, 1), 9.0, np.float32),
        rng=generator(0),
    )


def record(state: Trial, z: list[float], rewards_PT: list[list[float]], lengths: list[int] | None = None) -> None:
    batch = episodes(rewards_PT, lengths)
    state.tried.append(np.array(z, np.float32)[:, None])
    state.episodes.append(batch)
    state.embeddings.append(state.agent.embed(batch.transitions))
    state.scores.append(-batch.returns)


def test_farthest_is_the_candidate_whose_nearest_tried_latent_is_farthest() -> None:
    candidates = np.array([[[0.1], [5.0], [2.6]], [[0.1], [5.0], [2.6]]])
    tried = [np.array([[0.0], [5.1]]), np.array([[5.0], [0.0]])]
    assert farthest(candidates, tried)[:, 0].tolist() == [2.6, 2.6]
    assert farthest(candidates, [])[:, 0].tolist() == [0.1, 0.1]
    assert farthest(candidates, tried[:1])[:, 0].tolist() == [5.0, 0.1]


@pytest.mark.parametrize(
    ("scores", "tried", "count", "accepted"),
    [
        ([3.0, 1.0, 2.0], [0.0, 1.0, 2.0], 1, [False, True, False]),
        ([3.0, 1.0, 2.0], [0.0, 1.0, 2.0], 2, [False, True, True]),
        ([3.0, 1.0], [0.0, 1.0], 5, [True, True]),
        ([0.0, -1.0, 0.0, 0.0], [5.0, 0.0, 9.0, 1.0], 2, [False, True, False, True]),  # ties: the nearest latent
    ],
)
def test_a_mixture_is_of_the_best_episodes(
    scores: list[float], tried: list[float], count: int, accepted: list[bool]
) -> None:
    mask = best_episodes(np.array(scores)[:, None], np.array(tried)[:, None, None], count)
    assert mask[:, 0].tolist() == accepted


@pytest.mark.parametrize(
    ("scores", "accepted"),
    [
        ([3.0, 1.0], [0, 1]),  # of the reference stage, the best alone
        ([1.0, 3.0, 2.0], [1, 0, 0]),  # a later one that does not beat it is rejected
        ([3.0, 1.0, 1.0], [0, 1, 0]),  # nor one that equals it: the comparison is strict
        ([3.0, 2.0, 1.0, 1.5, 0.5], [0, 1, 1, 0, 1]),  # the threshold tightens; what was accepted stays
        ([2.0, 2.0, 2.0], [1, 0, 0]),  # where nothing stands out, the first
    ],
)
def test_idaq_accepts_the_best_reference_episode_and_what_beats_all_before_it(
    scores: list[float], accepted: list[int]
) -> None:
    mask = accepted_by_idaq(np.array(scores)[:, None], 2)
    assert mask[:, 0].astype(int).tolist() == accepted


def test_idaq_judges_each_problem_by_its_own_threshold() -> None:
    scores = np.array([[5.0, 0.0], [4.0, 1.0], [3.0, 0.5], [3.5, -1.0]])
    assert accepted_by_idaq(scores, 2).T.astype(int).tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize("belief", [pooled, mixture])
def test_a_belief_sees_accepted_episodes_only_and_never_beyond_an_episodes_end(belief: Callable[..., Floats]) -> None:
    state = trial(problems=2)
    record(state, [0, 0], [[1, 1, 777], [5, 5, 5]], lengths=[2, 3])
    record(state, [1, 1], [[9, 9, 9], [3, 3, 3]])
    accepted = np.array([[True, False], [False, True]])
    draws = belief(state, accepted, 4)
    assert draws.shape == (2, 4, 1)
    np.testing.assert_allclose(draws[0], 1.0)
    np.testing.assert_allclose(draws[1], 3.0)


def test_a_pooled_belief_weighs_transitions_alike() -> None:
    """Three steps of 0 and one of 1: a quarter of the context, give or take its sampling."""
    state = trial(context=500)
    record(state, [0], [[0.0, 0.0, 0.0]])
    record(state, [1], [[1.0, 777, 777]], lengths=[1])
    draws = pooled(state, np.ones((2, 1), bool), 200)[0, :, 0]
    assert abs(draws.mean() - 0.25) < 0.01
    assert draws.std() == pytest.approx(np.sqrt(0.25 * 0.75 / 500), rel=0.2)


def test_mixtures_of_several_episodes_spread_between_them() -> None:
    state = trial(context=500)
    record(state, [0], [[0.0, 0.0]])
    record(state, [1], [[1.0, 1.0]])
    draws = mixture(state, np.ones((2, 1), bool), 200)[0, :, 0]
    assert draws.min() < 0.1
    assert draws.max() > 0.9
    assert abs(draws.mean() - 0.5) < 0.08  # a flat Dirichlet over two episodes is uniform


def test_best_episode_is_taken_problem_by_problem() -> None:
    state = trial(problems=2)
    record(state, [0, 0], [[1.0], [4.0]])
    record(state, [7, 7], [[2.0], [3.0]])
    assert best_episode(state)[:, 0].tolist() == [7.0, 0.0]


def test_idaq_explores_the_prior_first_then_the_belief_of_what_it_accepted() -> None:
    state = trial()
    record(state, [0], [[-5.0]])
    assert idaq_explore(state)[0, 0] in (0.0, 1.0, 2.0)
    record(state, [2], [[-1.0]])
    assert idaq_explore(state)[0, 0] == -1.0  # the echo of the best episode's rewards, which no prior latent is
    record(state, [1], [[-3.0]])
    assert idaq_explore(state)[0, 0] == -1.0, "a rejected episode changes nothing"
    record(state, [1], [[-0.5]])
    assert -1.0 <= idaq_explore(state)[0, 0] <= -0.5, "an accepted one joins the context"


def test_idaq_tries_the_draw_of_the_belief_that_is_farthest_from_what_it_tried() -> None:
    state = trial(context=2, candidates=50)
    for reward in (-5.0, -1.0, -0.5):
        record(state, [-1.0], [[reward]])
    assert idaq_explore(state)[0, 0] == -0.5, "draws are -1, -0.75 and -0.5; -1 was tried"


def test_idaq_goes_by_the_papers_rule_whatever_the_variants_are_told() -> None:
    """No episode stands out, and none is good enough for the variants: the iterative stage begins all the same."""
    state = trial()
    state.loosest = -3.0
    for z in (0, 1):
        record(state, [z], [[0.25]])
    assert idaq_explore(state)[0, 0] == 0.25
    assert mixture_explore(state)[0, 0] in (0.0, 1.0, 2.0)


def test_a_mixture_spreads_between_the_best_episodes() -> None:
    state = trial()
    record(state, [0], [[-5.0]])
    record(state, [2], [[-1.0]])
    assert -5.0 <= mixture_explore(state)[0, 0] <= -1.0


def test_the_nearest_training_task_not_tried_yet_is_next_whatever_the_transitions_say() -> None:
    state = trial(problems=2)
    state.prior = np.array([[0.0], [1.0], [2.5], [7.0]], np.float32)
    record(state, [1.0, 7.0], [[5.0], [1.0]])
    record(state, [7.0, 0.0], [[2.0], [3.0]])
    assert nearest_explore(state)[:, 0].tolist() == [0.0, 1.0]
    record(state, [0.0, 1.0], [[9.0], [0.0]])
    state.embeddings = [np.full_like(embedding, np.nan) for embedding in state.embeddings]
    assert nearest_explore(state)[:, 0].tolist() == [2.5, 2.5], "it infers no belief"


def test_variants_keep_to_the_reference_stage_while_no_episode_stands_out() -> None:
    state = trial()
    for z in (0, 1, 2):
        record(state, [z], [[0.25]])
    assert mixture_explore(state)[0, 0] in (0.0, 1.0, 2.0)
    record(state, [1], [[0.5]])
    assert 0.25 <= mixture_explore(state)[0, 0] <= 0.5


def test_variants_keep_to_the_reference_stage_while_no_episode_earns_what_offline_ones_do() -> None:
    state = trial()
    state.loosest = -3.0
    record(state, [0], [[-9.0]])
    record(state, [1], [[2.5]])
    assert mixture_explore(state)[0, 0] in (0.0, 1.0, 2.0)
    record(state, [2], [[3.5]])
    assert 2.5 <= mixture_explore(state)[0, 0] <= 3.5


def test_an_episode_that_earns_just_what_offline_ones_do_is_in_distribution() -> None:
    state = trial(num_accepted=1)
    state.loosest = -3.0
    record(state, [0], [[-9.0]])
    record(state, [1], [[3.0]])
    assert mixture_explore(state)[0, 0] == 3.0


def test_posterior_believes_everything_and_random_first_acts_at_random_for_half_the_budget() -> None:
    state = trial()
    assert posterior_explore(state)[0, 0] in (0.0, 1.0, 2.0)
    assert random_explore(state) is None
    record(state, [0], [[4.0, 4.0]])
    assert posterior_explore(state)[0, 0] == 4.0
    record(state, [0], [[4.0, 4.0]])
    assert random_explore(state) == np.array([[4.0]])
    assert everything(state)[0, 0] == 4.0


def test_a_budget_of_one_episode_leaves_random_first_one_random_episode() -> None:
    state = trial(episodes=1, reference=1, report_at=[1])
    assert random_explore(state) is None
    record(state, [np.nan], [[4.0, 4.0]])
    assert STRATEGIES["random-first"].deploy(state)[0, 0] == 4.0


def test_what_is_scored_and_deployed_is_what_the_names_say() -> None:
    state = trial(context=500)
    record(state, [0], [[-5.0]])
    record(state, [2], [[-1.0]])
    for name, strategy in STRATEGIES.items():
        predicted = [u for u in ("prediction-error", "prediction-variance") if name.endswith(u)]
        assert strategy.uncertainty == (predicted or ["return"])[0], name
        deployed = strategy.deploy(state)[0, 0]
        if name in ("posterior", "random-first"):
            assert -5.0 < deployed < -1.0, name
        else:
            assert deployed == (9.0 if name == "offline-context" else 2.0), name


def test_only_offline_context_looks_at_offline_data_of_the_test_task() -> None:
    state = trial()
    record(state, [0], [[0.5]])
    record(state, [1], [[0.25]])
    for name, strategy in STRATEGIES.items():
        explored, deployed = strategy.explore(state), strategy.deploy(state)
        looked = {9.0} & {float(z[0, 0]) for z in (explored, deployed) if z is not None}
        assert bool(looked) == (name == "offline-context"), name


def test_prior_draws_spread() -> None:
    state = trial(candidates=50)
    for _ in range(3):
        state.tried.append(from_prior(state))
    assert sorted(z[0, 0] for z in state.tried) == [0.0, 1.0, 2.0]


def test_reports_must_lie_within_the_budget() -> None:
    with pytest.raises(ConfigError, match="report_at must rise and end by episodes = 5"):
        from_mapping(AdaptConfig, {"episodes": 5}, where="settings")
    with pytest.raises(ConfigError, match="report_at: List should have at least 1 item"):
        from_mapping(AdaptConfig, {"report_at": []}, where="settings")
