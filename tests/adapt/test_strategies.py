"""Strategies by value: farthest draws, acceptance, beliefs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from idaq.adapt.adapt import why_not
from idaq.adapt.beliefs import (
    accepted_by_idaq,
    belief_of_all,
    best_belief,
    best_episodes,
    farthest,
    from_prior,
    in_distribution_return,
    mixture,
    pooled,
    where_calibrated,
)
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, Policy, RandomPolicy
from idaq.adapt.strategies import (
    BestOfPrior,
    Idaq,
    IdaqMixture,
    NearestTrainingTask,
    OfflineContext,
    Posterior,
    RandomFirst,
)
from idaq.adapt.strategy import STRATEGIES, Strategy, adaptation_plan
from idaq.core.errors import ConfigError, PluginError, RunError, UnknownNameError
from idaq.core.seeds import generator
from idaq.core.types import Doubles, Floats
from idaq.learn.algorithm import Agent, EmbeddingAgent, Prior
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.loader.transitions import Transitions

SPEC = AgentSpec(
    observation_mean=[0.0],
    observation_std=[1.0],
    change_std=[1.0],
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0],
    action_scale=[1.0],
)


PRIOR = Prior(
    beliefs=np.array([[0.0], [1.0], [2.0]], np.float32),
    task_indices=np.arange(3),
    offline_return=8.0,
    random_return=-2.0,
)


class EchoAgent:
    """An agent whose belief is the mean reward of the context: what went into it can be read off."""

    config: TrainConfig = FocalTd3BcConfig()
    spec = SPEC

    def __init__(self, prior: Prior | None = PRIOR) -> None:
        self.prior = prior

    def embed(self, transitions: Transitions) -> Floats:
        return transitions.rewards[..., None]

    def infer(self, context: Transitions) -> Floats:
        return self.embed(context).mean(-2)

    def policy(self, beliefs: Floats) -> BeliefPolicy:
        return BeliefPolicy(respond=lambda observations, z: z, beliefs=beliefs)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


class InferringAgent:
    """The same beliefs, of an agent that has no embedding of a single transition."""

    config, spec, prior = EchoAgent.config, SPEC, PRIOR

    def infer(self, context: Transitions) -> Floats:
        return context.rewards.mean(-1, keepdims=True)

    def policy(self, beliefs: Floats) -> BeliefPolicy:
        return EchoAgent().policy(beliefs)

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}


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


def history(problems: int = 1, prior: Prior = PRIOR, budget: int = 4) -> AdaptationHistory:
    return AdaptationHistory(agent=EchoAgent(prior), problems=problems, budget=budget, rng=generator(0))


def record(
    seen: AdaptationHistory, z: list[float], rewards_PT: list[list[float]], lengths: list[int] | None = None
) -> None:
    seen.add(seen.agent.policy(np.array(z, np.float32)[:, None]), episodes(rewards_PT, lengths))


def explored(strategy: Strategy, seen: AdaptationHistory) -> Floats:
    """(P, Z) beliefs of the next episode."""
    policy = strategy.explore(seen)
    assert isinstance(policy, BeliefPolicy)
    return policy.beliefs


IDAQ = Idaq(reference=2, candidates=3)
MIXTURE = IdaqMixture(reference=2, candidates=3, num_accepted=2)
NEAREST = NearestTrainingTask(reference=2, candidates=3)
FLOOR = 0.5
"""an offline share; with PRIOR, an episode is in-distribution from a return of 3 on"""


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
    seen = history(problems=2)
    record(seen, [0, 0], [[1, 1, 777], [5, 5, 5]], lengths=[2, 3])
    record(seen, [1, 1], [[9, 9, 9], [3, 3, 3]])
    accepted = np.array([[True, False], [False, True]])
    draws = belief(seen, accepted, 4, 100)
    assert draws.shape == (2, 4, 1)
    np.testing.assert_allclose(draws[0], 1.0)
    np.testing.assert_allclose(draws[1], 3.0)


@pytest.mark.parametrize("belief", [pooled, mixture])
def test_an_agent_that_embeds_no_transitions_infers_the_same_from_contexts(belief: Callable[..., Floats]) -> None:
    assert not isinstance(InferringAgent(), EmbeddingAgent)
    accepted, drawn = np.array([[True, True], [True, False]]), []
    for agent in (EchoAgent(), InferringAgent()):
        seen = replace(history(problems=2), agent=agent, rng=generator(0), policies=[], episodes=[])
        record(seen, [0, 0], [[1, 2, 4], [8, 16, 777]], lengths=[3, 2])
        record(seen, [1, 1], [[32, 64, 128], [3, 5, 7]])
        drawn.append(belief(seen, accepted, 4, 10))
    np.testing.assert_allclose(drawn[0], drawn[1], rtol=1e-6)


def test_a_pooled_belief_weighs_transitions_alike() -> None:
    """Three steps of 0 and one of 1: a quarter of the context, give or take its sampling."""
    seen = history()
    record(seen, [0], [[0.0, 0.0, 0.0]])
    record(seen, [1], [[1.0, 777, 777]], lengths=[1])
    draws = pooled(seen, np.ones((2, 1), bool), 200, 500)[0, :, 0]
    assert abs(draws.mean() - 0.25) < 0.01
    assert draws.std() == pytest.approx(np.sqrt(0.25 * 0.75 / 500), rel=0.2)


def test_mixtures_of_several_episodes_spread_between_them() -> None:
    seen = history()
    record(seen, [0], [[0.0, 0.0]])
    record(seen, [1], [[1.0, 1.0]])
    draws = mixture(seen, np.ones((2, 1), bool), 200, 500)[0, :, 0]
    assert draws.min() < 0.1
    assert draws.max() > 0.9
    assert abs(draws.mean() - 0.5) < 0.08  # a flat Dirichlet over two episodes is uniform


def test_the_best_belief_is_taken_problem_by_problem() -> None:
    seen = history(problems=2)
    record(seen, [0, 0], [[1.0], [4.0]])
    record(seen, [7, 7], [[2.0], [3.0]])
    assert best_belief(seen, "return")[:, 0].tolist() == [7.0, 0.0]


def test_idaq_explores_the_prior_first_then_the_belief_of_what_it_accepted() -> None:
    seen = history()
    record(seen, [0], [[-5.0]])
    assert explored(IDAQ, seen)[0, 0] in (0.0, 1.0, 2.0)
    record(seen, [2], [[-1.0]])
    assert explored(IDAQ, seen)[0, 0] == -1.0  # the echo of the best episode's rewards, which no prior belief is
    record(seen, [1], [[-3.0]])
    assert explored(IDAQ, seen)[0, 0] == -1.0, "a rejected episode changes nothing"
    record(seen, [1], [[-0.5]])
    assert -1.0 <= explored(IDAQ, seen)[0, 0] <= -0.5, "an accepted one joins the context"


def test_idaq_tries_the_draw_of_the_belief_that_is_farthest_from_what_it_tried() -> None:
    seen, strategy = history(), Idaq(reference=2, context=2, candidates=50)
    for reward in (-5.0, -1.0, -0.5):
        record(seen, [-1.0], [[reward]])
    assert explored(strategy, seen)[0, 0] == -0.5, "draws are -1, -0.75 and -0.5; -1 was tried"


def test_idaq_goes_by_the_papers_rule_where_its_variants_wait() -> None:
    """No episode stands out, and none is good enough for the variants: the iterative stage begins all the same."""
    seen = history()
    for z in (0, 1):
        record(seen, [z], [[0.25]])
    assert explored(IDAQ, seen)[0, 0] == 0.25
    assert explored(replace(MIXTURE, offline_share=FLOOR), seen)[0, 0] in (0.0, 1.0, 2.0)


def test_a_mixture_spreads_between_the_best_episodes() -> None:
    seen = history()
    record(seen, [0], [[-5.0]])
    record(seen, [2], [[-1.0]])
    assert -5.0 <= explored(MIXTURE, seen)[0, 0] <= -1.0


def test_the_nearest_training_task_not_tried_yet_is_next_whatever_the_transitions_say() -> None:
    seen = history(problems=2, prior=replace(PRIOR, beliefs=np.array([[0.0], [1.0], [2.5], [7.0]], np.float32)))
    record(seen, [1.0, 7.0], [[5.0], [1.0]])
    record(seen, [7.0, 0.0], [[2.0], [3.0]])
    assert explored(NEAREST, seen)[:, 0].tolist() == [0.0, 1.0]
    record(seen, [0.0, 1.0], [[9.0], [0.0]])
    seen.agent.embed = lambda _: pytest.fail("it infers no belief")  # type: ignore[attr-defined]
    assert explored(NEAREST, seen)[:, 0].tolist() == [2.5, 2.5]


def test_variants_keep_to_the_reference_stage_while_no_episode_stands_out() -> None:
    seen = history()
    for z in (0, 1, 2):
        record(seen, [z], [[0.25]])
    assert explored(MIXTURE, seen)[0, 0] in (0.0, 1.0, 2.0)
    record(seen, [1], [[0.5]])
    assert 0.25 <= explored(MIXTURE, seen)[0, 0] <= 0.5


def test_variants_keep_to_the_reference_stage_while_no_episode_earns_what_offline_ones_do() -> None:
    seen, strategy = history(), replace(MIXTURE, offline_share=FLOOR)
    record(seen, [0], [[-9.0]])
    record(seen, [1], [[2.5]])
    assert explored(strategy, seen)[0, 0] in (0.0, 1.0, 2.0)
    record(seen, [2], [[3.5]])
    assert 2.5 <= explored(strategy, seen)[0, 0] <= 3.5


def test_an_episode_that_earns_just_what_offline_ones_do_is_in_distribution() -> None:
    seen, strategy = history(), replace(MIXTURE, offline_share=FLOOR, num_accepted=1)
    record(seen, [0], [[-9.0]])
    record(seen, [1], [[3.0]])
    assert explored(strategy, seen)[0, 0] == 3.0


def test_posterior_believes_everything_and_random_first_acts_at_random_for_half_the_budget() -> None:
    seen, posterior, random_first = history(), Posterior(candidates=3), RandomFirst()
    assert explored(posterior, seen)[0, 0] in (0.0, 1.0, 2.0)
    assert isinstance(random_first.explore(seen), RandomPolicy)
    record(seen, [0], [[4.0, 4.0]])
    assert explored(posterior, seen)[0, 0] == 4.0
    record(seen, [0], [[4.0, 4.0]])
    assert explored(random_first, seen) == np.array([[4.0]])
    assert belief_of_all(seen, 100)[0, 0] == 4.0


def test_a_budget_of_one_episode_leaves_random_first_one_random_episode() -> None:
    seen = history(budget=1)
    random = RandomFirst().explore(seen)
    assert isinstance(random, RandomPolicy)
    seen.add(random, episodes([[4.0, 4.0]]))
    assert np.isnan(seen.beliefs[0]).all(), "random actions are under no belief"
    deployed = RandomFirst().deploy(seen)
    assert isinstance(deployed, BeliefPolicy)
    assert deployed.beliefs[0, 0] == 4.0


def test_what_is_scored_and_deployed_is_what_the_names_say() -> None:
    seen = history()
    seen.offline = lambda size: np.full((1, 1), 9.0, np.float32)
    record(seen, [0], [[-5.0]])
    record(seen, [2], [[-1.0]])
    seen._scores = {f"prediction-{key}": [np.array([1.0]), np.array([0.5])] for key in ("error", "variance")}
    for name in set(STRATEGIES.names()) - {"in-context", "policy-reuse"}:
        strategy = STRATEGIES.get(name)
        predicted = [u for u in ("prediction-error", "prediction-variance") if name.endswith(u)]
        assert getattr(strategy, "uncertainty", "return") == (predicted or ["return"])[0], name
        policy = strategy.deploy(seen)
        assert isinstance(policy, BeliefPolicy)
        deployed = policy.beliefs[0, 0]
        if name in ("posterior", "random-first"):
            assert -5.0 < deployed < -1.0, name
        else:
            assert deployed == (9.0 if name == "offline-context" else 2.0), name


def test_only_offline_context_looks_at_offline_data_of_the_test_task() -> None:
    for name in STRATEGIES.names():
        assert STRATEGIES.get(name).uses_offline_data == (name == "offline-context"), name
    asked = list[int]()
    seen = history()
    seen.offline = lambda size: asked.append(size) or np.full((1, 1), 9.0, np.float32)
    assert explored(OfflineContext(offline_context=7), seen)[0, 0] == 9.0
    assert asked == [7]
    with pytest.raises(RunError, match="needs the dataset"):
        OfflineContext().deploy(history())


def test_prior_draws_spread() -> None:
    seen = history()
    for _ in range(3):
        seen.add(seen.agent.policy(from_prior(seen, 50)), episodes([[0.0]]))
    assert sorted(z[0, 0] for z in seen.beliefs) == [0.0, 1.0, 2.0]
    assert BestOfPrior(candidates=50).explore(seen) is not None


def test_an_agent_without_a_prior_is_told() -> None:
    with pytest.raises(RunError, match="has no prior"):
        BestOfPrior().explore(replace(history(), agent=EchoAgent(None)))


def test_reports_must_rise_to_the_largest_budget() -> None:
    with pytest.raises(ConfigError, match="report_at must rise and end at episodes = 5"):
        adaptation_plan([], {"episodes": 5})
    with pytest.raises(ConfigError, match=r"report_at must rise and end at episodes = 5, got \[1, 2\]"):
        adaptation_plan([], {"episodes": 5, "report_at": [1, 2]})
    with pytest.raises(ConfigError, match="report_at: List should have at least 1 item"):
        adaptation_plan([], {"report_at": []})


def test_a_setting_reaches_every_strategy_that_has_it_or_one_by_its_name() -> None:
    names = ["idaq", "best-of-prior", "posterior", "idaq-prediction-error"]
    told = {"candidates": 7, "idaq": {"context": 9}, "seeds": 2}
    plan = adaptation_plan(names, told, {"candidates": 3, "context": 50, "seeds": 3, "seed": 5})
    assert (plan.config.seeds, plan.config.seed) == (2, 5)
    assert list(plan.strategies) == names
    assert plan.strategies["idaq"] == Idaq(candidates=7, context=9)
    assert plan.strategies["best-of-prior"] == BestOfPrior(candidates=7)
    assert plan.strategies["posterior"] == Posterior(candidates=7, context=50)
    assert plan.strategies["idaq-prediction-error"] == Idaq(candidates=7, context=50, uncertainty="prediction-error")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"candidate": 3}, "candidate: there is no such field.*\n.*'candidates'"),
        ({"idaqq": {"context": 3}}, "idaqq: there is no such field.*\n.*'idaq'"),
        ({"idaq": {"contxt": 3}}, "settings of strategy idaq: contxt"),
        ({"candidates": 0}, "candidates"),
    ],
)
def test_a_setting_that_nothing_has_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        adaptation_plan(["idaq"], settings)


@dataclass(frozen=True)
class NoStrategy:
    pass


def test_a_strategy_of_ones_own_is_named_by_module_and_attribute() -> None:
    plan = adaptation_plan(["tests.adapt.test_strategies:IDAQ"], {"context": 8})
    assert plan.strategies["tests.adapt.test_strategies:IDAQ"] == Idaq(reference=2, candidates=3, context=8)
    with pytest.raises(PluginError, match="does not extend"):
        adaptation_plan(["tests.adapt.test_strategies:NoStrategy"])
    with pytest.raises(UnknownNameError, match="unknown strategy 'idaq-mixtrue'"):
        adaptation_plan(["idaq-mixtrue"])


def test_a_recipe_that_names_code_is_not_followed() -> None:
    with pytest.raises(PluginError, match="never imported because a document says so"):
        adaptation_plan(["idaq"], {}, {"uncertainty": "os:getcwd"})
    plan = adaptation_plan(["idaq"], {}, {"uncertainty": "os:getcwd"}, allow=["os:getcwd"])
    assert plan.strategies["idaq"] == Idaq(uncertainty="os:getcwd")


def test_the_settings_of_the_method_are_the_papers() -> None:
    """n_r = 10 of 20 episodes, 5 of 10, 2 of 5, n_c = 20 candidates, the return as uncertainty."""
    assert [Idaq().reference_stage(budget) for budget in (20, 10, 5, 2, 1)] == [10, 5, 2, 1, 1]
    assert Idaq() == Idaq(reference="half", candidates=20, context=100, uncertainty="return")
    assert IdaqMixture() == IdaqMixture(
        reference="half", candidates=20, context=100, num_accepted=3, offline_share=0.0, uncertainty="return"
    )
    assert NearestTrainingTask() == NearestTrainingTask(
        reference="half", candidates=20, offline_share=0.0, uncertainty="return"
    )
    assert (BestOfPrior(), RandomFirst()) == (BestOfPrior(candidates=20), RandomFirst(context=100))
    assert Posterior() == Posterior(candidates=20, context=100)
    assert OfflineContext() == OfflineContext(offline_context=400)


def test_roles_and_reference_stages_are_those_of_a_comparison() -> None:
    roles = {
        "idaq": ("method", 10),
        "idaq-prediction-error": ("variant", 10),
        "idaq-prediction-variance": ("variant", 10),
        "idaq-mixture": ("variant", 10),
        "nearest-training-task": ("rival", 10),
        "nearest-training-task-prediction-error": ("rival", 10),
        "nearest-training-task-prediction-variance": ("rival", 10),
        "policy-reuse": ("variant", 0),
        "best-average": ("rival", 0),
        "gaussian-process": ("variant", 0),
        "best-of-prior": ("control", 0),
        "posterior": ("rival", 0),
        "random-first": ("rival", 0),
        "in-context": ("rival", 0),
        "offline-context": ("reference", 0),
    }
    found = {name: STRATEGIES.get(name) for name in STRATEGIES.builtin}
    assert {name: (one.role, one.reference_stage(20)) for name, one in found.items()} == roles
    assert [Idaq(reference=4).reference_stage(budget) for budget in (2, 20)] == [4, 4]


def test_what_does_not_depend_on_the_budget_says_so() -> None:
    plans = {name for name in STRATEGIES.builtin if not STRATEGIES.get(name).anytime}
    searching = {name for name in STRATEGIES.builtin if name.startswith(("idaq", "nearest"))}
    assert plans == searching | {"random-first", "policy-reuse"}
    assert Idaq(reference=4).anytime
    seen = {budget: history(budget=budget) for budget in (2, 6)}
    for one in seen.values():
        record(one, [0], [[4.0, 4.0]])
    assert explored(Idaq(candidates=3), seen[2])[0, 0] == 4.0
    assert explored(Idaq(candidates=3), seen[6])[0, 0] in (1.0, 2.0)


def test_what_posterior_and_random_first_deploy_the_next_episode_would_be_played_under() -> None:
    for strategy in (Posterior(), RandomFirst()):
        seen = history(budget=2)
        record(seen, [0], [[4.0, 1.0, 7.0]])
        deployed = [strategy.deploy(seen) for _ in range(2)]
        for policy in deployed:
            assert isinstance(policy, BeliefPolicy)
            assert policy.beliefs.tobytes() == explored(strategy, replace(seen, rng=generator(0))).tobytes()


@pytest.mark.parametrize(("share", "floor"), [(0.0, -np.inf), (0.5, 3.0), (0.75, 5.5), (1.0, 8.0)])
def test_what_counts_as_in_distribution_lies_between_random_and_offline_returns(share: float, floor: float) -> None:
    assert in_distribution_return(history(), share) == floor


def test_each_problem_is_calibrated_by_its_own_scores() -> None:
    seen = history(problems=3)
    record(seen, [0, 0, 0], [[1.0], [1.0], [5.0]])
    record(seen, [0, 0, 0], [[1.0], [2.0], [7.0]])
    record(seen, [0, 0, 0], [[1.0], [1.0], [6.0]])
    drawn, prior = np.full((3, 1), 10, np.float32), np.full((3, 1), 20, np.float32)
    for floor, expected in ((-np.inf, [20, 10, 10]), (2.0, [20, 10, 10]), (2.5, [20, 20, 10]), (7.5, [20, 20, 20])):
        assert where_calibrated(seen, "return", floor, drawn, prior)[:, 0].tolist() == expected


def negated(_agent: Agent, episodes: EpisodeBatch, _policy: Policy) -> Doubles:
    return episodes.returns


def test_a_transition_is_embedded_and_an_episode_scored_once_however_often_they_are_asked_for() -> None:
    embedded, scored = list[int](), list[float]()

    class Noting(EchoAgent):
        def embed(self, transitions: Transitions) -> Floats:
            embedded.append(transitions.rewards.size)
            return super().embed(transitions)

    seen = replace(history(problems=2), agent=Noting())
    for number in range(3):
        record(seen, [0, 0], [[1.0, 2.0], [3.0, float(number)]])
        for _ in range(2):
            pooled(seen, np.ones((number + 1, 2), bool), 3, 4)
            scored.append(seen.scores("return")[-1, 1])
    assert embedded == [4, 4, 4]
    assert scored == [-3.0, -3.0, -4.0, -4.0, -5.0, -5.0]
    assert seen.scores("return").shape == (3, 2)
    negated = seen.scores("tests.adapt.test_strategies:negated")
    np.testing.assert_array_equal(negated, -seen.scores("return"), "each uncertainty has scores of its own")


def test_an_agent_that_embeds_nothing_says_so() -> None:
    with pytest.raises(RunError, match="an agent of focal-td3bc does not embed transitions"):
        _ = replace(history(), agent=InferringAgent()).embeddings


def test_what_an_agent_cannot_do_is_told_before_anything_runs() -> None:
    predicts = STRATEGIES.get("idaq-prediction-error")
    told = why_not(predicts, InferringAgent(), has_data=True)
    assert told == "an agent of focal-td3bc is no PredictingAgent"
    assert why_not(STRATEGIES.get("idaq"), InferringAgent(), has_data=False) is None


def test_random_first_is_random_for_half_the_budget() -> None:
    for budget, first in ((2, 1), (3, 1), (6, 3), (7, 3)):
        seen, count = history(budget=budget), 0
        while isinstance(RandomFirst().explore(seen), RandomPolicy):
            record(seen, [0], [[1.0]])
            count += 1
        assert count == first, budget
