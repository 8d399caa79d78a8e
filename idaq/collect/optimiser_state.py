"""An optimiser's state as named tensors, for checkpoints without pickles."""

import torch

from idaq.collect.policy_record import Tensors


def optimiser_tensors(optimiser: torch.optim.Optimizer, name: str) -> Tensors:
    """`optimiser.NAME.INDEX.FIELD` -> what it keeps of each parameter."""
    state = optimiser.state_dict()["state"]
    return {
        f"optimiser.{name}.{index}.{field}": value.numpy()
        for index, fields in state.items()
        for field, value in fields.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, name: str, tensors: Tensors) -> None:
    """Go on from what `optimiser_tensors` gave."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"optimiser.{name}."):
            index, field = key.removeprefix(f"optimiser.{name}.").split(".")
            state.setdefault(int(index), {})[field] = torch.from_numpy(value)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
