"""Networks that adapt by gradient descent, for N tasks side by side: the inner loop of MAML, with learned rates.

MAML: Finn, Abbeel and Levine, ICML 2017. Rates: Antoniou, Edwards and Storkey, ICLR 2019. Weights made from codes:
Mitchell et al. (MACAW), ICML 2021, section 4.3, which makes what one step can change of a layer richer.

Shapes: N tasks, B rows of each, I inputs and O outputs of a layer, W its weights and biases, C code.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Weights = Collection[Tensor]
"""(N, W) of every layer; of a Sequence the checker of shapes would draw random elements in tests"""


@dataclass(frozen=True, kw_only=True)
class LayerDescent:
    """Where gradient descent has brought one layer of N tasks. T itself is not formed: it changes by outer products."""

    code_NC: Float[Tensor, "N C"]
    gradients: Collection[Float[Tensor, "N W"]] = ()
    """of the weights, one of each step so far"""
    codes: Collection[Float[Tensor, "N C"]] = ()
    """before each step"""


class TransformedLayer(nn.Module):
    """A dense layer whose weights and biases w = T z + c are made from a code z (MACAW, section 4.3)."""

    def __init__(self, inputs: int, outputs: int, code: int, inner_lr: float) -> None:
        super().__init__()
        size = (inputs + 1) * outputs
        self.code = nn.Parameter(torch.randn(code) / outputs)
        self.transform = nn.Parameter(torch.empty(size, code).uniform_(-1, 1) / math.sqrt(code))
        self.offset = nn.Parameter(torch.empty(size).uniform_(-1, 1) / math.sqrt(inputs))
        self.raw_rates = nn.Parameter(torch.full((3,), math.log(inner_lr)))

    @property
    def rates(self) -> Float[Tensor, "3"]:
        """Inner learning rates of code, transformation and offset: softplus keeps them positive, as in the code."""
        return F.softplus(self.raw_rates)

    def start(self, tasks: int) -> LayerDescent:
        """Before the first step."""
        return LayerDescent(code_NC=self.code.expand(tasks, -1))

    def weights(self, at: LayerDescent) -> Float[Tensor, "N W"]:
        """T z + c, with T = T_0 - alpha_T sum over steps of g z^T and c = c_0 - alpha_c sum of g."""
        _, rate_transform, rate_offset = self.rates
        weights_NW = at.code_NC @ self.transform.T + self.offset
        for gradient_NW, code_NC in zip(at.gradients, at.codes, strict=True):
            along_N1 = (code_NC * at.code_NC).sum(-1, keepdim=True)
            weights_NW = weights_NW - (rate_transform * along_N1 + rate_offset) * gradient_NW
        return weights_NW

    def descend(self, at: LayerDescent, gradient_NW: Float[Tensor, "N W"]) -> LayerDescent:
        """One step on all three, by the gradient g of the weights: of z it is T^T g, of T g z^T, of c g."""
        rate_code, rate_transform, _ = self.rates
        slope_NC = gradient_NW @ self.transform
        for before_NW, code_NC in zip(at.gradients, at.codes, strict=True):
            slope_NC = slope_NC - rate_transform * (before_NW * gradient_NW).sum(-1, keepdim=True) * code_NC
        return LayerDescent(
            code_NC=at.code_NC - rate_code * slope_NC,
            gradients=[*at.gradients, gradient_NW],
            codes=[*at.codes, at.code_NC],
        )


def dense(weights_NW: Float[Tensor, "N W"], x_NBI: Float[Tensor, "N B I"]) -> Float[Tensor, "N B O"]:
    """Each task's rows through its own layer: W holds the weights (I, O), row by row, and the biases (O,)."""
    matrix_NIO, bias_NO = matrices(weights_NW, x_NBI.shape[-1])
    return torch.baddbmm(bias_NO[:, None], x_NBI, matrix_NIO)


def matrices(weights_NW: Any, inputs: int) -> tuple[Any, Any]:
    """The weights (N, I, O) and biases (N, O) of a layer of so many inputs; of tensors or of NumPy arrays, as views."""
    outputs = weights_NW.shape[-1] // (inputs + 1)
    return weights_NW[:, :-outputs].reshape(-1, inputs, outputs), weights_NW[:, -outputs:]


def mlp(weights: Weights, x_NBI: Float[Tensor, "N B I"]) -> Float[Tensor, "N B O"]:
    """Layers with ReLU between them."""
    *hidden, last = weights
    for weights_NW in hidden:
        x_NBI = dense(weights_NW, x_NBI).relu()
    return dense(last, x_NBI)


class AdaptiveNetwork(nn.Module):
    """The meta-parameters of layers from which N tasks descend side by side."""

    def __init__(self, sizes: Collection[tuple[int, int]], code: int, inner_lr: float) -> None:
        """`sizes` are inputs and outputs of each layer."""
        super().__init__()
        self._in_order = nn.ModuleList(TransformedLayer(i, o, code, inner_lr) for i, o in sizes)

    @property
    def layers(self) -> Collection[TransformedLayer]:
        """In the order of `sizes`."""
        return cast(list[TransformedLayer], list(self._in_order))

    def adapt(self, tasks: int, steps: int, loss: Callable[[Weights], Float[Tensor, "N"]], *, through: bool) -> Weights:
        """Weights of every layer after so many steps down the loss of each task.

        `through` keeps the gradients of the inner loop differentiable: meta-gradients are of second order.
        """
        descents = [layer.start(tasks) for layer in self.layers]
        for _ in range(steps):
            weights = list(self._weights(descents))
            gradients = torch.autograd.grad(loss(weights).sum(), weights, create_graph=through)
            moved = zip(self.layers, descents, gradients, strict=True)
            descents = [layer.descend(at, gradient_NW) for layer, at, gradient_NW in moved]
        return self._weights(descents)

    def _weights(self, descents: Collection[LayerDescent]) -> Weights:
        return [layer.weights(at) for layer, at in zip(self.layers, descents, strict=True)]
