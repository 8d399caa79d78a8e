"""dataset -> tasks, episodes, transitions, contexts. The only way trainers and adapters see a dataset.

from idaq.loader import open_dataset

train = open_dataset("idaq/point-robot/expert-v0").select(split="train")
table = train.transitions()                      # memory-mapped or in RAM, by size
batches = MetaBatches(table, meta_batch=16, batch=64, context=100, seed=0)
batch = batches.at(0)                            # a pure function of (seed, step)

far = open_dataset("s3://bucket/push.zarr")      # a Zarr form: fetched when asked for, for sets larger than memory
batches = StreamedBatches(far, meta_batch=16, batch=64, context=100, seed=0, memory=2**30)
"""

from idaq.loader.dataset import Dataset, open_dataset
from idaq.loader.sampling import (
    MetaBatch,
    MetaBatches,
    Sampler,
    SupportQueryBatch,
    SupportQueryBatches,
)
from idaq.loader.segments import SegmentBatch, SegmentBatches
from idaq.loader.streaming import StreamedBatches
from idaq.loader.table import Statistics, TransitionTable
from idaq.loader.transitions import Transitions

__all__ = [
    "Dataset",
    "MetaBatch",
    "MetaBatches",
    "Sampler",
    "SegmentBatch",
    "SegmentBatches",
    "Statistics",
    "StreamedBatches",
    "SupportQueryBatch",
    "SupportQueryBatches",
    "TransitionTable",
    "Transitions",
    "open_dataset",
]
