"""Runs the policy of this folder with PyTorch: weights.safetensors, no pickle.

import run_torch

policy = run_torch.load()                   # or load("path/of/the/folder", device="cuda")
action = policy(observation)                # (D,) -> (A,), or rows (N, D) -> (N, A)
policy.network                              # the same as an nn.Module, from tensors to tensors

python run_torch.py "[0.1, 0.2]"            # prints the action of one observation
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

ACTIVATIONS = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": torch.nn.functional.elu,
}


class Network(torch.nn.Module):
    """From observations (..., D) to actions (..., A), float32 tensors."""

    def __init__(self, weights, activations):
        super().__init__()
        self.activations = activations
        for name, tensor in weights.items():
            self.register_buffer(name.replace(".", "_"), tensor)

    def forward(self, observations):
        x = (observations - self.get_buffer("observation_mean")) / self.get_buffer("observation_std")
        for number, activation in enumerate(self.activations):
            x = x @ self.get_buffer(f"layers_{number}_weight") + self.get_buffer(f"layers_{number}_bias")
            x = ACTIVATIONS[activation](x)
        x = x * self.get_buffer("action_scale") + self.get_buffer("action_centre")
        return torch.minimum(torch.maximum(x, self.get_buffer("action_low")), self.get_buffer("action_high"))


def load_network(folder=Path(__file__).parent):
    """The policy as an nn.Module."""
    document = json.loads((Path(folder) / "policy.json").read_text(encoding="utf-8"))
    return Network(load_file(Path(folder) / "weights.safetensors"), document["activations"]).eval()


def load(folder=Path(__file__).parent, device="cpu"):
    """The policy as a function of an observation (D,) or of rows (N, D). ValueError for other sizes and for NaN."""
    network = load_network(folder).to(device)
    shape = network.get_buffer("observation_mean").shape

    @torch.no_grad()
    def policy(observation):
        x = torch.as_tensor(observation, dtype=torch.float32, device=device)
        if x.shape[-1:] != shape or not x.isfinite().all():
            raise ValueError(f"{shape.numel()} finite numbers are an observation, got {x}")
        return network(x).cpu().numpy()

    return policy


if __name__ == "__main__":
    print(json.dumps(load()(json.loads(sys.argv[1])).tolist()))
