"""The predictor ensemble: losses by value, and that every member trains, each on its own rows."""

import pytest
import torch

from idaq.learn.latent.config import EnsembleConfig
from idaq.learn.latent.ensemble import PredictorEnsemble, prediction_loss


@pytest.mark.parametrize(
    ("predicted", "target", "value"),
    [
        ([[[1.0]], [[1.0]]], [[[1.0]], [[1.0]]], 0.0),
        ([[[2.0]], [[1.0]]], [[[1.0]], [[1.0]]], 1.0),
        ([[[3.0, 1.0]], [[0.0, 1.0]]], [[[1.0, 1.0]], [[1.0, 1.0]]], 4 / 2 + 1 / 2),
    ],
)
def test_values(predicted: list[list[list[float]]], target: list[list[list[float]]], value: float) -> None:
    assert prediction_loss(torch.tensor(predicted), torch.tensor(target))[0].item() == pytest.approx(value)


def test_the_gradient_of_a_member_does_not_depend_on_the_others() -> None:
    predicted = torch.tensor([[[2.0]], [[5.0]], [[-1.0]]], requires_grad=True)
    prediction_loss(predicted, torch.zeros(3, 1, 1))[0].backward()
    torch.testing.assert_close(predicted.grad, 2 * predicted.detach())


def test_every_member_trains_reward_and_dynamics_alike() -> None:
    torch.manual_seed(0)
    ensemble = PredictorEnsemble(EnsembleConfig(members=5, hidden=8), input_size=4, observation_size=3)
    ensemble.loss(torch.randn(40, 4), torch.randn(40, 4))[0].backward()
    for parameter in ensemble.parameters():
        assert parameter.grad is not None
        per_member = parameter.grad.flatten(1).abs().sum(1)
        assert (per_member > 0).all()
    last = ensemble.net.weights[-1].grad
    assert last is not None
    assert (last.abs().sum(1) > 0).all()  # every output of every member


def test_rows_are_dealt_out_once_each() -> None:
    ensemble = PredictorEnsemble(EnsembleConfig(members=3, hidden=4), input_size=1, observation_size=1)
    shares = ensemble.split(torch.arange(10.0)[:, None])
    assert shares[..., 0].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_all_members_see_the_same_rows_when_asked_to_predict() -> None:
    torch.manual_seed(0)
    ensemble = PredictorEnsemble(EnsembleConfig(members=2, hidden=8), input_size=4, observation_size=3)
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter[1] = parameter[0]
    first, second = ensemble(torch.randn(6, 4))
    torch.testing.assert_close(first, second)
