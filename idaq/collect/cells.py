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

from idaq.collect.plan import Cell, Plan
from idaq.collect.rollout import rollout
from idaq.core.errors import CollectError, IdaqError
from idaq.core.files import write_bytes
from idaq.core.machine import open_flags
from idaq.core.outside import place
from idaq.core.seeds import episode_seed
from idaq.core.types import Episode

JOURNAL = "journal.jsonl"
_UNSTABLE = 0.1  # a cell that loses more of its episodes says something is wrong


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A collected cell."""

    episodes: list[Episode]
    seeds: list[int]
    successes: list[bool]
    clipped: int = 0
    """actions of a policy from outside that lay outside the action space"""
    histories: list[int | None]
    """learning history of each episode; None where it stands alone"""
    policy_steps: list[int | None]
    """steps that the behaviour had learned from before each"""


def gained(plan: Plan, cell: Cell) -> int:
    """Episodes of a cell that the dataset will hold: none of the random reference, which is only measured."""
    measured_only = cell.behaviour_index >= len(plan.recipe.behaviours)
    return 0 if measured_only else plan.behaviours[cell.behaviour_index].episodes


def collect_cell(plan: Plan, cell: Cell, folder: Path) -> int:
    """Collect a cell, write its shard, note it in the journal; returns how many episodes the dataset gains by it.

    Raises CollectError where the family's code fails, or its episodes became unstable.
    """
    recipe, behaviour = plan.recipe, plan.behaviours[cell.behaviour_index]
    seeds = [episode_seed(recipe.seed, cell.task_index, cell.behaviour_index, e) for e in range(behaviour.episodes)]
    drawn = np.array(seeds, np.uint64).reshape(behaviour.histories or len(seeds), -1)
    tasks = np.full(len(drawn), cell.task_index)
    expert = recipe.expert_action and cell.behaviour_index < len(recipe.behaviours)
    try:
        done = rollout(plan.family, behaviour, tasks, drawn, plan.spaces, expert=expert)
    except IdaqError:
        raise
    except Exception as error:
        raise CollectError(
            f"behaviour {behaviour.name!r} on task {cell.task_index} of {recipe.family}: {type(error).__name__}:"
            f" {error}",
            details=[place(error)],
        ) from error
    _check_ends(recipe.family, done.episodes)
    unstable = len(seeds) - len(done.kept)
    if not len(done.kept) or unstable > max(1, _UNSTABLE * len(seeds)):
        raise CollectError(
            f"{unstable} of {len(seeds)} episodes of behaviour {behaviour.name!r} on task {cell.task_index} of"
            f" {recipe.family} became unstable: NaN or infinity",
            hint="less noise in the recipe, or fix the environment; single unstable episodes are left out and counted",
        )
    learns = behaviour.histories is not None
    shard = Shard(
        episodes=done.episodes,
        seeds=[seeds[i] for i in done.kept],
        successes=done.successes.tolist(),
        clipped=done.clipped,
        histories=[int(i) // drawn.shape[1] if learns else None for i in done.kept],
        policy_steps=[int(steps) if learns else None for steps in done.before],
    )
    content = _pack(shard)
    write_bytes(folder / cell.shard, content)
    _note(folder, {"shard": cell.shard, "sha256": hashlib.sha256(content).hexdigest(), "episodes": len(seeds)})
    return gained(plan, cell)


def _check_ends(family: str, episodes: list[Episode]) -> None:
    endless = sum(not (episode.terminated[-1] or episode.truncated[-1]) for episode in episodes)
    if endless:
        raise CollectError(
            f"{endless} of {len(episodes)} episodes of {family} neither ended nor were truncated at the horizon",
            hint="the batched form of a family must say `truncated` at step `horizon`",
        )


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
            clipped=int(arrays["clipped"]),
            histories=_known(arrays["histories"]),
            policy_steps=_known(arrays["policy_steps"]),
        )
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        hint = f"remove {path} and run the same command again"
        raise CollectError(f"shard {path} is damaged: {error}", hint=hint) from None


def _known(numbers: np.ndarray) -> list[int | None]:
    return [None if number < 0 else number for number in numbers.tolist()]


_COLUMN = "column:"


def _pack(shard: Shard) -> bytes:
    parts = [episode.columns for episode in shard.episodes]
    columns = {f"{_COLUMN}{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        lengths=np.array([len(e) for e in shard.episodes]),
        seeds=np.array(shard.seeds, np.uint64),
        successes=np.array(shard.successes, bool),
        clipped=np.array(shard.clipped),
        histories=np.array([-1 if number is None else number for number in shard.histories]),
        policy_steps=np.array([-1 if number is None else number for number in shard.policy_steps]),
        **columns,  # type: ignore[arg-type]
    )
    return buffer.getvalue()


def _unpack(arrays: dict[str, np.ndarray]) -> Iterator[Episode]:
    columns = {name.removeprefix(_COLUMN): array for name, array in arrays.items() if name.startswith(_COLUMN)}
    lengths, start = arrays["lengths"].tolist(), 0
    longer = {name for name, array in columns.items() if len(array) == sum(lengths) + len(lengths)}
    for number, length in enumerate(lengths):
        first = {name: start + number if name in longer else start for name in columns}
        last = {name: first[name] + length + (name in longer) for name in columns}
        yield Episode.from_columns({name: array[first[name] : last[name]] for name, array in columns.items()})
        start += length


def _note(folder: Path, entry: dict[str, object]) -> None:
    """Append one line in one write, durable before we return: lines of several workers do not mix."""
    descriptor = os.open(folder / JOURNAL, open_flags("O_WRONLY", "O_APPEND", "O_CREAT"))
    try:
        os.write(descriptor, ("\n" + json.dumps(entry) + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
