"""The state of networks and optimisers as named tensors, as checkpoints hold it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def module_state(prefix: str, *modules: nn.Module) -> dict[str, Tensor]:
    """`<prefix><name>` of every parameter and buffer; modules under one prefix must not share names."""
    return {f"{prefix}{name}": value for module in modules for name, value in module.state_dict().items()}


def load_modules(state: Mapping[str, Tensor], prefix: str, *modules: nn.Module) -> None:
    """Take over what `module_state` gave. Raises KeyError for a missing tensor, ValueError for one too many."""
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    for module in modules:
        module.load_state_dict({name: found.pop(name) for name in module.state_dict()})
    if found:
        raise ValueError(f"{len(found)} tensors belong to no network, the first is {prefix}{next(iter(found))}")


def optimiser_state(prefix: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`<prefix><parameter>.<moment>` of every parameter that has been stepped."""
    return {
        f"{prefix}{index}.{key}": value
        for index, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }


def load_optimiser(state: Mapping[str, Tensor], prefix: str, optimiser: torch.optim.Optimizer) -> None:
    """Take over what `optimiser_state` gave.

    Raises ValueError where the parameters do not have the same moments, each of its parameter's shape or a scalar.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith(prefix):
            index, key = name.removeprefix(prefix).split(".")
            moments.setdefault(int(index), {})[key] = value
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, of_parameter in moments.items():
        if index >= len(parameters) or of_parameter.keys() != next(iter(moments.values())).keys():
            raise ValueError(f"parameter {index} of {prefix} has other moments than the first")
        for key, value in of_parameter.items():
            if value.shape not in (torch.Size(), parameters[index].shape):
                raise ValueError(f"{prefix}{index}.{key} has shape {tuple(value.shape)}")
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
