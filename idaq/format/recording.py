"""A folder in which episodes of one system are recorded, each durable when it ends: what a recorder writes and an
importer reads. A killed recorder loses the episode under way, and no other.

    <folder>/recording.json      which task of which environment, and how it is acted on
    <folder>/episode-00000.npz   the episode's columns by name; and as `fact:seed`, `fact:success` (-1: unknown) and
                                 `fact:clipped` its seed, whether it solved the task, how many actions were clipped
"""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
from filelock import FileLock, Timeout
from minari.serialization import serialize_space
from pydantic import Field

from idaq.core.checks import check_finite, check_numbers
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import CollectError, ConfigError, CorruptDatasetError
from idaq.core.files import read_json, write_bytes, write_json
from idaq.core.types import TERMINATIONS, TRUNCATIONS, Episode, Line, Slug, TaskParams, VersionOne, is_observation
from idaq.format import layout
from idaq.format.documents import EnvReference
from idaq.format.importing import ImportedEpisode

DOCUMENT, LOCK = "recording.json", ".recording.lock"
MOST_EPISODES = 100_000
_FACT, _FACTS = "fact:", ("seed", "success", "clipped")


@config
class Recording:
    """recording.json: what is recorded."""

    recording_version: VersionOne = 1
    task: Slug
    params: TaskParams
    env: EnvReference
    env_spec: str
    """as Minari states it: without the task's parameters"""
    observation_space: str
    action_space: str
    """as metadata.json of a dataset states them"""
    behaviour: Slug
    policy: Line
    """`random`, `human` or `package.module:thing`, as text"""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    max_steps: Annotated[int, Field(ge=1)] | None


@dataclass(frozen=True)
class Folder:
    """A recording's folder."""

    path: Path

    def start(self, recording: Recording) -> None:
        """Claim the folder for a recording, or see that it holds the same one.

        Raises CollectError for a folder of other files or of another recording, CorruptDatasetError for a damaged one.
        """
        if (self.path / DOCUMENT).exists():
            there = self.read()
            differing = [f.name for f in fields(Recording) if getattr(there, f.name) != getattr(recording, f.name)]  # type: ignore[arg-type]
            if differing:
                said = "; ".join(f"{n} {getattr(there, n)!r}, not {getattr(recording, n)!r}" for n in differing)
                raise CollectError(
                    f"{self.path} holds another recording: {said}"[:500],
                    hint="give the same options to resume it, or choose another --out",
                )
            return
        others = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        if others:
            raise CollectError(f"{self.path} holds other files: {', '.join(others[:3])}", hint="choose another --out")
        write_json(self.path / DOCUMENT, to_mapping(recording))

    def read(self) -> Recording:
        """Its document. Raises CorruptDatasetError."""
        try:
            return from_mapping(
                Recording, read_json(self.path / DOCUMENT), where=str(self.path / DOCUMENT), strict=True
            )
        except ConfigError as error:
            raise CorruptDatasetError(error.message, hint=error.hint) from None

    def numbers(self) -> list[int]:
        """Numbers of the episodes that are there, in order."""
        names = (re.fullmatch(r"episode-([0-9]{5})\.npz", entry.name) for entry in self.path.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def write(self, number: int, episode: Episode, *, seed: int, success: bool | None, clipped: int) -> None:
        """Write an episode; it is there whole and durable when this returns, and not at all before."""
        known = {"seed": seed, "success": -1 if success is None else int(success), "clipped": clipped}
        facts = {f"{_FACT}{name}": np.array(value, np.int64) for name, value in known.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **episode.columns, **facts)  # type: ignore[arg-type]
        write_bytes(self._file(number), buffer.getvalue())

    def episode(self, number: int, behaviour: str) -> tuple[ImportedEpisode, int]:
        """An episode, and how many of its actions were clipped.

        Raises CorruptDatasetError for a file that is none, DatasetError for columns that are none.
        """
        path = self._file(number)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            seed, success, clipped = (int(arrays.pop(f"{_FACT}{name}")) for name in _FACTS)
            if fault := layout.names_fault(arrays):
                raise ValueError(fault)
        except Exception as error:  # what is no archive leads NumPy and zipfile to errors of any kind
            hint = f"remove it and run the same idaq record again: rm {path}"
            raise CorruptDatasetError(f"{path} is no recorded episode: {error}", hint=hint) from None
        columns = {name: check_numbers(name, array, str(path)) for name, array in arrays.items()}
        sized = {name: np.atleast_1d(column) for name, column in columns.items() if not layout.is_extra(name)}
        lengths = {name: len(column) - is_observation(name) for name, column in sized.items()}
        if len(set(lengths.values())) > 1 or min(lengths.values()) < 1:
            raise CorruptDatasetError(f"{path}: T + 1 observations and T of everything else are needed, not {lengths}")
        for name in sized:
            check_finite(name, columns[name], str(path))
        flags = {name: columns[name].astype(bool) for name in (TERMINATIONS, TRUNCATIONS)}
        solved = None if success < 0 else bool(success)
        episode = Episode.from_columns(columns | flags)
        return ImportedEpisode(episode=episode, behaviour=behaviour, seed=max(seed, 0), success=solved), clipped

    def _file(self, number: int) -> Path:
        return self.path / f"episode-{number:05d}.npz"


def space_text(space: gym.Space[Any]) -> str:
    """A space as metadata.json of a dataset states it."""
    return str(serialize_space(space))


@contextmanager
def recording_folder(path: Path) -> Generator[Folder]:
    """The folder, made if there is none, for one recorder at a time; the kernel drops the lock of a killed one.

    Raises CollectError while another one records there.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        hint = "wait for it to end, or choose another --out"
        raise CollectError(f"another recorder writes {path}", hint=hint) from None
    try:
        yield Folder(path)
    finally:
        lock.release()
