"""UNICORN's losses: values, gradients, and what they reduce to."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from idaq.learn.algorithms.unicorn import (
    SelfSupervised,
    Supervised,
    bounded,
    classification_loss,
    reconstruction_loss,
)
from idaq.learn.algorithms.unicorn_config import UnicornSsConfig
from idaq.learn.config import TrainConfig, training_config
from idaq.testing import AlgorithmContract
from tests.learn.objective_update import (
    RATE,
    SMALL_RUN,
    TASKS,
    Subject,
    assert_gradients,
    assert_learns_as_focal,
    leaf,
    moved,
    reference,
    spec_of,
)
from tests.learn.reference_update import Networks, Row, Settings, Step, belief, focal_terms, forward
from tests.learn.test_update import Given

# -- reconstruction ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "log_variance", "outcome", "value"),
    [
        ([[1.0, 2.0]], [[0.0, 0.0]], [[1.0, 2.0]], 0.0),
        ([[0.0, 0.0]], [[0.0, 0.0]], [[2.0, 3.0]], 4.0 + 9.0),  # reward and change weigh the same
        ([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]], [[2.0, 3.0, 1.0]], 4.0 + (9.0 + 1.0) / 2),  # however many numbers
        ([[0.0, 0.0]], [[math.log(2), 1.0]], [[2.0, 0.0]], 4.0 / 2 + math.log(2) + 1.0),
        ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 4.0]], (4.0 + 16.0) / 2),  # over rows
    ],
)
def test_values_of_the_reconstruction(
    mean: list[list[float]], log_variance: list[list[float]], outcome: list[list[float]], value: float
) -> None:
    mean_RQ, outcome_RQ = torch.tensor(mean), torch.tensor(outcome)
    loss, info = reconstruction_loss(mean_RQ, torch.tensor(log_variance), outcome_RQ)
    assert loss.item() == pytest.approx(value, rel=1e-6)
    assert info["reconstruction_loss"].item() == pytest.approx(value, rel=1e-6)
    assert info["reconstruction_error"].item() == pytest.approx((mean_RQ - outcome_RQ).square().mean().item())


def test_gradients_of_the_reconstruction() -> None:
    mean = torch.zeros(1, 3, requires_grad=True)
    log_variance = torch.tensor([[math.log(2), 0.0, 0.0]], requires_grad=True)
    reconstruction_loss(mean, log_variance, torch.tensor([[2.0, 3.0, -1.0]]))[0].backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert mean.grad[0].tolist() == pytest.approx([-2 * 2 / 2, -2 * 3 / 2, 2 * 1 / 2])  # -2 (y - m) / v, over D = 2
    assert log_variance.grad[0].tolist() == pytest.approx([1 - 4 / 2, (1 - 9) / 2, (1 - 1) / 2])  # 1 - (y - m)^2 / v


def test_the_reconstruction_is_twice_the_likelihood_of_a_gaussian() -> None:
    draw = torch.Generator().manual_seed(0)
    mean, log_variance, outcome = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(3))
    each = -2 * Normal(mean, (log_variance / 2).exp()).log_prob(outcome) - math.log(2 * math.pi)
    torch.testing.assert_close(
        reconstruction_loss(mean, log_variance, outcome)[0], each[:, 0].mean() + each[:, 1:].mean()
    )


def test_log_variances_keep_within_bounds_and_move_both() -> None:
    low, high = torch.tensor([-10.0], requires_grad=True), torch.tensor([0.5], requires_grad=True)
    kept = bounded(torch.tensor([[-100.0], [-4.0], [100.0]]), low, high)
    assert kept[:, 0].tolist() == pytest.approx([-10.0, -4.0, 0.5], abs=0.02)  # far inside it is the identity
    kept.sum().backward()
    assert low.grad is not None
    assert high.grad is not None
    assert (low.grad.item(), high.grad.item()) == pytest.approx((1.0, 1.0), abs=0.02)


# -- classification ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "task", "value", "accuracy"),
    [
        ([[0.0, 0.0, 0.0, 0.0]], [2], math.log(4), 0.0),
        ([[0.0, math.log(3)]], [1], math.log(4 / 3), 1.0),
        ([[0.0, math.log(3)], [0.0, math.log(3)]], [0, 1], (math.log(4) + math.log(4 / 3)) / 2, 0.5),
    ],
)
def test_values_of_the_classification(
    logits: list[list[float]], task: list[int], value: float, accuracy: float
) -> None:
    loss, info = classification_loss(torch.tensor(logits), torch.tensor(task))
    assert loss.item() == pytest.approx(value, rel=1e-6)
    assert (info["classification_loss"].item(), info["accuracy"].item()) == pytest.approx((value, accuracy), rel=1e-6)


def test_gradients_of_the_classification() -> None:
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], requires_grad=True)
    classification_loss(logits, torch.tensor([0, 1]))[0].backward()
    assert logits.grad is not None
    # (softmax - one-hot) / rows
    assert logits.grad.flatten().tolist() == pytest.approx([(0.25 - 1) / 2, 0.75 / 2, 0.25 / 2, (0.75 - 1) / 2])


def test_only_differences_of_logits_matter() -> None:
    logits, task = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 5
    torch.testing.assert_close(
        classification_loss(logits, task)[0], classification_loss(logits + torch.arange(6)[:, None], task)[0]
    )


# -- the updates -------------------------------------------------------------------------------------------------

WEIGHT = 1.7


def decoded(networks: Networks, bounds: Sequence[Tensor], row: Row, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance of one transition's outcome; the bounds as PETS writes them."""
    low, high = bounds
    outputs = forward(networks["decoder"], row.s, row.a, z)
    raw = high - torch.log1p((high - outputs[3:]).exp())
    return outputs[:3], low + torch.log1p((raw - low).exp())


def reconstruction(networks: Networks, bounds: Sequence[Tensor], settings: Settings, step: Step) -> Tensor:
    """Of every context transition under the belief of its whole context, the reward as much as all of s'."""
    terms = []
    for first, second in step.halves:
        rows = [*first, *second]
        z = belief(networks, settings, rows)
        for row in rows:
            mean, log_variance = decoded(networks, bounds, row, z)
            each = (row.outcome - mean) ** 2 / log_variance.exp() + log_variance
            terms.append(each[0] + each[1:].mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("next_observation", [False, True])
def test_a_self_supervised_update_by_value(next_observation: bool) -> None:
    settings = Settings(next_observation=next_observation)
    own = {"focal_weight": WEIGHT, "decoder": {"hidden": 3, "layers": 1}}
    subject, given = Subject("unicorn-ss", settings, own), Given(settings)
    part = subject.networks.objective
    assert isinstance(part, SelfSupervised)
    networks = {"encoder": reference(subject.networks.encoder), "decoder": reference(part.decoder)}
    bounds = low, high = leaf(part.low), leaf(part.high)
    loss = reconstruction(networks, bounds, settings, given.rows_at(0))
    pull, push = focal_terms(networks, settings, given.rows_at(0))
    (loss + WEIGHT * (pull + push) + 0.01 * (high.sum() - low.sum())).backward()

    info = subject.update(0, given.at(0)[1], given)
    assert_gradients(subject.networks.encoder, networks["encoder"])
    assert_gradients(part.decoder, networks["decoder"])
    for found, expected in ((part.low, low), (part.high, high)):
        assert found.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-4, atol=1e-6)
    terms = {"reconstruction_loss": loss.item(), "focal_pull": pull.item(), "focal_push": push.item()}
    assert {name: info[name] for name in terms} == pytest.approx(terms, rel=1e-4, abs=1e-6)
    assert_learns_as_focal(subject, info, settings, given.at(0)[1])


def test_log_variances_start_between_the_bounds_of_pets() -> None:
    config = training_config({"algorithm": "unicorn-ss"})
    assert isinstance(config, UnicornSsConfig)
    part = SelfSupervised(config, spec_of(Settings()))
    assert (part.low.tolist(), part.high.tolist()) == ([-10.0] * 3, [0.5] * 3)


def test_a_supervised_update_by_value() -> None:
    settings = Settings()
    subject, given = Subject("unicorn-sup", settings, {"classifier": {"hidden": 3, "layers": 1}}), Given(settings)
    part, step = subject.networks.objective, given.rows_at(0)
    assert isinstance(part, Supervised)
    networks = {"encoder": reference(subject.networks.encoder), "classifier": reference(part.classifier)}
    terms = []
    for label, halves in zip(step.labels, step.halves, strict=True):
        for half in halves:
            logits = forward(networks["classifier"], belief(networks, settings, half))
            assert len(logits) == TASKS
            terms.append(logits.exp().sum().log() - logits[label])
    loss = torch.stack(terms).mean()
    loss.backward()

    info = subject.update(0, given.at(0)[1], given)
    assert_gradients(subject.networks.encoder, networks["encoder"])
    assert_gradients(part.classifier, networks["classifier"])
    assert info["classification_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert_learns_as_focal(subject, info, settings, given.at(0)[1])


@pytest.mark.parametrize(("name", "own"), [("unicorn-ss", "decoder"), ("unicorn-sup", "classifier")])
def test_its_own_networks_move_at_the_encoders_rate(name: str, own: str) -> None:
    settings = Settings()
    subject, given = Subject(name, settings, {own: {"hidden": 3, "layers": 1}}), Given(settings)
    part = subject.networks.objective
    by = moved(subject, part, lambda: subject.update(0, given.at(0)[1], given))
    assert by == pytest.approx([RATE] * len(list(part.parameters())), rel=1e-3)


# -- the contract ------------------------------------------------------------------------------------------------


class TestUnicornSs(AlgorithmContract):
    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL_RUN, "decoder": {"hidden": 3}, "algorithm": "unicorn-ss", "seed": seed})


class TestUnicornSup(AlgorithmContract):
    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL_RUN, "classifier": {"hidden": 3}, "algorithm": "unicorn-sup", "seed": seed})
