"""idaq: multi-task offline datasets for learning to adapt, and agents that adapt from them.

from idaq.loader import open_dataset

dataset = open_dataset("idaq/point-robot/expert-v0")
train = dataset.select(split="train")
"""

__version__ = "0.1.0"
