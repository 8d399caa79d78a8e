"""FOCAL's distance metric loss: values, gradients, and what it reduces to."""

import math

import pytest
import torch

from idaq.learn.algorithms.focal import focal_loss
from idaq.learn.latent.config import EncoderConfig
from idaq.learn.latent.encoder import ContextEncoder

EPS, FLOOR = 1e-3, 0.1


@pytest.mark.parametrize(
    ("latents", "tasks", "pull", "push"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], [0, 0], math.sqrt(EPS), 0.0),  # same task, same place
        ([[0.0, 0.0], [1.0, 1.0]], [0, 0], math.sqrt(1 + EPS), 0.0),  # same task, d = 1
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], 0.0, 1 / FLOOR),  # other tasks, same place: the largest push
        ([[0.0, 0.0], [2.0, 0.0]], [0, 1], 0.0, 1 / (2 + FLOOR)),  # d = mean(4, 0) = 2
        ([[0.0], [3.0], [0.0]], [5, 7, 5], math.sqrt(EPS), 1 / (9 + FLOOR)),  # one same pair, two other pairs
        ([[0.3, 0.1]], [0], 0.0, 0.0),  # no pair at all
    ],
)
def test_values(latents: list[list[float]], tasks: list[int], pull: float, push: float) -> None:
    loss, info = focal_loss(torch.tensor(latents), torch.tensor(tasks))
    assert info["focal_pull"].item() == pytest.approx(pull, abs=1e-5)
    assert info["focal_push"].item() == pytest.approx(push, rel=1e-5)
    assert loss.item() == pytest.approx(pull + push, rel=1e-5)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([0, 0], 1.0 / math.sqrt(1 + EPS)),  # d sqrt((b - a)^2 + eps) / db at b - a = 1
        ([0, 1], -2.0 / (1 + FLOOR) ** 2),  # d 1 / ((b - a)^2 + floor) / db
    ],
)
def test_gradients(tasks: list[int], expected: float) -> None:
    latents = torch.tensor([[0.0], [1.0]], requires_grad=True)
    focal_loss(latents, torch.tensor(tasks))[0].backward()
    assert latents.grad is not None
    assert latents.grad[1].item() == pytest.approx(expected, rel=1e-4)
    assert latents.grad[0].item() == pytest.approx(-expected, rel=1e-4)  # only differences matter


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    latents = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    tasks = torch.tensor([0, 0, 1, 1, 2, 3])
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, tasks)[0], (latents,))


def test_the_order_of_tasks_and_their_labels_do_not_matter() -> None:
    torch.manual_seed(1)
    latents, tasks, order = torch.randn(8, 4), torch.tensor([0, 0, 1, 2, 2, 2, 3, 4]), torch.randperm(8)
    loss = focal_loss(latents, tasks)[0]
    torch.testing.assert_close(focal_loss(latents[order], tasks[order])[0], loss)
    torch.testing.assert_close(focal_loss(latents, 10 - tasks)[0], loss)


def test_the_encoder_is_a_set_function_bounded_by_one() -> None:
    torch.manual_seed(2)
    encoder = ContextEncoder(EncoderConfig(latent=5, hidden=16), transition_size=7)
    context = torch.randn(3, 11, 7)
    z = encoder(context)
    assert z.shape == (3, 5)
    assert (z.abs() < 1).all()
    torch.testing.assert_close(encoder(context[:, torch.randperm(11)]), z)
    torch.testing.assert_close(encoder(context.repeat(1, 2, 1)), z)  # seeing everything twice changes nothing
