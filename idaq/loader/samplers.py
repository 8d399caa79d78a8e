"""Samplers by name, as an algorithm's config names them. Each reads what it needs from that config."""

from collections.abc import Callable
from typing import Any, cast

from idaq.core.errors import ConfigError, PluginError
from idaq.core.outside import raised_as
from idaq.core.registry import Registry, check_members
from idaq.loader.dataset import Dataset
from idaq.loader.sampling import MetaBatches, Sampler, SupportQueryBatches
from idaq.loader.segments import SegmentBatches
from idaq.loader.streaming import StreamedBatches
from idaq.loader.trajectories import TrajectoryBatches

MakeSampler = Callable[[Dataset, Any], Sampler[Any]]
"""the tasks to learn from, the algorithm's config -> what to draw from them"""


def meta_batches(dataset: Dataset, config: Any) -> MetaBatches | StreamedBatches:
    """Reads `meta_batch`, `batch`, `context`, `seed`, and `pool`: above 0, from a pool of so many megabytes."""
    sizes = {"meta_batch": config.meta_batch, "batch": config.batch, "context": config.context, "seed": config.seed}
    if config.pool:
        return StreamedBatches(dataset, **sizes, memory=config.pool * 10**6)
    return MetaBatches(dataset.transitions(), **sizes)


def support_query(dataset: Dataset, config: Any) -> SupportQueryBatches:
    """Reads `meta_batch`, `support`, `query`, `discount` and `seed`."""
    _refuse_pool("support-query", config)
    return SupportQueryBatches(
        dataset.transitions(),
        meta_batch=config.meta_batch,
        support=config.support,
        query=config.query,
        discount=config.discount,
        seed=config.seed,
    )


def segments(dataset: Dataset, config: Any) -> SegmentBatches:
    """Reads `meta_batch`, `length`, `within`, `seed`, `pool`, and where they are there `columns`, `discount`, `every`.

    With a `pool` above 0, episodes are fetched as they are needed, and so many megabytes of them kept.
    """
    return SegmentBatches(
        dataset.transitions("fetch", memory=config.pool * 10**6) if config.pool else dataset.transitions(),
        meta_batch=config.meta_batch,
        length=config.length,
        within=config.within,
        seed=config.seed,
        columns=getattr(config, "columns", ()),
        discount=getattr(config, "discount", None),
        every=getattr(config, "every", 1),
    )


def trajectories(dataset: Dataset, config: Any) -> TrajectoryBatches:
    """Reads `meta_batch`, `episodes` and `seed`."""
    _refuse_pool("trajectories", config)
    return TrajectoryBatches(
        dataset.transitions(), meta_batch=config.meta_batch, episodes=config.episodes, seed=config.seed
    )


def _refuse_pool(name: str, config: Any) -> None:
    if config.pool:
        raise ConfigError(f"sampler {name!r} draws from all of the data, not from a pool", hint="--set pool=0")


def _accept(_name: str, thing: object) -> MakeSampler:
    if not callable(thing):
        raise TypeError(f"{thing!r} is not a function of a dataset and a config")
    return cast(MakeSampler, thing)


SAMPLERS: Registry[MakeSampler] = Registry(
    "sampler",
    "idaq.samplers",
    {
        "meta-batches": meta_batches,
        "support-query": support_query,
        "segments": segments,
        "trajectories": trajectories,
    },
    _accept,
)


def make_sampler(name: str, dataset: Dataset, config: Any) -> Sampler[Any]:
    """The sampler that a user or a built-in config has named.

    Raises PluginError where the config lacks a setting, where making it fails, or where what is made is no sampler.
    """
    make = SAMPLERS.get(name)
    with raised_as(PluginError, f"making the sampler {name!r}"):
        try:
            sampler = make(dataset, config)
        except AttributeError as error:
            if error.obj is not config:
                raise
            said = f"sampler {name!r} reads the setting {error.name!r}, which {type(config).__name__} does not have"
            raise PluginError(said, hint="name another sampler, or give the algorithm's config that setting") from None
    check_members(Sampler, sampler, f"sampler {name!r}")
    return sampler
