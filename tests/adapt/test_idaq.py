"""IDAQ by value: its rule, and where the paper's and its code's differ, either."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.adapt.adapt import adapt
from idaq.adapt.beliefs import accepted_by_idaq
from idaq.adapt.history import AdaptationHistory
from idaq.adapt.policy import BeliefPolicy
from idaq.adapt.strategies import IDAQ_PREDICTION_ERROR, Idaq
from idaq.adapt.strategy import adaptation_plan
from idaq.collect.collect import Collected
from idaq.learn.algorithm import PredictingAgent
from idaq.learn.latent.config import EnsembleConfig
from idaq.learn.loop import train
from idaq.loader import open_dataset
from idaq.loader.transitions import Transitions
from tests.adapt.test_strategies import explored, history, record
from tests.learn.test_loop import small_config

ABOVE = Idaq(reference=2, candidates=3, return_threshold=-2.0)
PRIOR_BELIEFS = (0.0, 1.0, 2.0)


def reference_code(scores: list[float], reference: int, moving: bool) -> list[bool]:
    """As the published code walks through the episodes, of which it keeps the best score, -infinity at first."""
    best, accepted = float("inf"), list[bool]()
    for number, score in enumerate(scores):
        better = score < best
        if number < reference:
            if better:
                accepted = [False] * number  # each draw from the prior empties the context
            accepted.append(better)
        else:
            accepted.append(better)
        if better and (moving or number < reference):
            best = score
    return accepted


@given(st.lists(st.integers(-4, 4), min_size=3, max_size=9), st.integers(1, 3), st.booleans())
def test_what_is_accepted_is_what_the_published_code_accepts(scores: list[int], reference: int, moving: bool) -> None:
    values = [float(score) for score in scores]
    found = accepted_by_idaq(np.array(values)[:, None], reference, moving)
    assert found[:, 0].tolist() == reference_code(values, reference, moving)


def test_a_threshold_that_stays_takes_all_that_beat_the_reference_stage() -> None:
    scores = np.array([[3.0], [2.0], [1.0], [1.5], [2.0], [0.5]])
    assert accepted_by_idaq(scores, 2)[:, 0].astype(int).tolist() == [0, 1, 1, 0, 0, 1]
    assert accepted_by_idaq(scores, 2, moving=False)[:, 0].astype(int).tolist() == [0, 1, 1, 1, 0, 1]


def scored(strategy: Idaq) -> AdaptationHistory:
    """A reference stage of two episodes and two that beat it, the better one first; the uncertainty is as named."""
    seen = history()
    for z, reward in ((0.0, -5.0), (2.0, -3.0), (1.0, -1.0), (1.5, -2.0)):
        record(seen, [z], [[reward]])
    seen._scores["prediction-error"] = [np.array([value]) for value in (9.0, 5.0, 1.0, 2.0)]
    return seen


@pytest.mark.parametrize("strategy", [Idaq(reference=2), replace(IDAQ_PREDICTION_ERROR, reference=2)])
def test_the_threshold_moves_under_every_uncertainty_unless_it_is_told_to_stay(strategy: Idaq) -> None:
    seen = scored(strategy)
    assert strategy.accepted(seen)[:, 0].tolist() == [False, True, True, False]
    stays = replace(strategy, moving_threshold=False)
    assert stays.accepted(seen)[:, 0].tolist() == [False, True, True, True]
    drawn = explored(replace(stays, context=400, candidates=1), seen)[0, 0]
    assert drawn == pytest.approx((-3.0 - 1.0 - 2.0) / 3, abs=0.15)
    drawn = explored(replace(strategy, context=400, candidates=1), seen)[0, 0]
    assert drawn == pytest.approx((-3.0 - 1.0) / 2, abs=0.15)


def test_with_a_return_threshold_an_episode_counts_by_its_return_alone() -> None:
    """Strictly above, whatever the others earned; the belief is of all that are above."""
    seen = history()
    record(seen, [0], [[-1.0]])
    assert explored(ABOVE, seen)[0, 0] in PRIOR_BELIEFS, "the reference stage lasts"
    record(seen, [2], [[-1.5]])
    record(seen, [1], [[-2.0]])
    assert ABOVE.accepted(seen)[:, 0].tolist() == [True, True, False]
    belief = explored(replace(ABOVE, context=400, candidates=1), seen)[0, 0]
    assert belief == pytest.approx(-1.25, abs=0.06)
    by_error = replace(ABOVE, uncertainty="prediction-error")
    seen._scores["prediction-error"] = [np.array([value]) for value in (1.0, 2.0, 0.0)]
    assert by_error.accepted(seen)[:, 0].tolist() == [True, True, False], "as in the code: by returns"


def test_with_a_return_threshold_the_reference_stage_goes_on_until_an_episode_is_above_it() -> None:
    """Problem by problem, and the belief of what is above it is deployed; of none, the best episode's."""
    seen = history(problems=2)
    record(seen, [0, 0], [[-9.0], [-9.0]])
    record(seen, [1, 1], [[-8.0], [-1.0]])
    for _ in range(6):
        beliefs = explored(ABOVE, seen)[:, 0]
        assert beliefs[0] in PRIOR_BELIEFS
        assert beliefs[1] == -1.0
    deployed = ABOVE.deploy(seen)
    assert isinstance(deployed, BeliefPolicy)
    assert deployed.beliefs[:, 0].tolist() == [1.0, -1.0]
    record(seen, [2, 2], [[-1.5], [-9.0]])
    assert explored(ABOVE, seen)[:, 0].tolist() == [-1.5, -1.0]


def test_deploying_with_a_return_threshold_takes_no_random_number_of_the_history() -> None:
    seen = history()
    for reward in (-1.0, -1.5, -1.7):
        record(seen, [0], [[reward]])
    state = seen.rng.bit_generator.state
    first, second = ABOVE.deploy(seen), ABOVE.deploy(seen)
    assert isinstance(first, BeliefPolicy)
    assert isinstance(second, BeliefPolicy)
    np.testing.assert_array_equal(first.beliefs, second.beliefs)
    assert seen.rng.bit_generator.state == state
    assert -1.7 < first.beliefs[0, 0] < -1.0


def test_options_of_the_code_are_variants_of_the_method() -> None:
    assert Idaq().role == "method"
    assert Idaq(moving_threshold=False).role == Idaq(return_threshold=-3.0).role == "variant"
    assert Idaq(uncertainty="prediction-error").role == "variant"


def test_twelve_predictors_score_episodes_as_in_the_paper(collected: Collected, tmp_path: Path) -> None:
    """Each of the twelve predicts reward and next observation, where the paper has a network for either."""
    dataset = open_dataset(collected.path)
    config = small_config(steps=3, batch=16, checkpoint_every=3, ensemble=EnsembleConfig(members=12, hidden=8))
    agent = train(dataset, config, tmp_path / "run").agent
    assert isinstance(agent, PredictingAgent)
    rows = Transitions.stack([dataset.transitions().gather(np.arange(3))])[0]
    predicted, actual = agent.predict(rows, np.zeros((3, config.encoder.latent), np.float32))
    assert (predicted.shape, actual.shape) == ((12, 3, 3), (3, 3))
    names = ["idaq-prediction-error", "idaq-prediction-variance"]
    settings = {"episodes": 3, "report_at": [3], "reference": 2, "candidates": 2, "context": 4, "seeds": 1}
    found = adapt(agent, dataset, adaptation_plan(names, settings)).histories
    for name in names:
        scores = found[name].scores(name.removeprefix("idaq-"))
        assert scores.shape == (3, found[name].problems)
        assert (scores > 0).all()
