"""Our samplers pass the exported suite: from a table in RAM or mapped, and from a pool that is renewed."""

from typing import Literal

import pytest

from idaq.loader import Dataset, MetaBatches, StreamedBatches
from idaq.testing import SamplerContract

SIZES = {"meta_batch": 5, "batch": 7, "context": 3}


class TestMapped(SamplerContract):
    where: Literal["map", "ram"] = "map"

    def sampler(self, dataset: Dataset, seed: int) -> MetaBatches:
        return MetaBatches(dataset.transitions(self.where), **SIZES, seed=seed)


class TestInRam(TestMapped):
    where = "ram"


@pytest.mark.parametrize("memory", [15_300, 10**6])
class TestStreamed(SamplerContract):
    """With memory for a part of the episodes, and for all."""

    @pytest.fixture(autouse=True)
    def bounded(self, memory: int) -> None:
        self.memory = memory

    def sampler(self, dataset: Dataset, seed: int) -> StreamedBatches:
        return StreamedBatches(dataset, **SIZES, seed=seed, memory=self.memory)
