"""dpt by value: its loss, whole updates against a second implementation, and what its policy may depend on."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.core.types import Floats
from idaq.learn.algorithm import EpisodicAgent, SamplingAgent
from idaq.learn.algorithms.dpt import Dpt, DptAgent, prediction_loss
from idaq.learn.algorithms.dpt_config import DptConfig
from idaq.learn.config import AgentSpec
from idaq.learn.transformer_config import TransformerConfig
from idaq.loader.flat import FlatLeaf, FlatView
from idaq.loader.segments import SegmentBatch
from idaq.loader.transitions import Transitions
from tests.learn import reference_transformer as reference
from tests.learn.reference_transformer import Weights

BATCH, CONTEXT, QUERIES, OBSERVATION = 3, 4, 2, 2
NETWORK = TransformerConfig(width=6, layers=2, heads=2, lr=0.02, warmup=2, lr_end=0.3, weight_decay=0.1)
SPEC = AgentSpec(
    observation_mean=[0.5, -1.0],
    observation_std=[2.0, 0.7],
    change_std=[0.4, 0.3],
    reward_mean=-1.5,
    reward_std=2.5,
    action_centre=[0.5, -0.25],
    action_scale=[1.5, 0.75],
)
CHOICES = AgentSpec(
    observation_mean=[0.5, -1.0],
    observation_std=[2.0, 0.7],
    change_std=[0.4, 0.3],
    reward_mean=-1.5,
    reward_std=2.5,
    action_centre=[0.5] * 3,
    action_scale=[0.5] * 3,
    view=FlatView(
        observations=[FlatLeaf(column="observations", encoding="numbers", shape=[2], dtype="<f4")],
        actions=FlatLeaf(column="actions", encoding="one-hot", shape=[], dtype="<i8", low=[0], counts=[3]),
    ),
)


def config(label: str = "label") -> DptConfig:
    return DptConfig(
        meta_batch=BATCH, context=CONTEXT, queries=QUERIES, label=label, network=NETWORK, steps=5, log_every=1
    )


def transitions(rng: np.random.Generator, *lead: int) -> Transitions:
    s = rng.normal(0.5, 2.0, (*lead, OBSERVATION))
    return Transitions(
        observations=s.astype(np.float32),
        actions=rng.uniform(-1, 1, (*lead, 2)).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, lead).astype(np.float32),
        next_observations=(s + rng.normal(0.2, 0.5, s.shape)).astype(np.float32),
        terminated=rng.random(lead) < 0.3,
    )


def batch_at(step: int) -> SegmentBatch:
    """The first sequence is whole, the second ends among the queries, the third in the context; a label is missing."""
    rng, length = np.random.default_rng([3, step]), CONTEXT + QUERIES
    labels = rng.uniform(-1, 1, (BATCH, length, 2)).astype(np.float32)
    labels[0, CONTEXT, 1] = np.nan
    return SegmentBatch(
        tasks=np.arange(BATCH),
        segments=transitions(rng, BATCH, length),
        starts=np.zeros((BATCH, length), bool),
        valid=np.arange(length) < np.array([length, CONTEXT + 1, 2])[:, None],
        returns=None,
        columns={"label": labels},
    )


class GivenSizes(np.random.Generator):
    """A generator that gives the context sizes of the test, and says that no other is asked for."""

    def __init__(self, sizes: Iterable[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self._sizes = np.array(list(sizes))[:, None]

    def integers(self, low: int, *, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        assert (low, size) == (CONTEXT + 1, self._sizes.shape)
        return self._sizes


# -- the loss ----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_labelled_queries() -> None:
    surprise = torch.tensor([[1.0, 2.0], [4.0, np.nan]], requires_grad=True)
    loss, info = prediction_loss(surprise, torch.tensor([[True, False], [True, False]]))
    assert loss.item() == info["loss"].item() == 2.5
    loss.backward()
    assert surprise.grad is not None
    assert surprise.grad.tolist() == [[0.5, 0], [0.5, 0]]


def test_without_a_label_there_is_nothing_to_learn() -> None:
    assert prediction_loss(torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))[0].item() == 0


# -- the update --------------------------------------------------------------------------------------------------


def normalised(values: Iterable[float], mean: Iterable[float], std: Iterable[float]) -> Tensor:
    return torch.tensor([(v - m) / s for v, m, s in zip(values, mean, std, strict=True)], dtype=torch.float64)


def outputs(weights: Weights, context: Transitions, size: int, state: Floats) -> Tensor:
    """The head at a query state behind the first `size` transitions of a context (K): one sequence, the query last."""
    tokens = []
    for t in range(size):
        s, following = context.observations[t], context.next_observations[t]
        row = [
            normalised(s, SPEC.observation_mean, SPEC.observation_std),
            normalised(context.actions[t], SPEC.action_centre, SPEC.action_scale),
            normalised([context.rewards[t]], [SPEC.reward_mean], [SPEC.reward_std]),
            normalised(following.astype(float) - s, [0, 0], SPEC.change_std),
        ]
        tokens.append(reference.linear(weights, "transition", torch.cat(row)))
    query = normalised(state, SPEC.observation_mean, SPEC.observation_std)
    tokens.append(reference.linear(weights, "query", query))
    found = reference.transformer(weights, tokens, lambda t, s: t == size or s < size, 2, 2)
    return reference.linear(weights, "head.linear", found[-1])


def reference_loss(weights: Weights, batch: SegmentBatch, sizes: list[int]) -> Tensor:
    """Query by query, over those that are in the data and have a label."""
    terms = []
    for row, size in enumerate(sizes):
        seen = min(size, int(batch.valid[row, :CONTEXT].sum()))
        for place in range(CONTEXT, CONTEXT + QUERIES):
            label = batch.columns["label"][row, place]
            if batch.valid[row, place] and np.isfinite(label).all():
                state = batch.segments.observations[row, place]
                found = outputs(weights, batch.segments[row], seen, state)
                action = normalised(label, SPEC.action_centre, SPEC.action_scale)
                terms.append(reference.gaussian_surprise(found, action))
    return torch.stack(terms).mean()


def rate(step: int) -> float:
    return 0.02 * min((step + 1) / 2, max(1 - step / 5, 0.3))


def test_updates_are_those_of_the_second_implementation() -> None:
    algorithm = Dpt(config(), SPEC, "cpu")
    weights, adam = reference.weights_of(algorithm.network), reference.AdamW(0.1)
    for step, sizes in enumerate([[4, 2, 4], [0, 3, 1], [1, 4, 0], [3, 0, 2]]):
        batch = batch_at(step)
        expected = reference_loss(weights, batch, sizes)
        weights = adam.step(weights, expected, rate(step))
        info = algorithm.update(step, batch, GivenSizes(sizes))
        assert info["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
        reference.check_weights(algorithm.network, weights)


def test_context_sizes_are_drawn_from_none_to_all() -> None:
    """What is beyond the drawn size cannot be seen: some draws change with the last transition, some with none."""
    algorithm, batch = Dpt(config(), SPEC, "cpu"), batch_at(0)
    drawn = {tuple(np.random.default_rng(seed).integers(CONTEXT + 1, size=(1, 1))[0]) for seed in range(40)}
    assert drawn == {(size,) for size in range(CONTEXT + 1)}
    losses = {Dpt(config(), SPEC, "cpu").update(0, batch, np.random.default_rng(s))["loss"].item() for s in range(6)}
    assert len(losses) > 1
    again = [Dpt(config(), SPEC, "cpu").update(0, batch, np.random.default_rng(1))["loss"].item() for _ in range(2)]
    assert again[0] == again[1]
    assert algorithm.config.length == CONTEXT + QUERIES


def test_labels_are_the_named_column_or_the_datas_own_actions() -> None:
    def loss(label: str, own: float, column: float) -> float:
        batch = batch_at(0)
        batch.segments.actions[:, CONTEXT:] += own
        batch.columns["label"][:, CONTEXT:] += column
        return Dpt(config(label), SPEC, "cpu").update(0, batch, GivenSizes([2, 2, 2]))["loss"].item()

    assert loss("label", 0, 0) == loss("label", 0.5, 0) != loss("label", 0, 0.5)
    assert loss("actions", 0, 0) == loss("actions", 0, 0.5) != loss("actions", 0.5, 0)
    assert config("actions").columns == ()
    assert config().columns == ("label",)


def test_labels_that_are_choices_are_read_as_the_view_reads_actions() -> None:
    """An untrained head of zeros gives every choice a third."""
    batch = batch_at(0)
    one_hot = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(3, size=batch.valid.shape)]
    segments = Transitions(**{**vars(batch.segments), "actions": one_hot})
    labels = {"label": np.random.default_rng(1).integers(3, size=batch.valid.shape)}
    algorithm = Dpt(config(), CHOICES, "cpu")
    torch.nn.init.zeros_(algorithm.network.head.linear.weight)
    algorithm.network.head.linear.bias.data = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    given = SegmentBatch(**{**vars(batch), "segments": segments, "columns": labels})
    queries = labels["label"][:, CONTEXT:][batch.valid[:, CONTEXT:]]
    expected = -np.log(np.array([0.5, 0.3, 0.2])[queries]).mean()
    assert algorithm.update(0, given, GivenSizes([2, 2, 2]))["loss"].item() == pytest.approx(expected)


# -- the policy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agent() -> DptAgent:
    """Trained for a moment: its weights are not those it began with."""
    algorithm = Dpt(config(), SPEC, "cpu")
    for step in range(5):
        algorithm.update(step, batch_at(step), np.random.default_rng(step))
    return algorithm.agent(None)


def acted(agent: DptAgent, context: Transitions, states: Floats) -> Floats:
    policy = agent.policy(agent.infer(context))
    policy.reset()
    return np.array(policy.act(states))


STATES = np.random.default_rng(9).normal(0.5, 2, (BATCH, OBSERVATION)).astype(np.float32)


def test_it_acts_as_it_was_trained(agent: DptAgent) -> None:
    """The action is the mean that the second implementation gives from the agent's own weights."""
    context = transitions(np.random.default_rng(5), BATCH, CONTEXT)
    weights = {name: value.double() for name, value in agent.tensors().items()}
    for row, action in enumerate(acted(agent, context, STATES)):
        mean = outputs(weights, context[row], CONTEXT, STATES[row])[:2].clamp(-1, 1).numpy()
        expected = mean * np.array(SPEC.action_scale) + np.array(SPEC.action_centre)
        np.testing.assert_allclose(action, expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_context_does_not_matter(agent: DptAgent) -> None:
    context = transitions(np.random.default_rng(5), BATCH, CONTEXT)
    shuffled = context[:, np.array([2, 0, 3, 1])]
    np.testing.assert_allclose(acted(agent, shuffled, STATES), acted(agent, context, STATES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "alter",
    [
        lambda c: c.observations,
        lambda c: c.actions,
        lambda c: c.rewards,
        lambda c: c.next_observations,
    ],
)
def test_every_column_of_every_context_transition_matters(
    agent: DptAgent, alter: Callable[[Transitions], Floats]
) -> None:
    context = transitions(np.random.default_rng(5), BATCH, CONTEXT)
    before = acted(agent, context, STATES)
    for step in range(CONTEXT):
        other = transitions(np.random.default_rng(5), BATCH, CONTEXT)
        alter(other)[:, step] += 1
        assert (acted(agent, other, STATES) != before).any(1).all()


def test_padding_is_not_seen(agent: DptAgent) -> None:
    """A short context acts as it does beside a long one, whatever stands in the rows that are not valid."""
    short = transitions(np.random.default_rng(5), BATCH, 2)
    beliefs = agent.infer(short)
    rows = beliefs.reshape(BATCH, CONTEXT, -1)
    assert not rows[:, 2:].any()
    other = rows.copy()
    other[:, 2:, :-1] = 7
    found = [agent.policy(each.reshape(BATCH, -1)).act(STATES) for each in (rows, other)]
    np.testing.assert_array_equal(found[0], found[1])


def test_of_nothing_it_acts_on_the_state_alone(agent: DptAgent) -> None:
    weights = {name: value.double() for name, value in agent.tensors().items()}
    beliefs = np.zeros((BATCH, CONTEXT * (2 * OBSERVATION + 2 + 3)), np.float32)
    context = transitions(np.random.default_rng(5), BATCH, CONTEXT)
    for row, action in enumerate(agent.policy(beliefs).act(STATES)):
        mean = outputs(weights, context[row], 0, STATES[row])[:2].clamp(-1, 1).numpy()
        expected = mean * np.array(SPEC.action_scale) + np.array(SPEC.action_centre)
        np.testing.assert_allclose(action, expected, rtol=1e-4, atol=1e-5)


def test_the_newest_transitions_are_the_context(agent: DptAgent) -> None:
    long = transitions(np.random.default_rng(5), BATCH, CONTEXT + 3)
    np.testing.assert_array_equal(agent.infer(long), agent.infer(long[:, 3:]) * _without_start())


def _without_start() -> Floats:
    """1 but for the mark of an episode's start, which a context cut in its middle does not have."""
    ones = np.ones((CONTEXT, 2 * OBSERVATION + 2 + 3), np.float32)
    ones[0, -2] = 0
    return ones.reshape(-1)


def test_its_context_stays_as_it_is_within_an_episode(agent: DptAgent) -> None:
    policy = agent.policy(agent.infer(transitions(np.random.default_rng(5), BATCH, CONTEXT)))
    before = policy.act(STATES)
    policy.observe(before, np.ones(BATCH, np.float32), STATES + 1, np.zeros(BATCH, bool))
    np.testing.assert_array_equal(policy.act(STATES), before)
    policy.reset()
    np.testing.assert_array_equal(policy.act(STATES), before)


def test_it_explores_by_drawing_from_what_it_predicts(agent: DptAgent) -> None:
    assert isinstance(agent, EpisodicAgent)
    assert isinstance(agent, SamplingAgent)
    beliefs = agent.infer(transitions(np.random.default_rng(5), BATCH, CONTEXT))

    def drawn(seed: int) -> Floats:
        policy = agent.sampled_policy(beliefs, np.random.default_rng(seed))
        return np.stack([policy.act(STATES) for _ in range(3)])

    first, again, other = drawn(0), drawn(0), drawn(1)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()
    assert (first != agent.policy(beliefs).act(STATES)).any()
