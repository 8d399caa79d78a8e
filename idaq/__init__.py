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
    from idaq.adapt.history import AdaptationHistory as AdaptationHistory
    from idaq.adapt.lockstep import EpisodeBatch as EpisodeBatch
    from idaq.adapt.policy import RandomPolicy as RandomPolicy
    from idaq.adapt.session import Session as Session
    from idaq.adapt.strategy import AdaptPlan as AdaptPlan
    from idaq.adapt.strategy import Strategy as Strategy
    from idaq.adapt.strategy import adaptation_plan as adaptation_plan
    from idaq.adapt.system import SystemPolicy as SystemPolicy
    from idaq.adapt.validation import validator as validator
    from idaq.catalogue.entries import catalogue_recipe as catalogue_recipe
    from idaq.catalogue.entries import load_recipe as load_recipe
    from idaq.collect.collect import collect as collect
    from idaq.collect.record import record as record
    from idaq.core.config import config as config
    from idaq.core.errors import CheckpointError as CheckpointError
    from idaq.core.errors import CollectError as CollectError
    from idaq.core.errors import ConfigError as ConfigError
    from idaq.core.errors import CorruptDatasetError as CorruptDatasetError
    from idaq.core.errors import DatasetError as DatasetError
    from idaq.core.errors import DatasetExistsError as DatasetExistsError
    from idaq.core.errors import DatasetLockedError as DatasetLockedError
    from idaq.core.errors import DatasetNotFoundError as DatasetNotFoundError
    from idaq.core.errors import DatasetReplacedError as DatasetReplacedError
    from idaq.core.errors import DeployError as DeployError
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
    from idaq.core.seeds import generator as generator
    from idaq.core.types import Episode as Episode
    from idaq.core.types import Success as Success
    from idaq.core.types import Task as Task
    from idaq.deploy.read import SavedPolicy as SavedPolicy
    from idaq.deploy.read import read_policy as read_policy
    from idaq.deploy.save import save_policy as save_policy
    from idaq.format.additions import write_episodes as write_episodes
    from idaq.format.importing import Import as Import
    from idaq.format.importing import ImportedEpisode as ImportedEpisode
    from idaq.format.importing import ImportedTask as ImportedTask
    from idaq.format.recipe import Recipe as Recipe
    from idaq.hub.lookup import look_up as look_up
    from idaq.hub.lookup import open_remote as open_remote
    from idaq.hub.pull import pull as pull
    from idaq.hub.push import push as push
    from idaq.hub.remote import Remote as Remote
    from idaq.hub.tasks import pull_tasks as pull_tasks
    from idaq.learn.algorithm import Agent as Agent
    from idaq.learn.algorithm import Algorithm as Algorithm
    from idaq.learn.algorithm import BeliefPolicy as BeliefPolicy
    from idaq.learn.algorithm import EpisodicAgent as EpisodicAgent
    from idaq.learn.algorithm import ExportingAgent as ExportingAgent
    from idaq.learn.algorithm import Prior as Prior
    from idaq.learn.algorithm import SamplingAgent as SamplingAgent
    from idaq.learn.checkpoint import load_agent as load_agent
    from idaq.learn.config import AgentSpec as AgentSpec
    from idaq.learn.config import TrainConfig as TrainConfig
    from idaq.learn.config import training_config as training_config
    from idaq.learn.cross_returns import CrossReturns as CrossReturns
    from idaq.learn.dense import DenseLayer as DenseLayer
    from idaq.learn.dense import DensePolicy as DensePolicy
    from idaq.learn.latent.algorithm import LatentAlgorithm as LatentAlgorithm
    from idaq.learn.latent.config import LatentConfig as LatentConfig
    from idaq.learn.latent.encoder import Encoded as Encoded
    from idaq.learn.latent.encoder import Objective as Objective
    from idaq.learn.loggers import MetricLogger as MetricLogger
    from idaq.learn.loop import train as train
    from idaq.learn.state import load_modules as load_modules
    from idaq.learn.state import load_optimiser as load_optimiser
    from idaq.learn.state import module_state as module_state
    from idaq.learn.state import optimiser_state as optimiser_state
    from idaq.learn.units import Units as Units
    from idaq.loader.contexts import Experience as Experience
    from idaq.loader.dataset import Dataset as Dataset
    from idaq.loader.dataset import open_dataset as open_dataset
    from idaq.loader.sampling import MetaBatch as MetaBatch
    from idaq.loader.sampling import Sampler as Sampler
    from idaq.loader.sampling import SupportQueryBatch as SupportQueryBatch
    from idaq.loader.segments import SegmentBatch as SegmentBatch
    from idaq.loader.transitions import Transitions as Transitions
    from idaq.share.appending import append_episodes as append_episodes
    from idaq.share.exporters import Exporter as Exporter
    from idaq.share.exporters import export as export
    from idaq.share.exporting import each_episode as each_episode
    from idaq.share.exporting import new_file as new_file
    from idaq.share.exporting import new_folder as new_folder
    from idaq.share.importers import Importer as Importer
    from idaq.share.importers import ReadOptions as ReadOptions
    from idaq.share.importers import import_dataset as import_dataset
    from idaq.tasks.family import Family as Family
    from idaq.tasks.systems import make_env as make_env
    from idaq.tasks.systems import run_episode as run_episode

_FACE = {
    "open_dataset": "idaq.loader.dataset",
    "Dataset": "idaq.loader.dataset",
    "Transitions": "idaq.loader.transitions",
    "Sampler": "idaq.loader.sampling",
    "MetaBatch": "idaq.loader.sampling",
    "SupportQueryBatch": "idaq.loader.sampling",
    "SegmentBatch": "idaq.loader.segments",
    "collect": "idaq.collect",
    "catalogue_recipe": "idaq.catalogue.entries",
    "load_recipe": "idaq.catalogue.entries",
    "Recipe": "idaq.format.recipe",
    "Family": "idaq.tasks.family",
    "Task": "idaq.core.types",
    "Success": "idaq.core.types",
    "Episode": "idaq.core.types",
    "Policy": "idaq.core.policy",
    "config": "idaq.core.config",
    "generator": "idaq.core.seeds",
    "train": "idaq.learn.loop",
    "validator": "idaq.adapt.validation",
    "MetricLogger": "idaq.learn.loggers",
    "load_agent": "idaq.learn.checkpoint",
    "TrainConfig": "idaq.learn.config",
    "AgentSpec": "idaq.learn.config",
    "training_config": "idaq.learn.config",
    "Algorithm": "idaq.learn.algorithm",
    "Agent": "idaq.learn.algorithm",
    "Prior": "idaq.learn.algorithm",
    "BeliefPolicy": "idaq.learn.algorithm",
    "EpisodicAgent": "idaq.learn.algorithm",
    "SamplingAgent": "idaq.learn.algorithm",
    "Experience": "idaq.loader.contexts",
    "LatentConfig": "idaq.learn.latent.config",
    "LatentAlgorithm": "idaq.learn.latent.algorithm",
    "Objective": "idaq.learn.latent.encoder",
    "Encoded": "idaq.learn.latent.encoder",
    "ExportingAgent": "idaq.learn.algorithm",
    "DensePolicy": "idaq.learn.dense",
    "DenseLayer": "idaq.learn.dense",
    "Units": "idaq.learn.units",
    "module_state": "idaq.learn.state",
    "load_modules": "idaq.learn.state",
    "optimiser_state": "idaq.learn.state",
    "load_optimiser": "idaq.learn.state",
    "adapt": "idaq.adapt",
    "Session": "idaq.adapt.session",
    "SystemPolicy": "idaq.adapt.system",
    "make_env": "idaq.tasks.systems",
    "run_episode": "idaq.tasks.systems",
    "Strategy": "idaq.adapt.strategy",
    "adaptation_plan": "idaq.adapt.strategy",
    "AdaptPlan": "idaq.adapt.strategy",
    "AdaptationHistory": "idaq.adapt.history",
    "CrossReturns": "idaq.learn.cross_returns",
    "EpisodeBatch": "idaq.adapt.lockstep",
    "RandomPolicy": "idaq.adapt.policy",
    "record": "idaq.collect.record",
    "write_episodes": "idaq.format.additions",
    "Import": "idaq.format.importing",
    "ImportedTask": "idaq.format.importing",
    "ImportedEpisode": "idaq.format.importing",
    "save_policy": "idaq.deploy.save",
    "read_policy": "idaq.deploy.read",
    "SavedPolicy": "idaq.deploy.read",
    "Importer": "idaq.share.importers",
    "ReadOptions": "idaq.share.importers",
    "import_dataset": "idaq.share.importers",
    "append_episodes": "idaq.share.appending",
    "Exporter": "idaq.share.exporters",
    "export": "idaq.share.exporters",
    "each_episode": "idaq.share.exporting",
    "new_file": "idaq.share.exporting",
    "new_folder": "idaq.share.exporting",
    "Remote": "idaq.hub.remote",
    "open_remote": "idaq.hub.lookup",
    "look_up": "idaq.hub.lookup",
    "push": "idaq.hub.push",
    "pull": "idaq.hub.pull",
    "pull_tasks": "idaq.hub.tasks",
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
    "DeployError": "idaq.core.errors",
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
