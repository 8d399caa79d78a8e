"""Networks shared by algorithms. Shapes: E members, B rows, I inputs, O outputs."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class EnsembleMLP(nn.Module):
    """E independent ReLU MLPs evaluated as one batched matrix product a layer; E = 1 is a plain MLP."""

    def __init__(self, members: int, inputs: int, hidden: int, layers: int, outputs: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * layers, outputs]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for fan_in, fan_out in pairwise(sizes):
            bound = 1 / math.sqrt(fan_in)
            self.weights.append(nn.Parameter(torch.empty(members, fan_in, fan_out).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(members, 1, fan_out).uniform_(-bound, bound)))

    def forward(self, x_EBI: Float[Tensor, "E B I"], members: Int[Tensor, "E"] | None = None) -> Float[Tensor, "E B O"]:
        """By the members of these numbers; without them by the first ones, as many as there are stacked inputs."""
        used, last = slice(len(x_EBI)) if members is None else members, len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x_EBI = torch.baddbmm(bias[used], x_EBI, weight[used])
            if layer < last:
                x_EBI = x_EBI.relu_()
        return x_EBI


def mlp(inputs: int, hidden: int, layers: int, outputs: int) -> nn.Sequential:
    """A plain ReLU MLP with `layers` hidden layers."""
    sizes = [inputs, *[hidden] * layers]
    blocks: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        blocks += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*blocks, nn.Linear(sizes[-1], outputs))


@contextmanager
def weights_drawn_from(seed: int) -> Generator[None]:
    """Within this block torch draws from `seed`, on CPU; after it, from where it was before."""
    before = torch.get_rng_state()
    torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
    try:
        yield
    finally:
        torch.set_rng_state(before)
