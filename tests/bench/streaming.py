"""What the Zarr benchmarks run in a process of its own: python -m tests.bench.streaming MODE URL STEPS MEGABYTES LIMIT

Prints peak and final memory in MB as JSON. `sample` draws batches, `train` trains on them, with MEGABYTES = 0 on the
table of all transitions. LIMIT, unless 0, is the process's RLIMIT_DATA in MB: heap and private mappings, not the text
of libraries. `serve` serves the folder URL over HTTP for STEPS seconds, and prints where.
"""

import json
import resource
import sys
import time
from pathlib import Path

from idaq.loader import MetaBatches, StreamedBatches, open_dataset
from tests.serving import http_server

SHAPE = {"meta_batch": 16, "batch": 64, "context": 100, "seed": 0}


def memory_now() -> dict[str, float]:
    """MB: largest and present resident set, heap and private mappings."""
    lines = [line.split(":") for line in Path("/proc/self/status").read_text().splitlines()]
    kilobytes = {name: int(value.split()[0]) for name, value in lines if name in ("VmHWM", "VmRSS", "VmData")}
    return {name: value / 1024 for name, value in kilobytes.items()}


def sample(url: str, steps: int, megabytes: int) -> None:
    batches = StreamedBatches(open_dataset(url), **SHAPE, memory=megabytes * 2**20, refresh=2)
    for step in range(steps):
        batches.at(step)


def train(url: str, steps: int, megabytes: int) -> None:
    """With `megabytes` = 0 from the table of all transitions."""
    import torch

    from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
    from idaq.learn.loop import agent_spec, training_step

    torch.set_num_threads(1)
    dataset = open_dataset(url)
    if megabytes:
        batches = StreamedBatches(dataset, **SHAPE, memory=megabytes * 2**20, refresh=2)
    else:
        batches = MetaBatches(dataset.transitions("ram"), **SHAPE)
    algorithm = FocalTd3BcConfig(steps=steps).create(agent_spec(dataset, batches.statistics()), "cpu")
    for step in range(steps):
        training_step(algorithm, batches, 0, step)


def main() -> None:
    mode, url, steps, megabytes, limit = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    if mode == "serve":
        with http_server(Path(url)) as served:
            print(served, flush=True)
            time.sleep(steps)
        return
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit * 2**20, limit * 2**20))
    {"sample": sample, "train": train}[mode](url, steps, megabytes)
    print(json.dumps(memory_now()))


if __name__ == "__main__":
    main()
