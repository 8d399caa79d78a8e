"""One whole meta-update of macaw by value, against a second one written from the paper (`reference_macaw`)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.learn import reference_macaw as paper
from tests.learn.one_macaw_update import SETTINGS, algorithm_of, batch_at, parameters_of, reference_of, sets_of


@pytest.fixture(params=SETTINGS.values(), ids=list(SETTINGS))
def settings(request: pytest.FixtureRequest) -> paper.Settings:
    return request.param


def test_the_example_holds_every_case(settings: paper.Settings) -> None:
    """Else a wrong update could agree by chance."""
    reference = reference_of(settings, algorithm_of(settings))
    support, query = sets_of(batch_at(0))
    clamped, dead = list[bool](), list[Tensor]()
    for seen, judged in zip(support, query, strict=True):
        value, policy = reference.adapted(seen)
        for rows in (seen, judged):
            clamped += (paper.weights(paper.advantages(value, rows), settings) == settings.max_weight).tolist()
            dead.append(paper.hidden(policy, rows[0], settings) == 0)
        for before, after in zip(reference.value + reference.policy, value + policy, strict=True):
            moved = [float((b - a).detach().abs().max()) for b, a in zip(before[:3], after[:3], strict=True)]
            assert min(moved) > 1e-3
            assert max(moved) < 0.5
    assert 5 < sum(clamped) < len(clamped) - 5
    assert 5 < torch.cat(dead).sum() < torch.cat(dead).numel() - 5


def test_gradients_of_every_meta_parameter(settings: paper.Settings) -> None:
    subject = algorithm_of(settings)
    reference, batch = reference_of(settings, subject), batch_at(0)
    subject.update(0, batch, np.random.default_rng(0))
    expected = reference.gradients(*sets_of(batch))
    for number, (parameter, wanted) in enumerate(zip(parameters_of(subject), expected, strict=True)):
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(
            found.double(), wanted, rtol=1e-4, atol=1e-6, msg=lambda m, number=number: f"parameter {number}: {m}"
        )


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_agree_with_finite_differences(steps: int) -> None:
    """Of the outer losses after adaptation, along a random direction of each tensor, rates and lambda included.

    No backward pass through the inner loop has computed them.
    """
    settings = paper.Settings(inner_steps=steps)
    subject, rng = algorithm_of(settings), np.random.default_rng(6)
    reference, batch = reference_of(settings, subject), batch_at(0)
    support, query = sets_of(batch)
    subject.update(0, batch, rng)
    own = len(reference.value) * 4
    for number, ((part, _), parameter) in enumerate(zip(reference.parameters, parameters_of(subject), strict=True)):
        along = torch.as_tensor(rng.normal(size=part.shape))
        expected = slope(part, along, lambda n=number: reference.losses(support, query)[n >= own])
        found = 0.0 if parameter.grad is None else float((parameter.grad.double() * along).sum())
        assert found == pytest.approx(expected, rel=1e-3, abs=2e-5), number


def slope(part: Tensor, along: Tensor, loss: Callable[[], Tensor], width: float = 1e-5) -> float:
    """The central difference of `loss` along a direction of `part`."""
    kept, ends = part.data.clone(), []
    for shift in (width, -width):
        part.data = kept + shift * along
        ends.append(loss().item())
    part.data = kept
    return (ends[0] - ends[1]) / (2 * width)


def test_rates_and_lambda_learn_where_second_order_lets_them() -> None:
    """With one inner step the head's own rates move nothing that is judged."""
    subject = algorithm_of(paper.Settings(inner_steps=1))
    subject.update(0, batch_at(0), np.random.default_rng(0))
    *trunk, first, second = subject.networks.policy.layers
    for layer in (*subject.networks.value.layers, *trunk):
        assert layer.raw_rates.grad is not None
        assert (layer.raw_rates.grad != 0).all()
    assert all(layer.raw_rates.grad is None or not layer.raw_rates.grad.any() for layer in (first, second))
    coef = subject.networks.raw_advantage_coef.grad
    assert coef is not None
    assert coef != 0


def test_weights_and_metrics_after_each_of_six_updates(settings: paper.Settings) -> None:
    subject = algorithm_of(settings)
    reference = reference_of(settings, subject)
    for number in range(6):
        batch = batch_at(number)
        found = subject.update(number, batch, np.random.default_rng(0))
        expected = reference.update(*sets_of(batch))
        assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-3), number
        for parameter, (part, _) in zip(parameters_of(subject), reference.parameters, strict=True):
            torch.testing.assert_close(parameter.detach().double(), part.detach(), rtol=1e-3, atol=2e-4)
