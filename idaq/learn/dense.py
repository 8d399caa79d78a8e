"""A policy under one belief as a list of dense layers: the form in which it leaves for every runtime. No torch here.

    x = (observation - observation_mean) / observation_std      in float32, as in training
    x = activation(x @ weight + bias)                           layer by layer
    action = clip(x * action_scale + action_centre, action_low, action_high)

Shapes: D observation, A action, Z belief, I inputs and O outputs of a layer, any leading dimensions `...`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from idaq.core.types import Array, Floats
from idaq.learn.config import AgentSpec

Activation = Literal["identity", "relu", "tanh", "sigmoid", "elu"]
ACTIVATIONS: Mapping[str, Callable[[Floats], Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: (np.tanh(x / 2) + 1) / 2,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}
_UNITS: tuple[str, ...] = (
    *("observation_mean", "observation_std"),
    *("action_centre", "action_scale", "action_low", "action_high"),
)


@dataclass(frozen=True, kw_only=True)
class DenseLayer:
    """activation(x @ weight + bias)"""

    weight: Array
    """(I, O) in float32"""
    bias: Array
    """(O,) in float32"""
    activation: Activation

    def given(self, belief: Floats) -> "DenseLayer":
        """The layer of inputs [x, belief (Z,)] as a layer of x alone: what the belief adds is in its bias."""
        rest, mine = np.split(self.weight.astype(np.float64), [len(self.weight) - len(belief)])
        return DenseLayer(
            weight=rest.astype(np.float32),
            bias=(self.bias + belief.astype(np.float64) @ mine).astype(np.float32),
            activation=self.activation,
        )


@dataclass(frozen=True, kw_only=True)
class DensePolicy:
    """From an observation in the system's units to an action in its units, all in float32.

    Raises ValueError for arrays of other types or sizes, NaN, and an activation that there is not.
    """

    observation_mean: Array
    """(D,)"""
    observation_std: Array
    """(D,) each > 0"""
    layers: tuple[DenseLayer, ...]
    action_centre: Array
    """(A,)"""
    action_scale: Array
    """(A,)"""
    action_low: Array
    """(A,)"""
    action_high: Array
    """(A,)"""

    def __post_init__(self) -> None:
        sizes = (len(self.observation_mean), *(len(layer.bias) for layer in self.layers))
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(_UNITS, sizes[-1:])
        wanted |= dict.fromkeys(_UNITS[:2], sizes[:1])
        for number, size in enumerate(pairwise(sizes)):
            wanted |= {f"layers.{number}.weight": size, f"layers.{number}.bias": size[1:]}
        for name, array in self.arrays().items():
            if array.dtype != np.float32 or array.shape != wanted[name] or not array.size:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not float32 {wanted[name]}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
        if not self.layers:
            raise ValueError("it has no layers")
        for layer in self.layers:
            if layer.activation not in ACTIVATIONS:
                raise ValueError(f"activation {layer.activation!r} is none of {', '.join(ACTIVATIONS)}")
        if (self.observation_std <= 0).any() or (self.action_low > self.action_high).any():
            raise ValueError("observation_std must be above 0, and action_low at most action_high")

    @classmethod
    def of(cls, spec: AgentSpec, layers: Sequence[DenseLayer]) -> "DensePolicy":
        """Of layers from normalised observations to actions in [-1, 1], as an agent's spec has their units."""
        centre, scale = np.array(spec.action_centre), np.array(spec.action_scale)
        return cls(
            observation_mean=np.array(spec.observation_mean, np.float32),
            observation_std=np.array(spec.observation_std, np.float32),
            layers=tuple(layers),
            action_centre=centre.astype(np.float32),
            action_scale=scale.astype(np.float32),
            action_low=(centre - scale).astype(np.float32),
            action_high=(centre + scale).astype(np.float32),
        )

    @property
    def activations(self) -> list[Activation]:
        """Of each layer."""
        return [layer.activation for layer in self.layers]

    def arrays(self) -> dict[str, Array]:
        """Every array by name: what a file of weights holds, beside the activations."""
        arrays = {name: getattr(self, name) for name in _UNITS}
        for number, layer in enumerate(self.layers):
            arrays |= {f"layers.{number}.weight": layer.weight, f"layers.{number}.bias": layer.bias}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], activations: Sequence[Activation]) -> "DensePolicy":
        """What `arrays` gave. Raises KeyError for a missing array, ValueError for one that does not fit."""
        layers = [
            DenseLayer(weight=arrays[f"layers.{n}.weight"], bias=arrays[f"layers.{n}.bias"], activation=activation)
            for n, activation in enumerate(activations)
        ]
        return cls(layers=tuple(layers), **{name: arrays[name] for name in _UNITS})

    def act(self, observations: Floats) -> Floats:
        """Actions (..., A) inside their bounds for observations (..., D), in float32 throughout."""
        x: Array = (observations - self.observation_mean) / self.observation_std
        for layer in self.layers:
            x = ACTIVATIONS[layer.activation](x @ layer.weight + layer.bias)
        actions: Floats = np.clip(x * self.action_scale + self.action_centre, self.action_low, self.action_high)
        return actions


assert tuple(ACTIVATIONS) == get_args(Activation)
