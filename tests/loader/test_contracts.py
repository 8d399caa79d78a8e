"""Our samplers pass the exported suite: from a table in RAM or mapped, and from a pool that is renewed."""

from typing import Any, Literal

import pytest

from idaq.loader import Dataset, MetaBatches, Sampler, SegmentBatches, StreamedBatches, SupportQueryBatches
from idaq.loader.dataset import Where
from idaq.loader.segments import Within
from idaq.testing import SamplerContract

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


@pytest.mark.parametrize("where", ["map", "ram", "fetch"])
@pytest.mark.parametrize("within", ["episode", "task"])
class TestSegmentBatches(SamplerContract):
    @pytest.fixture(autouse=True)
    def told(self, within: Within, where: Where) -> None:
        self.within: Within = within
        self.where: Where = where

    def sampler(self, dataset: Dataset, seed: int) -> Sampler[Any]:
        return SegmentBatches(dataset.transitions(self.where), meta_batch=5, length=6, within=self.within, seed=seed)
