"""Our samplers pass the exported suite: from a table in RAM or mapped, and from a pool that is renewed."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from idaq.format.episodes import EpisodeStore
from idaq.format.reader import open_stored
from idaq.format.zarr.transfer import export_zarr
from idaq.loader import (
    Dataset,
    MetaBatches,
    Sampler,
    SegmentBatches,
    StreamedBatches,
    SupportQueryBatches,
    open_dataset,
)
from idaq.loader.dataset import Where
from idaq.loader.segments import Within
from idaq.loader.trajectories import TrajectoryBatches
from idaq.testing import SamplerContract, SegmentContract
from idaq.testing.samplers import CountedReads

SIZES = {"meta_batch": 5, "batch": 7, "context": 3}


@pytest.mark.parametrize("where", ["map", "ram"])
class TestMetaBatches(SamplerContract):
    @pytest.fixture(autouse=True)
    def told(self, where: Literal["map", "ram"]) -> None:
        self.where = where

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        return MetaBatches(dataset.transitions(self.where), **SIZES, seed=seed)


@pytest.mark.parametrize("memory", [15_300, 10**6])
class TestStreamedBatches(SamplerContract):
    """With memory for a part of the episodes, and for all."""

    @pytest.fixture(autouse=True)
    def bounded(self, memory: int) -> None:
        self.memory = memory

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        return StreamedBatches(dataset, **SIZES, seed=seed, memory=self.memory)


class TestSupportQueryBatches(SamplerContract):
    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        return SupportQueryBatches(dataset.transitions(), meta_batch=5, support=4, query=3, discount=0.9, seed=seed)


@pytest.mark.parametrize("where", ["map", "ram", "fetch", "zarr"])
class TestSegmentBatches(SegmentContract):
    @pytest.fixture(autouse=True)
    def told(self, where: str, tmp_path: Path) -> None:
        self.where, self.scratch = where, tmp_path

    def segments(self, dataset: Dataset, seed: int, within: Within, columns: tuple[str, ...]) -> SegmentBatches:
        where: Where = "map" if self.where == "map" else "ram" if self.where == "ram" else "fetch"
        if self.where == "zarr":
            dataset = replace(dataset, store=self.far(dataset), mapped=False, streamed=True)
        table = dataset.transitions(where)
        return SegmentBatches(table, meta_batch=5, length=6, within=within, seed=seed, columns=columns, discount=0.9)

    def far(self, dataset: Dataset) -> EpisodeStore:
        """A Zarr form of the dataset, read as it is asked for; what is asked of the dataset's own store is counted."""
        url = self.scratch / "far.zarr"
        if not url.exists():
            export_zarr(open_stored(Path(dataset.path)), str(url))
        far = open_dataset(url).store
        return replace(dataset.store, store=far) if isinstance(dataset.store, CountedReads) else far


@pytest.mark.parametrize("where", ["map", "ram"])
class TestTrajectoryBatches(SamplerContract):
    @pytest.fixture(autouse=True)
    def told(self, where: Literal["map", "ram"]) -> None:
        self.where = where

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        return TrajectoryBatches(dataset.transitions(self.where), meta_batch=5, episodes=2, seed=seed)
