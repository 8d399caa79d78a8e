"""A session as one file: safetensors, with a JSON document in its header. No pickle, no code."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from pydantic import Field, StringConstraints
from safetensors import SafetensorError
from safetensors.numpy import load, save

from idaq.core.config import canonical_json, config, from_mapping, to_mapping
from idaq.core.digest import episode_digest
from idaq.core.errors import ConfigError, CorruptDatasetError, RunError
from idaq.core.files import parse_json, write_bytes
from idaq.core.plain import is_table
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import AtLeastOne, Episode, Floats, PlainData, Sha256, VersionOne
from idaq.tasks.systems import PlayedEpisode

_KEY = "idaq.session"
GeneratorState = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}-[01]-[0-9a-f]{8}$")]


@config
class RecordedEpisode:
    """One episode's entry."""

    digest: Sha256
    """of its columns, as datasets have it, for task 0"""
    success: bool | None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None


@config
class SessionRecord:
    """What a session is, beside the episodes' numbers."""

    session_version: VersionOne = 1
    strategy: str
    settings: PlainData
    budget: AtLeastOne
    seed: Annotated[int, Field(ge=0)]
    algorithm: str
    agent_digest: Sha256
    generator_states: list[GeneratorState]
    """before each episode's policy was chosen, and now: one more than episodes"""
    notes: list[str]
    episodes: list[RecordedEpisode] = Field(default_factory=list[RecordedEpisode])


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """A session's document and numbers."""

    record: SessionRecord
    episodes: Sequence[PlayedEpisode]
    beliefs: list[Floats]
    """of each episode: (1, Z), Z = 0 for a policy without one"""


def write_session(path: Path, session: StoredSession, known: str | None, *, force: bool = False) -> str:
    """Write a session, whole or not at all; returns the SHA-256 of the file.

    `known` is the digest that the file had when the session was saved or loaded there. Raises RunError where the file
    is another one by now, unless `force`, and for more than can be read again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = _pack(session)
    if len(content) > LARGEST_TABLE:
        raise RunError(
            f"the session has {len(content)} bytes; {LARGEST_TABLE} can be read again",
            hint="session.to_dataset() keeps the episodes",
        )
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists() and not force and _digest(read_document(path, LARGEST_TABLE)) != known:
            raise RunError(
                f"{path} holds episodes that this session does not know",
                hint="Session.load(path, agent) resumes it; save(path, force=True) replaces it",
            )
        write_bytes(path, content)
    return _digest(content)


def read_session(path: Path) -> tuple[StoredSession, str]:
    """A session and the SHA-256 of its file. Raises RunError naming what is damaged."""
    try:
        content = read_document(path, LARGEST_TABLE)
        session = _unpack(content, path)
    except CorruptDatasetError as error:
        raise RunError(error.message, hint="give the file that session.save() wrote") from None
    except (SafetensorError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is no session, or damaged: {error}", hint="take an older copy of it") from None
    return session, _digest(content)


def _pack(session: StoredSession) -> bytes:
    tensors = dict[str, NDArray[Any]]()
    for number, (episode, belief) in enumerate(zip(session.episodes, session.beliefs, strict=True)):
        columns = episode.columns.items()
        tensors |= {f"{number}/{name}": np.ascontiguousarray(column) for name, column in columns}
        tensors[f"{number}/belief"] = np.ascontiguousarray(belief)
    entries = [RecordedEpisode(digest=_of(e), success=e.success, seed=e.seed) for e in session.episodes]
    record = replace(session.record, episodes=entries)
    return save(tensors, metadata={_KEY: canonical_json(to_mapping(record))})


def _unpack(content: bytes, path: Path) -> StoredSession:
    tensors = load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__")
    text = metadata.get(_KEY) if is_table(metadata) else None
    if text is None:
        raise ValueError(f"its header has no {_KEY}")
    stated = parse_json(text, str(path))
    version = stated.get("session_version") if is_table(stated) else None
    if type(version) is int and version > 1:
        raise RunError(f"{path} is of session_version {version}, which this idaq does not know", hint="upgrade idaq")
    record = from_mapping(SessionRecord, stated, where=str(path), strict=True)
    if len(record.generator_states) != len(record.episodes) + 1:
        raise ValueError(f"{len(record.generator_states)} generator states for {len(record.episodes)} episodes")
    episodes = list[PlayedEpisode]()
    for number, entry in enumerate(record.episodes):
        prefix = f"{number}/"
        columns = {name.removeprefix(prefix): np.asarray(t) for name, t in tensors.items() if name.startswith(prefix)}
        belief = columns.pop("belief")
        episode = PlayedEpisode.of(Episode.from_columns(columns), success=entry.success, seed=entry.seed)
        if _of(episode) != entry.digest:
            raise ValueError(f"episode {number} does not agree with its digest")
        if belief.dtype != np.float32:
            raise ValueError(f"the belief of episode {number} is not float32")
        episodes.append(episode)
    return StoredSession(
        record=record,
        episodes=episodes,
        beliefs=[tensors[f"{number}/belief"] for number in range(len(episodes))],
    )


def _of(episode: PlayedEpisode) -> str:
    return episode_digest(episode, task_index=0, seed=episode.seed)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
