"""Open datasets as what other libraries train from, in memory; each library is imported when it is used.

| function | gives | of |
|---|---|---|
| `to_torch_dataset` | a map-style Dataset of transitions, mapped or in RAM | PyTorch |
| `to_tensordict`, `to_torchrl` | a TensorDict of all transitions, a replay buffer of them | TorchRL |
| `torchrl_source` | the same by `load_dataset("idaq:<id>")` | TorchRL |
| `to_d3rlpy` | an MDPDataset of episodes, with continuous or discrete actions | d3rlpy |
| `to_amago` | an RLDataset of trajectories: an episode, or several of one task in a row | AMAGO |
| `to_jax`, `to_flashbax` | arrays of all transitions, an item buffer of them | JAX, Flashbax |

All take a `Dataset`, so `select(split="train", behaviour=...)` comes first, and all columns come along: of a Dict its
parts, and extra columns. Where a framework has a say in dtypes, floats are cast to float32, as it learns from them;
`floats=None` keeps the dataset's own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idaq.share.frameworks.amago import to_amago as to_amago
    from idaq.share.frameworks.d3rlpy import to_d3rlpy as to_d3rlpy
    from idaq.share.frameworks.jax import to_flashbax as to_flashbax
    from idaq.share.frameworks.jax import to_jax as to_jax
    from idaq.share.frameworks.torch_data import TransitionDataset as TransitionDataset
    from idaq.share.frameworks.torch_data import to_torch_dataset as to_torch_dataset
    from idaq.share.frameworks.torchrl import to_tensordict as to_tensordict
    from idaq.share.frameworks.torchrl import to_torchrl as to_torchrl
    from idaq.share.frameworks.torchrl import torchrl_source as torchrl_source

_MODULES = {
    "to_amago": "amago",
    "to_d3rlpy": "d3rlpy",
    "to_flashbax": "jax",
    "to_jax": "jax",
    "TransitionDataset": "torch_data",
    "to_torch_dataset": "torch_data",
    "to_tensordict": "torchrl",
    "to_torchrl": "torchrl",
    "torchrl_source": "torchrl",
}

__all__ = [*_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a function when it is first used: those without torch must not need it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from idaq.core.extras import naming_extras

    with naming_extras():
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
