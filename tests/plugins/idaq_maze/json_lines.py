"""An importer: `.jsonl`, one episode a line, as some robots log them."""

import json
from pathlib import Path

import numpy as np

import idaq


class JsonLines:
    """Each line an object: observations (T + 1 rows), actions and rewards (T rows), success."""

    description = ".jsonl: an episode a line, with observations, actions, rewards and success"

    def accepts(self, source: str) -> bool:
        return source.endswith(".jsonl")

    def read(self, source: str, options: idaq.ReadOptions) -> idaq.Import:
        lines = [json.loads(line) for line in Path(source).read_text().splitlines()]
        episodes = [idaq.ImportedEpisode(episode=_episode(line), success=line.get("success")) for line in lines]
        return idaq.Import(tasks=[idaq.ImportedTask(name=Path(source).stem, episodes=episodes)], origin=source)


def _episode(line: dict[str, list[float]]) -> idaq.Episode:
    length = len(line["rewards"])
    return idaq.Episode(
        observations=np.array(line["observations"], np.float32),
        actions=np.array(line["actions"], np.float32),
        rewards=np.array(line["rewards"], np.float32),
        terminated=np.zeros(length, bool),
        truncated=np.arange(length) == length - 1,
    )
