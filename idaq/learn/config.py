"""What every algorithm's settings have in common, and the registry of algorithms. No torch here.

An algorithm is named by its config: a frozen dataclass that extends `TrainConfig` with the algorithm's own settings,
and creates the algorithm. One flat definition serves code, TOML, `--set a.b=1` and the JSON Schema.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from idaq.core.config import config, from_mapping, merge
from idaq.core.registry import Registry, check_document
from idaq.core.splits import SplitNames
from idaq.core.types import AtLeastOne
from idaq.loader.flat import DiscreteAs, FlatView

if TYPE_CHECKING:
    from idaq.learn.algorithm import Algorithm

Width = Annotated[int, Field(ge=1, le=2**14)]
Depth = Annotated[int, Field(ge=1, le=64)]
Rate = Annotated[float, Field(gt=0)]
DEFAULT_ALGORITHM = "focal-td3bc"


@config
class AgentSpec:
    """Sizes, units and normalisation of a dataset, as an agent needs them. D observation, A action."""

    observation_mean: list[float]
    """D"""
    observation_std: list[float]
    """D, each > 0"""
    change_std: list[float]
    """D standard deviations of s' - s, each > 0"""
    reward_mean: float
    reward_std: Rate
    action_centre: list[float]
    """A"""
    action_scale: list[float]
    """A half-widths of the action space, each > 0"""
    view: FlatView | None = None
    """how observations and actions stand as these numbers; None: one array of numbers each, as they are"""

    @property
    def observation_size(self) -> int:
        """D"""
        return len(self.observation_mean)

    @property
    def action_size(self) -> int:
        """A"""
        return len(self.action_centre)


@config
class ValidationConfig:
    """Whether the agent adapts to tasks put aside as it learns, which decides when it stops and what the run gives."""

    every: Annotated[int, Field(ge=0)] = 0
    """training steps between two validations; 0 = none"""
    patience: Annotated[int, Field(ge=0)] = 0
    """training stops after this many validations in a row without a new best; 0 = never"""
    split: SplitNames = "val"
    """its tasks: neither those learned from nor those reported on"""
    strategy: str = "best-of-prior"
    """what adapts; with the settings of the dataset's recipe"""
    episodes: AtLeastOne = 10
    """adaptation episodes on each task, before one fresh episode is scored"""

    @model_validator(mode="after")
    def _patience_is_with_validations(self) -> "ValidationConfig":
        if self.patience and not self.every:
            raise ValueError("patience counts validations: set validation.every too")
        return self


@config
class TrainConfig(ABC):
    """What the loop needs to know of a training run beside its dataset. Each algorithm's config extends it."""

    algorithm: str
    """its name: built in, installed, or `package.module:Config`"""
    sampler: str
    """which batches it learns from: the name of a sampler"""
    steps: AtLeastOne = 4000
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    split: SplitNames = "train"
    """tasks to learn from: those of a split, or of several joined by `+`"""
    pool: Annotated[int, Field(ge=0)] = 0
    """megabytes for episodes in memory, renewed as training goes on, for data larger than memory; 0 = all of it"""
    discrete: DiscreteAs = "one-hot"
    """how values of Discrete and MultiDiscrete spaces become numbers: 0 and 1 for each, or the value itself"""
    prior_context: Annotated[int, Field(ge=2)] = 400
    """transitions behind each training task's belief in the prior"""
    checkpoint_every: AtLeastOne = 1000
    log_every: AtLeastOne = 100
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 = OMP_NUM_THREADS, or without it the cores this process may use, at most 8"""
    validation: ValidationConfig = Field(default_factory=ValidationConfig)

    @abstractmethod
    def create(self, spec: AgentSpec, device: str) -> "Algorithm":
        """The algorithm, its weights drawn from `seed`. Imports what it learns with."""


def _accept(name: str, thing: object) -> type[TrainConfig]:
    if not (isinstance(thing, type) and issubclass(thing, TrainConfig)):
        raise TypeError(f"{thing!r} is not a class that extends idaq.learn.config.TrainConfig")
    if lacking := sorted(thing.__abstractmethods__):
        raise TypeError(f"it does not define {', '.join(lacking)}")
    return thing


_HERE = "idaq.learn.algorithms"
ALGORITHMS: Registry[type[TrainConfig]] = Registry(
    "algorithm",
    "idaq.algorithms",
    {
        "ad": f"{_HERE}.ad_config:AdConfig",
        "borel": f"{_HERE}.borel_config:BorelConfig",
        "dpt": f"{_HERE}.dpt_config:DptConfig",
        "focal-bc": f"{_HERE}.focal_config:FocalBcConfig",
        "focal-iql": f"{_HERE}.focal_config:FocalIqlConfig",
        "focal-td3bc": f"{_HERE}.focal_config:FocalTd3BcConfig",
        "macaw": f"{_HERE}.macaw_config:MacawConfig",
    },
    _accept,
)


def training_config(
    settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None, *, allow: Collection[str] = ()
) -> TrainConfig:
    """The config of the algorithm that `settings` name, else `defaults`, else focal-td3bc.

    `settings` are the user's. `defaults` come from a document, such as a dataset's recipe: they are no reason to import
    anything, so a `package.module:thing` in them must be among `allow`. Of another algorithm's, those hold that all
    algorithms have. Raises PluginError, UnknownNameError, ConfigError.
    """
    from_document = dict(defaults or {})
    check_document(from_document, "the training settings", allow)
    name = str(settings.get("algorithm", algorithm_of(from_document)))
    merged = merge(settings_for(name, from_document), {**settings, "algorithm": name})
    return from_mapping(ALGORITHMS.get(name), merged, where="training settings")


def settings_for(algorithm: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document's training settings say to an algorithm: all to their own, to any other the fields of
    `TrainConfig`, but for the sampler, which an algorithm chooses."""
    if algorithm == algorithm_of(document):
        return dict(document)
    common = {field.name for field in fields(TrainConfig)} - {"algorithm", "sampler"}
    return {name: value for name, value in document.items() if name in common}


def algorithm_of(settings: Mapping[str, Any]) -> str:
    """The algorithm whose settings these are."""
    return str(settings.get("algorithm", DEFAULT_ALGORITHM))
