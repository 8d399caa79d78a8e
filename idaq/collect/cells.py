"""A cell = all episodes of one behaviour on one task: collected by one worker, kept as one shard, noted in the journal.

A shard appears whole or not at all: temporary file -> fsync -> rename -> journal line. Shards are NumPy archives
without pickles; they live only until the dataset is written.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idaq.collect.rollout import rollout
from idaq.core.digest import COLUMNS
from idaq.core.errors import CollectError
from idaq.core.files import write_bytes
from idaq.core.machine import open_flags
from idaq.core.seeds import episode_seed
from idaq.core.types import Episode
from idaq.format.recipe import Behaviour, Recipe
from idaq.tasks import get_family

JOURNAL = "journal.jsonl"
_UNSTABLE = 0.1  # a cell that loses more of its episodes says something is wrong


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What to collect. `behaviour_index` = len(recipe.behaviours) is the random reference."""

    task_index: int
    behaviour_index: int

    @property
    def shard(self) -> str:
        return f"task{self.task_index:05d}-behaviour{self.behaviour_index:02d}.npz"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A collected cell."""

    episodes: list[Episode]
    seeds: list[int]
    successes: list[bool]


def behaviours_of(recipe: Recipe) -> list[Behaviour]:
    """The recipe's behaviours and, last, the random policy that is only measured."""
    random = Behaviour(
        name="random-reference", kind="random", quality="random", episodes=recipe.reference.random_episodes
    )
    return [*recipe.behaviours, random]


def collect_cell(recipe: Recipe, cell: Cell, folder: Path) -> int:
    """Collect a cell, write its shard, note it in the journal; returns the number of episodes."""
    behaviour = behaviours_of(recipe)[cell.behaviour_index]
    seeds = [episode_seed(recipe.seed, cell.task_index, cell.behaviour_index, e) for e in range(behaviour.episodes)]
    episodes, successes, kept = rollout(
        get_family(recipe.family), behaviour, np.full(len(seeds), cell.task_index), np.array(seeds, np.uint64)
    )
    unstable = len(seeds) - len(kept)
    if not len(kept) or unstable > max(1, _UNSTABLE * len(seeds)):
        raise CollectError(
            f"{unstable} of {len(seeds)} episodes of behaviour {behaviour.name!r} on task {cell.task_index} of"
            f" {recipe.family} became unstable: NaN or infinity",
            hint="less noise in the recipe, or mend the environment; single unstable episodes are left out and counted",
        )
    content = _pack(Shard(episodes=episodes, seeds=[seeds[i] for i in kept], successes=successes.tolist()))
    write_bytes(folder / cell.shard, content)
    _note(folder, {"shard": cell.shard, "sha256": hashlib.sha256(content).hexdigest(), "episodes": len(seeds)})
    return len(seeds)


def finished_cells(folder: Path) -> dict[str, str]:
    """Shard name -> sha256, from the journal; a line torn by a kill is skipped, its cell is collected again."""
    journal = folder / JOURNAL
    finished = {}
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines() if journal.exists() else []:
        try:
            entry = json.loads(line)
            finished[str(entry["shard"])] = str(entry["sha256"])
        except (ValueError, KeyError, TypeError):
            continue
    return finished


def is_whole(folder: Path, cell: Cell, finished: dict[str, str]) -> bool:
    """Whether a cell's shard is there with the bytes that the journal noted."""
    path = folder / cell.shard
    return path.is_file() and finished.get(cell.shard) == hashlib.sha256(path.read_bytes()).hexdigest()


def read_shard(folder: Path, cell: Cell) -> Shard:
    """Read a shard back. Raises CollectError if it is damaged."""
    path = folder / cell.shard
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return Shard(
            episodes=list(_unpack(arrays)),
            seeds=[int(seed) for seed in arrays["seeds"]],
            successes=[bool(s) for s in arrays["successes"]],
        )
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        hint = f"remove {path} and run the same command again"
        raise CollectError(f"shard {path} is damaged: {error}", hint=hint) from None


def _pack(shard: Shard) -> bytes:
    columns = {name: np.concatenate([getattr(e, name) for e in shard.episodes]) for name in COLUMNS}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        lengths=np.array([len(e) for e in shard.episodes]),
        seeds=np.array(shard.seeds, np.uint64),
        successes=np.array(shard.successes, bool),
        **columns,  # type: ignore[arg-type]
    )
    return buffer.getvalue()


def _unpack(arrays: dict[str, np.ndarray]) -> Iterator[Episode]:
    start = 0
    for number, length in enumerate(arrays["lengths"].tolist()):
        rows = slice(start, start + length)
        observations = arrays["observations"][start + number : start + number + length + 1]
        rest = {name: arrays[name][rows] for name in COLUMNS if name != "observations"}
        yield Episode(observations=observations, **rest)
        start += length


def _note(folder: Path, entry: dict[str, object]) -> None:
    """Append one line in one write, durable before we return: lines of several workers do not mix."""
    descriptor = os.open(folder / JOURNAL, open_flags("O_WRONLY", "O_APPEND", "O_CREAT"))
    try:
        os.write(descriptor, ("\n" + json.dumps(entry) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
