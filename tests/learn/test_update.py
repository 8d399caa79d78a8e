"""The whole update by value, against a second implementation written from the papers (`reference_update`).

Three tasks, two of them with the same label, three transitions and a context of four each. Everything differs from
everything: s from s', r of each row, online from target weights, and normalisation from the identity.
"""

from collections.abc import Callable
from itertools import chain, product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from idaq.loader.transitions import Transitions
from tests.learn.one_update import Subject
from tests.learn.reference_update import (
    Layers,
    Metrics,
    Networks,
    Reference,
    Row,
    Settings,
    Step,
    belief,
    critic_terms,
    focal_terms,
    forward,
    normalised,
    prediction_terms,
    smoothed_action,
)

TASKS, BATCH, CONTEXT, OBSERVATION, ACTION = 3, 3, 4, 2, 2
LABELS = np.array([4, 7, 4])
SEED = 15
"""whose first step holds every case, and whose gradients are never so near to 0 that Adam would magnify rounding"""
MOVED_WITH_DELAY = ("actor", "target_")


def transitions(rng: np.random.Generator, rows: int) -> Transitions:
    """Random ones of each task, in units that are not normal; a third are terminations."""
    lead = (TASKS, rows)
    s = rng.normal(0.5, 2.0, (*lead, OBSERVATION))
    return Transitions(
        observations=s.astype(np.float32),
        actions=rng.uniform(-1, 1, (*lead, ACTION)).astype(np.float32),
        rewards=rng.normal(-1.5, 2.5, lead).astype(np.float32),
        next_observations=(s + rng.normal(0.2, 0.5, s.shape)).astype(np.float32),
        terminated=np.add.outer(np.arange(TASKS), np.arange(rows)) % 3 == 0,
    )


class Given:
    """What the steps are given, for both sides."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def at(self, number: int) -> tuple[Transitions, Transitions, np.ndarray]:
        """Batch, context and noise (N * B, A): half of it beyond the clip."""
        rng = np.random.default_rng([SEED, number])
        noise = 2 * rng.standard_normal((TASKS * BATCH, ACTION), dtype=np.float32)
        return transitions(rng, BATCH), transitions(rng, CONTEXT), noise

    def rows_at(self, number: int) -> Step:
        """The same, a row at a time."""
        batch, context, noise = self.at(number)
        contexts = self._rows(context)
        return Step(
            rows=self._rows(batch),
            halves=[(rows[: CONTEXT // 2], rows[CONTEXT // 2 :]) for rows in contexts],
            labels=LABELS.tolist(),
            noise=[list(part) for part in torch.as_tensor(noise).double().reshape(TASKS, BATCH, ACTION)],
        )

    def _rows(self, data: Transitions) -> list[list[Row]]:
        def row(place: tuple[int, int]) -> Row:
            s, a, following = (
                torch.as_tensor(column[place]).double()
                for column in (data.observations, data.actions, data.next_observations)
            )
            return normalised(self._settings, s, a, float(data.rewards[place]), following, bool(data.terminated[place]))

        return [[row((task, number)) for number in range(data.rewards.shape[1])] for task in range(TASKS)]


def random_weights(networks: Networks) -> Networks:
    """Others of the same shapes: targets are not copies."""
    rng = np.random.default_rng([SEED, 99])
    return {
        name: [tuple(torch.as_tensor(rng.normal(0, 1.0, part.shape)).float() for part in layer) for layer in layers]
        for name, layers in networks.items()
    }


def pair(settings: Settings) -> tuple[Subject, Reference, Given]:
    """The algorithm and its reference with the same weights, and what to give them."""
    subject = Subject(settings)
    subject.load(random_weights(subject.networks()))
    return subject, Reference(settings, subject.networks()), Given(settings)


def step_of(subject: Subject, given: Given, number: int) -> Metrics:
    batch, context, noise = given.at(number)
    return subject.update(number, batch, context, LABELS, noise)


def assert_alike(found: Networks, expected: Networks, rtol: float, atol: float) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        for depth, (ours, theirs) in enumerate(zip(found[name], expected[name], strict=True)):
            for part, a, b in zip(("weight", "bias"), ours, theirs, strict=True):
                assert a.shape == b.shape
                text = f"{name}, layer {depth}, {part}: "
                torch.testing.assert_close(
                    a.double(), b.detach(), rtol=rtol, atol=atol, msg=lambda m, text=text: text + m
                )


SETTINGS = {
    "with s' - s in the context": Settings(),
    "without": Settings(next_observation=False),
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def settings(request: pytest.FixtureRequest) -> Settings:
    return request.param


def test_the_example_holds_every_case(settings: Settings) -> None:
    """Else a wrong update could agree by chance."""
    _, reference, given = pair(settings)
    networks, step = reference.networks, given.rows_at(0)
    each = step.believed(networks, settings)
    noise = torch.stack([noise for *_, noise in each]).abs() * settings.policy_noise
    assert 4 < (noise > settings.noise_clip).sum() < noise.numel() - 4
    assert {row.terminated for row, *_ in each} == {True, False}
    alive = [(row, z, noise) for row, z, noise in each if not row.terminated]
    actions = torch.stack([smoothed_action(networks, settings, *of) for of in alive])
    assert 2 < (actions.abs() == 1).sum() < actions.numel() - 2
    smaller = set()
    for (row, z, _), action in zip(alive, actions, strict=True):
        values = [forward(networks[f"target_critic_{j}"], row.following, z, action).item() for j in (0, 1)]
        smaller.add(values[0] < values[1])
    assert smaller == {True, False}
    assert len({row.r.item() for row, *_ in each}) == len(each) == TASKS * BATCH
    assert len(each) % 2 == 1  # one row more than the two predictors can share


def test_gradients_of_every_network(settings: Settings) -> None:
    subject, reference, given = pair(settings)
    step_of(subject, given, 0)
    reference.update(0, given.rows_at(0))
    assert_alike(subject.gradients(), reference.gradients(), rtol=1e-4, atol=1e-6)


def critics(networks: Networks, settings: Settings, step: Step) -> Tensor:
    return critic_terms(networks, settings, step.believed(networks, settings))[0]


def predictors(networks: Networks, settings: Settings, step: Step) -> Tensor:
    return prediction_terms(networks, settings, step.believed(networks, settings))


LOSSES: dict[str, Callable[[Networks, Settings, Step], Any]] = {
    "encoder": lambda *given: sum(focal_terms(*given)),
    "critic_0": critics,
    "critic_1": critics,
    "predictor_0": predictors,
    "predictor_1": predictors,
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(settings: Settings, name: str) -> None:
    """Which no autograd computed. The encoder's loss is FOCAL's alone, since z takes no gradient from the others."""
    subject, reference, given = pair(settings)
    step_of(subject, given, 0)
    step, found = given.rows_at(0), subject.gradients()[name]
    for depth, part in product(range(len(found)), (0, 1)):
        slopes = differences(
            reference.networks[name][depth][part], lambda: LOSSES[name](reference.networks, settings, step)
        )
        torch.testing.assert_close(found[depth][part].double(), slopes, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def differences(weight: Tensor, loss: Callable[[], Tensor], width: float = 1e-5) -> Tensor:
    """Central differences of `loss` for each number of `weight`."""
    slopes = torch.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        kept = weight[place].item()
        ends = []
        for shift in (width, -width):
            weight[place] = kept + shift
            ends.append(loss().item())
        weight[place] = kept
        slopes[place] = (ends[0] - ends[1]) / (2 * width)
    return slopes


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_weights_targets_and_metrics_after_each_of_ten_updates(delay: int) -> None:
    """Adam, the fall of the learning rates to their end, the delay of the policy and the pace of the targets."""
    settings = Settings(policy_delay=delay)
    subject, reference, given = pair(settings)
    for number in range(settings.steps):
        found, expected = step_of(subject, given, number), reference.update(number, given.rows_at(number))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5), number
        assert_alike(subject.networks(), reference.networks, rtol=1e-4, atol=1e-5)


def test_actor_and_targets_move_with_the_delay_and_the_rest_with_every_step() -> None:
    subject, _, given = pair(Settings(policy_delay=3))
    for number in range(7):
        before = subject.networks()
        step_of(subject, given, number)
        moved = {name for name, layers in subject.networks().items() if changed(layers, before[name])}
        still = set() if number % 3 == 0 else {name for name in before if name.startswith(MOVED_WITH_DELAY)}
        assert moved == before.keys() - still, number


def changed(now: Layers, before: Layers) -> bool:
    parts = zip(chain(*now), chain(*before), strict=True)
    return not all(torch.equal(a, b) for a, b in parts)


def test_targets_come_nearer_by_tau_to_what_the_networks_have_become() -> None:
    subject, _, given = pair(Settings(tau=0.25))
    before = subject.networks()
    step_of(subject, given, 0)
    after = subject.networks()
    for name in ("actor", "critic_0", "critic_1"):
        for old, online, new in zip(before[f"target_{name}"], after[name], after[f"target_{name}"], strict=True):
            for a, b, c in zip(old, online, new, strict=True):
                torch.testing.assert_close(c, 0.75 * a + 0.25 * b)


def test_the_encoder_learns_from_the_contexts_alone() -> None:
    """Another batch and other noise alter every network but the encoder."""
    learned = []
    for batch_of in (0, 1):
        subject, _, given = pair(Settings())
        _, context, _ = given.at(0)
        batch, _, noise = given.at(batch_of)
        subject.update(0, batch, context, LABELS, noise)
        learned.append(subject.networks())
    assert [name for name in learned[0] if not changed(learned[0][name], learned[1][name])] == ["encoder"]


def test_the_agent_believes_acts_and_predicts_as_its_networks_say(settings: Settings) -> None:
    subject, reference, given = pair(settings)
    (batch, context, _), step = given.at(0), given.rows_at(0)
    agent, networks = subject.agent(), reference.networks
    beliefs = agent.infer(context)
    expected = torch.stack([belief(networks, settings, [*first, *second]) for first, second in step.halves])
    torch.testing.assert_close(torch.as_tensor(beliefs).double(), expected.detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(agent.embed(context).mean(1), beliefs, rtol=1e-6)

    firsts, z = [rows[0] for rows in step.rows], torch.as_tensor(beliefs).double()
    acted = [forward(networks["actor"], row.s, z[task]).tanh() for task, row in enumerate(firsts)]
    scale, centre = torch.tensor(settings.action_scale), torch.tensor(settings.action_centre)
    actions = torch.as_tensor(agent.policy(beliefs).act(batch.observations[:, 0]))
    torch.testing.assert_close(actions.double(), (torch.stack(acted) * scale + centre).detach(), rtol=1e-4, atol=1e-6)

    predicted, true = agent.predict(batch[:, 0], beliefs)
    for member in (0, 1):
        told = [forward(networks[f"predictor_{member}"], row.s, z[task], row.a) for task, row in enumerate(firsts)]
        np.testing.assert_allclose(predicted[member], torch.stack(told).detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(true, torch.stack([row.outcome for row in firsts]), rtol=1e-4, atol=1e-6)
