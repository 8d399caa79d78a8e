"""cpearl and pearl: their losses by value, what their agents believe, and the contract."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from idaq.core.errors import ConfigError
from idaq.learn.algorithm import EmbeddingAgent
from idaq.learn.algorithms.cpearl import GaussianEncoder, kl_to_unit, product_of_gaussians
from idaq.learn.config import TrainConfig, training_config
from idaq.learn.latent.config import EncoderConfig
from idaq.testing import AlgorithmContract
from tests.learn.one_update import GivenNoise
from tests.learn.test_contracts import SMALL

KINDS = {
    "with BRAC": {"algorithm": "cpearl"},
    "SAC alone": {"algorithm": "cpearl", "learner": {"brac": False}},
    "every part": {"algorithm": "cpearl", "bottleneck": True, "critic_gradients": True},
    "pearl": {"algorithm": "pearl"},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, object]:
    return request.param


class TestContract(AlgorithmContract):
    @pytest.fixture(autouse=True)
    def told(self, kind: dict[str, object]) -> None:
        self.kind = kind

    def config(self, seed: int) -> TrainConfig:
        learner = {**SMALL["learner"], **self.kind.get("learner", {})}
        return training_config({**SMALL, **self.kind, "learner": learner, "seed": seed})

    def test_its_belief_is_a_mean_of_embeddings_unless_it_is_a_product(self, dataset, sampler) -> None:
        agent, config = self.create(dataset, sampler).agent(None), self.config(0)
        assert isinstance(agent, EmbeddingAgent) is not config.bottleneck


def test_an_encoder_that_learns_from_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="learns from nothing"):
        training_config({"algorithm": "cpearl", "focal_weight": 0})
    assert training_config({"algorithm": "cpearl", "focal_weight": 0, "critic_gradients": True})


@pytest.mark.parametrize(
    ("means", "variances", "mean", "variance"),
    [
        ([3.0], [2.0], 3.0, 2.0),  # of one Gaussian it is that one
        ([1.0, 1.0, 1.0], [0.5, 0.5, 0.5], 1.0, 0.5 / 3),  # K equal ones: K times as sure
        ([0.0, 4.0], [1.0, 3.0], 1.0, 0.75),  # nearer to the surer one
        ([0.0, 6.0, -3.0], [2.0, 1.0, 0.5], 0.0, 2 / 7),
    ],
)
def test_product_of_gaussians(means: list[float], variances: list[float], mean: float, variance: float) -> None:
    given = [torch.tensor(numbers, dtype=torch.float64)[:, None] for numbers in (means, variances)]
    found = product_of_gaussians(*given)
    assert [number.item() for number in found] == pytest.approx([mean, variance])
    x = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
    density = sum(Normal(m, v**0.5).log_prob(x) for m, v in zip(means, variances, strict=True)).exp()
    density = density / torch.trapezoid(density, x)
    assert torch.trapezoid(density * x, x).item() == pytest.approx(mean, abs=1e-6)
    assert torch.trapezoid(density * (x - mean) ** 2, x).item() == pytest.approx(variance)


@pytest.mark.parametrize(
    ("mean", "variance", "value", "slopes"),
    [
        ([[0.0]], [[1.0]], 0.0, (0.0, 0.0)),  # the unit Gaussian itself
        ([[2.0]], [[1.0]], 2.0, (2.0, 0.0)),
        ([[0.0]], [[0.5]], 0.5 * (0.5 - 1 - np.log(0.5)), (0.0, -0.5)),
    ],
)
def test_kl_to_unit(
    mean: list[list[float]], variance: list[list[float]], value: float, slopes: tuple[float, float]
) -> None:
    given = [torch.tensor(numbers, dtype=torch.float64, requires_grad=True) for numbers in (mean, variance)]
    loss, info = kl_to_unit(*given)
    loss.backward()
    assert (loss.item(), info["kl"].item()) == pytest.approx((value, value))
    assert [number.grad.item() for number in given] == pytest.approx(slopes)


def test_the_divergence_of_several_beliefs_adds_up() -> None:
    rng = np.random.default_rng(0)
    mean, variance = torch.as_tensor(rng.normal(size=(3, 4))), torch.as_tensor(rng.uniform(0.1, 2, (3, 4)))
    expected = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl_to_unit(mean, variance)[0], expected)


def test_a_belief_is_the_mean_of_the_product_and_z_is_drawn_from_it() -> None:
    torch.manual_seed(0)
    encoder = GaussianEncoder(EncoderConfig(latent=2, hidden=8), transition_size=3)
    halves = encoder.embed(torch.randn(4, 2, 5, 3))
    mean, variance = product_of_gaussians(*halves.flatten(1, 2).chunk(2, -1))
    assert (halves[..., 2:] > 0).all()
    torch.testing.assert_close(encoder.belief(halves.flatten(1, 2)), mean)
    noise = np.random.default_rng(1).standard_normal((4, 2), np.float32)
    torch.testing.assert_close(encoder.draw(halves, GivenNoise(noise)), mean + variance.sqrt() * torch.as_tensor(noise))
