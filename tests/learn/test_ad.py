"""ad by value: its loss, whole updates against a second implementation, and acting step by step as it was trained."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.core.types import Floats
from idaq.learn.algorithm import EpisodicAgent, SamplingAgent
from idaq.learn.algorithms.ad import Ad, AdAgent, AdPolicy, distillation_loss, step_inputs
from idaq.learn.algorithms.ad_config import AdConfig
from idaq.learn.config import AgentSpec
from idaq.learn.transformer_config import TransformerConfig
from idaq.loader.contexts import Experience
from idaq.loader.segments import SegmentBatch
from idaq.loader.transitions import Transitions
from tests.learn import reference_transformer as reference
from tests.learn.reference_transformer import Weights

BATCH, LENGTH, CONTEXT, OBSERVATION, ACTION = 3, 6, 4, 2, 2
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
CONFIG = AdConfig(
    meta_batch=BATCH, length=LENGTH, context=CONTEXT, within="task", network=NETWORK, steps=5, log_every=1
)


def segments(seed: Iterable[int], length: int = LENGTH) -> tuple[Transitions, np.ndarray]:
    """Steps (B, L) of histories, and which begin an episode: at other places in each."""
    rng, lead = np.random.default_rng(list(seed)), (BATCH, length)
    s = rng.normal(0.5, 2.0, (*lead, OBSERVATION))
    columns = Transitions(
        observations=s.astype(np.float32),
        actions=rng.uniform(-1, 1, (*lead, ACTION)).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, lead).astype(np.float32),
        next_observations=(s + rng.normal(0.2, 0.5, s.shape)).astype(np.float32),
        terminated=np.zeros(lead, bool),
    )
    return columns, (np.arange(length) + np.arange(BATCH)[:, None]) % 3 == 0


def batch_at(step: int) -> SegmentBatch:
    """The second history is shorter, the third has a single step."""
    columns, starts = segments([3, step])
    return SegmentBatch(
        tasks=np.arange(BATCH),
        segments=columns,
        starts=starts,
        valid=np.arange(LENGTH) < np.array([LENGTH, 4, 1])[:, None],
        returns=None,
        columns={},
    )


# -- the loss ----------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_steps_that_there_are() -> None:
    surprise = torch.tensor([[1.0, 3.0], [8.0, np.nan]], requires_grad=True)
    loss, info = distillation_loss(surprise, torch.tensor([[True, True], [True, False]]))
    assert loss.item() == info["loss"].item() == 4
    loss.backward()
    assert surprise.grad is not None
    torch.testing.assert_close(surprise.grad, torch.tensor([[1 / 3, 1 / 3], [1 / 3, 0]]))


def test_a_token_holds_the_state_and_what_came_before_it() -> None:
    columns = {
        "obs": torch.tensor([[[1.0], [2], [3]]]),
        "action": torch.tensor([[[10.0], [20], [30]]]),
        "outcome": torch.tensor([[[100.0, 7], [200, 8], [300, 9]]]),
    }
    found = step_inputs(columns, torch.tensor([[True, False, True]]))
    assert found.tolist() == [[[1, 0, 0, 1], [2, 10, 100, 0], [3, 20, 200, 1]]]


# -- the update --------------------------------------------------------------------------------------------------


def normalised(values: Iterable[float], mean: Iterable[float], std: Iterable[float]) -> Tensor:
    return torch.tensor([(v - m) / s for v, m, s in zip(values, mean, std, strict=True)], dtype=torch.float64)


def outputs(weights: Weights, history: Transitions, starts: Iterable[bool]) -> list[Tensor]:
    """The head at every step of one history (L)."""
    tokens = []
    for t, start in enumerate(starts):
        before = [torch.zeros(ACTION + 1, dtype=torch.float64)]
        if t:
            before = [
                normalised(history.actions[t - 1], SPEC.action_centre, SPEC.action_scale),
                normalised([history.rewards[t - 1]], [SPEC.reward_mean], [SPEC.reward_std]),
            ]
        state = normalised(history.observations[t], SPEC.observation_mean, SPEC.observation_std)
        row = torch.cat([state, *before, torch.tensor([float(start)], dtype=torch.float64)])
        tokens.append(reference.linear(weights, "step", row) + weights["positions.weight"][t])
    found = reference.transformer(weights, tokens, lambda t, s: s <= t, 2, 2)
    return [reference.linear(weights, "head.linear", x) for x in found]


def reference_loss(weights: Weights, batch: SegmentBatch) -> Tensor:
    terms = []
    for row in range(BATCH):
        found = outputs(weights, batch.segments[row], batch.starts[row])
        for t in np.flatnonzero(batch.valid[row]):
            action = normalised(batch.segments.actions[row, t], SPEC.action_centre, SPEC.action_scale)
            terms.append(reference.gaussian_surprise(found[t], action))
    return torch.stack(terms).mean()


def test_updates_are_those_of_the_second_implementation() -> None:
    algorithm = Ad(CONFIG, SPEC, "cpu")
    weights, adam = reference.weights_of(algorithm.network), reference.AdamW(0.1)
    for step in range(4):
        batch = batch_at(step)
        expected = reference_loss(weights, batch)
        weights = adam.step(weights, expected, 0.02 * min((step + 1) / 2, max(1 - step / 5, 0.3)))
        info = algorithm.update(step, batch, np.random.default_rng(0))
        assert info["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
        reference.check_weights(algorithm.network, weights)


# -- the policy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def agent() -> AdAgent:
    """Trained for a moment: its weights are not those it began with."""
    algorithm = Ad(CONFIG, SPEC, "cpu")
    for step in range(5):
        algorithm.update(step, batch_at(step), np.random.default_rng(step))
    return algorithm.agent(None)


def experience(columns: Transitions, starts: np.ndarray, lengths: Iterable[int]) -> Experience:
    valid = np.arange(starts.shape[1]) < np.array(list(lengths))[:, None]
    return Experience(transitions=columns, starts=starts & valid, valid=valid)


def teacher_forced(policy: AdPolicy, columns: Transitions, starts: np.ndarray, ended: np.ndarray) -> Floats:
    """Actions (B, L) at the states of a history whose actions and rewards are given; a start resets the policy.

    `ended` (B, L): that the problem's episode is over.
    """
    actions = []
    for t in range(starts.shape[1]):
        if starts[:, t].any():
            policy.reset()
        actions.append(policy.act(columns.observations[:, t]))
        policy.observe(columns.actions[:, t], columns.rewards[:, t], columns.next_observations[:, t], ended[:, t])
    return np.stack(actions, 1)


def in_environment(found: Tensor) -> Floats:
    mean = found[:ACTION].clamp(-1, 1).numpy()
    return mean * np.array(SPEC.action_scale) + np.array(SPEC.action_centre)


@pytest.mark.parametrize("known", [0, 1, 4])
def test_it_acts_step_by_step_as_it_was_trained(agent: AdAgent, known: int) -> None:
    """Of a history of six steps, the first `known` are its belief, and the rest is played."""
    columns, _ = segments([5])
    starts = np.zeros((BATCH, LENGTH), bool)
    starts[:, [0, known]] = True
    belief = agent.infer_episodes(experience(columns[:, :known], starts[:, :known], [known] * BATCH))
    policy = agent.policy(belief)
    assert isinstance(policy, AdPolicy)
    rest = slice(known, None)
    acted = teacher_forced(policy, columns[:, rest], starts[:, rest], np.zeros((BATCH, LENGTH - known), bool))
    weights = {name: value.double() for name, value in agent.tensors().items()}
    for row in range(BATCH):
        found = outputs(weights, columns[row], starts[row])[rest]
        expected = np.stack([in_environment(each) for each in found])
        np.testing.assert_allclose(acted[row], expected, rtol=1e-4, atol=1e-5)


def test_problems_of_unlike_histories_act_as_each_would_alone(agent: AdAgent) -> None:
    """Beliefs of 4, 2 and no steps, then two steps more: padding is not seen, and positions are each one's own."""
    columns, starts = segments([6])
    following, _ = segments([7], 2)
    begins = np.array([[True, False]] * BATCH)
    known = [4, 2, 0]
    belief = agent.infer_episodes(experience(columns[:, :4], starts[:, :4], known))
    policy = agent.policy(belief)
    assert isinstance(policy, AdPolicy)
    acted = teacher_forced(policy, following, begins, np.zeros((BATCH, 2), bool))
    weights = {name: value.double() for name, value in agent.tensors().items()}
    for row, count in enumerate(known):
        whole = Transitions(
            **{
                name: np.concatenate([getattr(columns, name)[row, :count], getattr(following, name)[row]])
                for name in vars(columns)
            }
        )
        found = outputs(weights, whole, [*starts[row, :count], True, False])[count:]
        np.testing.assert_allclose(acted[row], np.stack([in_environment(f) for f in found]), rtol=1e-4, atol=1e-5)


def test_what_stands_in_padding_is_not_seen(agent: AdAgent) -> None:
    columns, starts = segments([6])
    belief = agent.infer_episodes(experience(columns[:, :4], starts[:, :4], [2] * BATCH))
    rows = belief.reshape(BATCH, CONTEXT, -1).copy()
    assert not rows[:, 2:].any()
    rows[:, 2:, :-2] = 7
    found = [agent.policy(each).act(columns.observations[:, 5]) for each in (belief, rows.reshape(BATCH, -1))]
    np.testing.assert_array_equal(found[0], found[1])


def test_a_history_longer_than_it_sees_is_cut_to_its_last_steps(agent: AdAgent) -> None:
    """The seventh step would be beyond `length` = 6: it is the fifth of a history of the last `context` = 4."""
    columns, starts = segments([8], LENGTH + 2)
    starts[:] = False
    starts[:, 0] = True
    policy = agent.policy(np.zeros_like(agent.infer(columns)))
    assert isinstance(policy, AdPolicy)
    acted = teacher_forced(policy, columns, starts, np.zeros((BATCH, LENGTH + 2), bool))
    weights = {name: value.double() for name, value in agent.tensors().items()}
    for row in range(BATCH):
        found = outputs(weights, columns[row, LENGTH - CONTEXT :], [False] * (CONTEXT + 2))[CONTEXT:]
        np.testing.assert_allclose(
            acted[row, LENGTH:], np.stack([in_environment(f) for f in found]), rtol=1e-4, atol=1e-5
        )


def test_steps_after_an_episodes_end_do_not_join_the_history(agent: AdAgent) -> None:
    """The first problem's episode ends after a step, the others' go on; in the next episode all act again."""
    columns, starts = segments([9])
    starts[:] = False
    starts[:, [0, 3]] = True
    ended = np.zeros((BATCH, LENGTH), bool)
    ended[0, :3] = ended[:, 2] = True
    policy = agent.policy(np.zeros_like(agent.infer(columns)))
    assert isinstance(policy, AdPolicy)
    acted = teacher_forced(policy, columns, starts, ended)
    weights = {name: value.double() for name, value in agent.tensors().items()}
    played = [0, 3, 4, 5]
    found = outputs(weights, columns[0, played], [True, True, False, False])
    np.testing.assert_allclose(acted[0, played], np.stack([in_environment(f) for f in found]), rtol=1e-4, atol=1e-5)
    found = outputs(weights, columns[1], starts[1])
    np.testing.assert_allclose(acted[1], np.stack([in_environment(f) for f in found]), rtol=1e-4, atol=1e-5)


def test_it_explores_by_drawing_from_what_it_predicts(agent: AdAgent) -> None:
    assert isinstance(agent, EpisodicAgent)
    assert isinstance(agent, SamplingAgent)
    columns, _ = segments([5])
    beliefs, states = agent.infer(columns), columns.observations[:, 0]

    def drawn(seed: int) -> Floats:
        return agent.sampled_policy(beliefs, np.random.default_rng(seed)).act(states)

    np.testing.assert_array_equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).any()
    assert (drawn(0) != agent.policy(beliefs).act(states)).any()


def test_a_context_must_leave_room_for_an_episode() -> None:
    with pytest.raises(ValueError, match="context must be less than length = 80"):
        AdConfig(length=80, context=80)
