"""dataset -> tasks, episodes, transitions, contexts. The only way trainers and adapters see a dataset.

from idaq.loader import open_dataset

train = open_dataset("idaq/point-robot/expert-v0").select(split="train")
table = train.transitions()                      # memory-mapped or in RAM, by size
batches = MetaBatches(table, meta_batch=16, batch=64, context=100, seed=0)
batch = batches.at(0)                            # a pure function of (seed, step)
"""

from idaq.loader.dataset import Dataset, open_dataset
from idaq.loader.sampling import MetaBatch, MetaBatches
from idaq.loader.table import Statistics, TransitionTable
from idaq.loader.transitions import Transitions

__all__ = ["Dataset", "MetaBatch", "MetaBatches", "Statistics", "TransitionTable", "Transitions", "open_dataset"]
