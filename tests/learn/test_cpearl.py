"""cpearl and pearl: their losses by value, what their agents believe, and the contract."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from idaq.core.errors import ConfigError
from idaq.core.seeds import generator
from idaq.learn.algorithm import EmbeddingAgent
from idaq.learn.algorithms.cpearl import Cpearl, GaussianEncoder, kl_to_unit, product_of_gaussians
from idaq.learn.algorithms.cpearl_config import CpearlConfig
from idaq.learn.algorithms.focal import focal_loss
from idaq.learn.config import AgentSpec, TrainConfig, training_config
from idaq.learn.latent.config import EncoderConfig
from idaq.learn.latent.encoder import Encoded
from idaq.learn.networks import weights_drawn_from
from idaq.testing import AlgorithmContract
from tests.learn.one_update import GivenNoise
from tests.learn.test_contracts import SMALL

KINDS = {
    "with BRAC": {"algorithm": "cpearl"},
    "SAC alone": {"algorithm": "cpearl", "learner": {"brac": False}},
    "every part": {"algorithm": "cpearl", "bottleneck": True, "critic_gradients": True},
    "pearl": {"algorithm": "pearl"},
    "told the task": {"algorithm": "cpearl", "task_weight": 2.0},
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
    for part in ({"critic_gradients": True}, {"task_weight": 1}):
        assert training_config({"algorithm": "cpearl", "focal_weight": 0, **part})


def test_telling_the_task_is_cross_entropy_on_either_half_beside_focals_loss() -> None:
    """By weight; the classifier and the encoder learn from it."""
    config = CpearlConfig(focal_weight=3.0, task_weight=2.0, encoder=EncoderConfig(latent=2))
    spec = AgentSpec(
        observation_mean=[0.0],
        observation_std=[1.0],
        change_std=[1.0],
        reward_mean=0.0,
        reward_std=1.0,
        action_centre=[0.0],
        action_scale=[1.0],
        num_tasks=3,
    )
    with weights_drawn_from(0):
        objective = Cpearl(config, spec)
    assert objective.classifier is not None
    weight, bias = objective.classifier.weight.detach().double(), objective.classifier.bias.detach().double()
    halves = torch.tensor([[[0.5, -0.2], [0.1, 0.9]], [[-0.7, 0.3], [0.2, 0.2]]], requires_grad=True)
    tasks = torch.tensor([2, 0])
    empty = {"obs": torch.zeros(2, 1, 1)}
    encoded = Encoded(
        tasks=tasks, context=empty, embeddings=torch.zeros(2, 2, 2), halves=halves, z=halves.mean(1), data=empty
    )
    loss, info = objective.loss(encoded, 0, generator(0))
    z = halves.detach().double().reshape(4, 2)
    scores = z @ weight.T + bias
    told = scores.exp().sum(1).log() - scores[torch.arange(4), torch.tensor([2, 2, 0, 0])]
    focal, _ = focal_loss(halves.detach().flatten(0, 1), tasks.repeat_interleave(2))
    assert loss.item() == pytest.approx(2 * told.mean().item() + 3 * focal.item(), rel=1e-5)
    assert info["classification_loss"].item() == pytest.approx(told.mean().item(), rel=1e-5)
    loss.backward()
    assert halves.grad is not None
    shares = (scores.softmax(1) - torch.eye(3, dtype=torch.float64)[[2, 2, 0, 0]]) / 4
    np.testing.assert_allclose(objective.classifier.weight.grad, 2 * shares.T @ z, rtol=1e-4, atol=1e-6)
    focal_gradient = torch.autograd.grad(focal_loss(halves.flatten(0, 1), tasks.repeat_interleave(2))[0], halves)[0]
    expected = 3 * focal_gradient.reshape(4, 2) + 2 * shares @ weight
    np.testing.assert_allclose(halves.grad.reshape(4, 2), expected, rtol=1e-4, atol=1e-6)


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
