"""A gradient learner without latents: MAML (Finn, Abbeel and Levine, ICML 2017) over reward-weighted behaviour cloning.

A belief is the weights themselves: those that the meta-weights become after some gradient steps on a context.

Shapes: P contexts side by side, K transitions, D observation, A action, H hidden, W all weights of one network.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

import idaq

AtLeastOne = Annotated[int, Field(ge=1)]


@idaq.config
class MamlConfig(idaq.TrainConfig):
    """Its settings; what `--set algorithm=maze-maml` leads to."""

    algorithm: str = "maze-maml"
    sampler: str = "support-query"
    meta_batch: AtLeastOne = 4
    support: AtLeastOne = 40
    query: AtLeastOne = 40
    discount: Annotated[float, Field(gt=0, le=1)] = 0.95
    hidden: AtLeastOne = 32
    inner_steps: AtLeastOne = 2
    inner_lr: Annotated[float, Field(gt=0)] = 0.5
    lr: Annotated[float, Field(gt=0)] = 3e-3

    def create(self, spec: idaq.AgentSpec, device: str) -> "Maml":
        return Maml(self, spec, device)


class Maml:
    """The meta-weights, their optimiser, and one step of meta-learning."""

    def __init__(self, config: MamlConfig, spec: idaq.AgentSpec, device: str) -> None:
        self.config, self.spec = config, spec
        self.units = idaq.Units(spec).to(device)
        random = torch.Generator().manual_seed(config.seed)
        sizes = (spec.observation_size, config.hidden, config.hidden, spec.action_size)
        drawn = [torch.randn(i, o, generator=random) / i**0.5 for i, o in pairwise(sizes)]
        layers = [tensor for weight in drawn for tensor in (weight, torch.zeros(1, weight.shape[1]))]
        self.net = nn.ParameterList([nn.Parameter(tensor) for tensor in layers]).to(device)
        self.adam = torch.optim.Adam(self.net.parameters(), lr=config.lr)

    def update(self, step: int, batch: idaq.SupportQueryBatch, rng: np.random.Generator) -> Mapping[str, Tensor]:
        adapted = adapt(list(self.net), self.units, batch.support, self.config, through=True)
        query = self.units.columns(batch.query)
        loss = (forward(adapted, query["obs"]) - query["action"]).square().mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"query_loss": loss.detach()}

    def state(self) -> dict[str, Tensor]:
        return idaq.module_state("net.", self.net) | idaq.optimiser_state("adam.", self.adam)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        idaq.load_modules(state, "net.", self.net)
        idaq.load_optimiser(state, "adam.", self.adam)

    def agent(self, prior: idaq.Prior | None) -> "MamlAgent":
        weights = [parameter.detach().clone() for parameter in self.net]
        return MamlAgent(self.config, self.spec, self.units, weights, prior)


class MamlAgent:
    """Adapts its weights to each context, and acts with them."""

    def __init__(
        self,
        config: MamlConfig,
        spec: idaq.AgentSpec,
        units: idaq.Units,
        weights: list[Tensor],
        prior: idaq.Prior | None,
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._units, self._weights = units, weights

    def infer(self, context: idaq.Transitions) -> np.ndarray:
        """(P, W) adapted weights of each context of transitions (P, K)."""
        adapted = adapt(self._weights, self._units, context, self.config, through=False)
        return torch.cat([tensor.flatten(1) for tensor in adapted], 1).numpy()

    def policy(self, beliefs: np.ndarray) -> idaq.BeliefPolicy:
        return idaq.BeliefPolicy(respond=self._respond, beliefs=beliefs)

    def export_policy(self, belief: np.ndarray) -> idaq.DensePolicy:
        shapes = [tensor.shape for tensor in self._weights]
        parts = np.split(belief, np.cumsum([shape.numel() for shape in shapes])[:-1])
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        return idaq.DensePolicy.of(
            self.spec, [idaq.DenseLayer(weight=w, bias=b[0], activation="tanh") for w, b in pairs]
        )

    def tensors(self) -> dict[str, Tensor]:
        return {f"net.{i}": tensor for i, tensor in enumerate(self._weights)}

    @torch.no_grad()
    def _respond(self, observations: np.ndarray, beliefs: np.ndarray) -> np.ndarray:
        shapes = [tensor.shape for tensor in self._weights]
        parts = torch.as_tensor(beliefs).split([shape.numel() for shape in shapes], 1)
        weights = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        seen = self._units.observations(self._units.tensor(observations))[:, None]
        centre, scale = np.array(self.spec.action_centre), np.array(self.spec.action_scale)
        return (forward(weights, seen)[:, 0].numpy() * scale + centre).astype(np.float32)


def forward(weights: list[Tensor], observations: Tensor) -> Tensor:
    """Actions (P, K, A) in (-1, 1) of P networks, each on its own observations (P, K, D)."""
    x = observations
    for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        x = torch.tanh(x @ weight + bias)
    return torch.tanh(x @ weights[-2] + weights[-1])


def adapt(
    weights: list[Tensor], units: idaq.Units, context: idaq.Transitions, config: MamlConfig, *, through: bool
) -> list[Tensor]:
    """Each network's weights (P, ...) after gradient steps on its context; `through` keeps the steps differentiable.

    The actions are cloned by reward: what earned more of it within the context weighs more.
    """
    columns = units.columns(context)
    share = torch.softmax(columns["reward"], -1)[..., None]
    with torch.enable_grad():
        adapted = [tensor.expand(len(share), *tensor.shape).clone().requires_grad_() for tensor in weights]
        if through:
            adapted = [tensor.expand(len(share), *tensor.shape) for tensor in weights]
        for _ in range(config.inner_steps):
            loss = (share * (forward(adapted, columns["obs"]) - columns["action"]).square()).sum()
            gradients = torch.autograd.grad(loss, adapted, create_graph=through)
            adapted = [tensor - config.inner_lr * g for tensor, g in zip(adapted, gradients, strict=True)]
    return adapted if through else [tensor.detach() for tensor in adapted]
