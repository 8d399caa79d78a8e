"""idaq: multi-task offline datasets for learning to adapt, and agents that adapt from them.

import idaq

dataset = idaq.open_dataset("idaq/point-robot/expert-v0")
train = dataset.select(split="train")

Each name of this public face is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from idaq.adapt.adapt import adapt as adapt
    from idaq.collect.collect import collect as collect
    from idaq.core.errors import CheckpointError as CheckpointError
    from idaq.core.errors import CollectError as CollectError
    from idaq.core.errors import ConfigError as ConfigError
    from idaq.core.errors import CorruptDatasetError as CorruptDatasetError
    from idaq.core.errors import DatasetError as DatasetError
    from idaq.core.errors import DatasetExistsError as DatasetExistsError
    from idaq.core.errors import DatasetLockedError as DatasetLockedError
    from idaq.core.errors import DatasetNotFoundError as DatasetNotFoundError
    from idaq.core.errors import DatasetReplacedError as DatasetReplacedError
    from idaq.core.errors import DiskError as DiskError
    from idaq.core.errors import FormatVersionError as FormatVersionError
    from idaq.core.errors import IdaqError as IdaqError
    from idaq.core.errors import MissingExtraError as MissingExtraError
    from idaq.core.errors import NonFiniteError as NonFiniteError
    from idaq.core.errors import PluginError as PluginError
    from idaq.core.errors import PolicyError as PolicyError
    from idaq.core.errors import RunError as RunError
    from idaq.core.errors import ShareError as ShareError
    from idaq.core.errors import TransferError as TransferError
    from idaq.core.errors import UnknownNameError as UnknownNameError
    from idaq.core.errors import UsageError as UsageError
    from idaq.core.policy import Policy as Policy
    from idaq.core.types import Task as Task
    from idaq.learn.checkpoint import load_agent as load_agent
    from idaq.learn.loop import train as train
    from idaq.loader.dataset import open_dataset as open_dataset
    from idaq.tasks.family import Family as Family

_FACE = {
    "open_dataset": "idaq.loader.dataset",
    "collect": "idaq.collect",
    "train": "idaq.learn.loop",
    "load_agent": "idaq.learn.checkpoint",
    "adapt": "idaq.adapt",
    "Family": "idaq.tasks.family",
    "Task": "idaq.core.types",
    "Policy": "idaq.core.policy",
    "IdaqError": "idaq.core.errors",
    "UsageError": "idaq.core.errors",
    "ConfigError": "idaq.core.errors",
    "UnknownNameError": "idaq.core.errors",
    "PluginError": "idaq.core.errors",
    "MissingExtraError": "idaq.core.errors",
    "DatasetError": "idaq.core.errors",
    "DatasetNotFoundError": "idaq.core.errors",
    "DatasetExistsError": "idaq.core.errors",
    "DatasetLockedError": "idaq.core.errors",
    "DatasetReplacedError": "idaq.core.errors",
    "FormatVersionError": "idaq.core.errors",
    "CorruptDatasetError": "idaq.core.errors",
    "CollectError": "idaq.core.errors",
    "PolicyError": "idaq.core.errors",
    "ShareError": "idaq.core.errors",
    "TransferError": "idaq.core.errors",
    "DiskError": "idaq.core.errors",
    "RunError": "idaq.core.errors",
    "CheckpointError": "idaq.core.errors",
    "NonFiniteError": "idaq.core.errors",
}
"""where each public name is; `collect` and `adapt` are packages that can be called"""

__all__ = [*_FACE]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name. Raises MissingExtraError where its libraries are not installed."""
    if name not in _FACE:
        raise AttributeError(f"module 'idaq' has no attribute {name!r}")
    from importlib import import_module

    from idaq.core.extras import naming_extras

    with naming_extras():
        module = import_module(_FACE[name])
    return module if module.__name__ == f"idaq.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
