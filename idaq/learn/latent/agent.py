"""What every algorithm with a latent gives: beliefs of contexts, a policy for a belief, the ensemble's predictions.

Shapes: P contexts or problems side by side, K context transitions, R rows, Z latent, D observation, A action,
Q = 1 + D predicted numbers, E members.
"""

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.core.policy import Policy
from idaq.core.types import Floats
from idaq.learn.algorithm import BeliefPolicy, Prior, Respond
from idaq.learn.config import AgentSpec
from idaq.learn.dense import DenseLayer, DensePolicy
from idaq.learn.latent.config import LatentConfig
from idaq.learn.latent.networks import Networks
from idaq.learn.state import module_state
from idaq.learn.units import Units
from idaq.loader.transitions import Transitions


class LatentAgent:
    """Beliefs of contexts, a deterministic policy for a belief, and the ensemble's predictions. NumPy in, NumPy out."""

    def __init__(
        self, config: LatentConfig, spec: AgentSpec, networks: Networks, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._networks, self._units = networks, units
        self._respond = _response(_layers(networks.policy.actor, spec.action_size), units)

    @torch.no_grad()
    def embed(self, transitions: Transitions) -> Float32[np.ndarray, "*lead Z"]:
        """What each transition says of z; the belief of a context is the mean over it. (...) -> (..., Z)"""
        rows = self._networks.context_rows(self._units.columns(transitions))
        return self._networks.encoder.embed(rows).cpu().numpy()

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """Belief z of each context: transitions (P, K) -> (P, Z)."""
        return self.embed(context).mean(-2)

    def policy(self, beliefs: Float32[np.ndarray, "P Z"]) -> Policy:
        """The policy under a belief of each problem, deterministic."""
        return BeliefPolicy(respond=self._respond, beliefs=beliefs)

    def export_policy(self, belief: Float32[np.ndarray, "Z"]) -> DensePolicy:
        """The actor under one belief, as dense layers."""
        *hidden, last = _layers(self._networks.policy.actor, self.spec.action_size)
        layers = [DenseLayer(weight=weight, bias=bias, activation="relu") for weight, bias in hidden]
        layers.append(DenseLayer(weight=last[0], bias=last[1], activation="tanh"))
        return DensePolicy.of(self.spec, [layers[0].given(belief), *layers[1:]])

    @torch.no_grad()
    def predict(
        self, data: Transitions, beliefs: Float32[np.ndarray, "R Z"]
    ) -> tuple[Float32[np.ndarray, "E R Q"], Float32[np.ndarray, "R Q"]]:
        """Predicted and true outcomes of transitions (R) in normalised units: (E, R, 1 + D), (R, 1 + D)."""
        columns = self._units.columns(data)
        x = torch.cat([columns["obs"], self._units.tensor(beliefs), columns["action"]], -1)
        return self._networks.ensemble(x).cpu().numpy(), columns["outcome"].cpu().numpy()

    def tensors(self) -> dict[str, Tensor]:
        """Weights, targets and normalisation."""
        return module_state("", self._units, self._networks)


def _layers(actor: nn.Sequential, actions: int) -> list[tuple[Floats, Floats]]:
    """Weights (I, O) and biases (O,) of each layer, copied; of the last one, what gives the action."""
    *hidden, last = [layer for layer in actor if isinstance(layer, nn.Linear)]
    pairs = [(layer.weight, layer.bias) for layer in hidden] + [(last.weight[:actions], last.bias[:actions])]
    return [(weight.detach().cpu().numpy().T.copy(), bias.detach().cpu().numpy().copy()) for weight, bias in pairs]


def _response(layers: list[tuple[Floats, Floats]], units: Units) -> Respond:
    """The actor in NumPy: for the few rows of an adaptation torch takes three times as long."""
    mean, std = units.observation_mean.cpu().numpy(), units.observation_std.cpu().numpy()
    centre, scale = units.action_centre.cpu().numpy(), units.action_scale.cpu().numpy()

    def respond(observations_PD: NDArray[np.generic], z_PZ: Floats) -> Floats:
        x = np.concatenate([(observations_PD.astype(np.float32) - mean) / std, z_PZ], -1)
        for weight, bias in layers[:-1]:
            x = x @ weight
            x += bias
            np.maximum(x, 0, out=x)
        return np.tanh(x @ layers[-1][0] + layers[-1][1]) * scale + centre

    return respond
