"""The Transformer by value, what its mask and its cache do, and the descent."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idaq.learn.networks import weights_drawn_from
from idaq.learn.transformer import Descent, Transformer
from idaq.learn.transformer_config import TransformerConfig
from tests.learn import reference_transformer as reference

CONFIG = TransformerConfig(width=6, layers=2, heads=2)
BATCH, STEPS = 3, 5


@pytest.fixture
def network() -> Transformer:
    """Weights away from where they begin: no norm is the identity."""
    with weights_drawn_from(0):
        made = Transformer(CONFIG)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return made


@pytest.fixture
def tokens() -> Tensor:
    return torch.as_tensor(np.random.default_rng(1).standard_normal((BATCH, STEPS, 6), np.float32))


def causal(steps: int = STEPS) -> Tensor:
    return torch.ones(1, steps, steps, dtype=torch.bool).tril()


@torch.no_grad()
def test_it_is_the_transformer_of_the_reference(network: Transformer, tokens: Tensor) -> None:
    seen = torch.as_tensor(np.random.default_rng(2).random((BATCH, STEPS, STEPS)) < 0.5) | torch.eye(STEPS).bool()
    found, _ = network(tokens, seen)
    weights = {f"transformer.{name}": value for name, value in reference.weights_of(network).items()}
    for batch in range(BATCH):
        expected = reference.transformer(
            weights, list(tokens[batch].double()), lambda t, s, b=batch: bool(seen[b, t, s]), 2, 2
        )
        np.testing.assert_allclose(found[batch], torch.stack(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_no_step_sees_the_future(network: Transformer, tokens: Tensor) -> None:
    before, _ = network(tokens, causal())
    for step in range(STEPS):
        later = tokens.clone()
        later[:, step, 0] += 1
        after, _ = network(later, causal())
        torch.testing.assert_close(after[:, :step], before[:, :step], rtol=0, atol=0)
        assert (after[:, step:] != before[:, step:]).any(-1).all(), "every later step sees it"


@torch.no_grad()
@pytest.mark.parametrize("first", [1, 3])
def test_steps_after_a_cache_are_those_of_the_whole(network: Transformer, tokens: Tensor, first: int) -> None:
    whole, _ = network(tokens, causal())
    _, cache = network(tokens[:, :first], causal(first))
    for step in range(first, STEPS):
        seen = torch.ones(1, 1, step + 1, dtype=torch.bool)
        now, cache = network(tokens[:, step : step + 1], seen, cache)
        torch.testing.assert_close(now[:, 0], whole[:, step], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.25), (1, 0.5), (3, 0.97), (50, 0.5), (79, 0.21), (95, 0.1), (99, 0.1)]
)
def test_the_rate_rises_then_falls_on_a_line_to_its_end(step: int, rate: float) -> None:
    config = TransformerConfig(lr=2.0, warmup=4, lr_end=0.1)
    assert Descent(config, nn.Linear(1, 1), 100).rate(step) == pytest.approx(2 * rate)


def test_without_warm_up_the_first_step_is_the_largest() -> None:
    assert Descent(TransformerConfig(lr=0.5, warmup=0), nn.Linear(1, 1), 100).rate(0) == 0.5


def test_a_descent_is_adamw_at_the_rate_of_the_step() -> None:
    """Weights by hand: lr 0.5 at step 0 of 1 warm-up step, decay 0.1; Adam's first step is the sign of the gradient."""
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(-1.0)
    descent = Descent(TransformerConfig(lr=0.5, warmup=1, weight_decay=0.1), layer, 10)
    descent.step(0, layer(torch.ones(1, 1)).square().sum())
    assert layer.weight.item() == pytest.approx(2 * (1 - 0.05) - 0.5)
    assert layer.bias.item() == pytest.approx(-1 * (1 - 0.05) - 0.5)
    descent.step(1, layer(torch.ones(1, 1)).square().sum())
    assert {"optimiser.0.exp_avg", "optimiser.1.exp_avg_sq", "optimiser.0.step"} <= descent.state().keys()


def test_heads_must_share_the_width() -> None:
    with pytest.raises(ValueError, match="width must be a multiple of heads = 4"):
        TransformerConfig(width=6)
