"""Zarr 3 as the streaming form of a dataset: for object stores, plain HTTP, and sets larger than memory.

The same columns and documents as the HDF5 form, laid out as `layout` says. An export goes a task at a time, an
import an episode at a time: memory holds a few times the largest task, however many there are.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from idaq.core.config import to_mapping
from idaq.core.errors import CorruptDatasetError, DatasetError, DatasetExistsError, DatasetLockedError
from idaq.core.files import fsync_tree, is_cut_short, naming, write_bytes
from idaq.core.types import REWARDS, Advance, ignore_progress
from idaq.format import layout
from idaq.format.card import read_card
from idaq.format.columns import StoredColumns, map_columns
from idaq.format.documents import about_columns
from idaq.format.reader import StoredDataset, open_stored, read_space
from idaq.format.verify import check_valid
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of, write_dataset
from idaq.format.zarr.layout import (
    ATTRIBUTE,
    CHECKSUM,
    COMPRESSION,
    GROUP,
    LARGEST_EPISODE,
    UNFINISHED,
    Attributes,
    EpisodeColumns,
    Grid,
    attributes_digest,
    create_array,
    grids,
    largest_episode,
)
from idaq.format.zarr.reader import Folder, ZarrDataset, open_folder, open_zarr


def export_zarr(stored: StoredDataset, url: str, progress: Advance = ignore_progress) -> int:
    """Write a dataset in Zarr form to a local path or any fsspec URL that can be written; returns the bytes written.

    The documents come last, so that an export that broke off is refused by every reader; the same call finishes it.
    `progress` counts episodes. Raises DatasetExistsError if there is anything else at `url`, DatasetError if it cannot
    be written or the dataset holds an episode too large for this form, OSError where the disk is full.
    """
    if largest_episode(stored.manifest.columns, stored.episodes) > LARGEST_EPISODE:
        raise DatasetError(f"{stored.path} has an episode of more than {LARGEST_EPISODE} bytes a column")
    folder = open_folder(url)
    unfinished = _group({UNFINISHED: stored.manifest.content_digest})
    finished = _group(to_mapping(_attributes(stored)))
    _claim(folder, unfinished, finished)
    columns, written = map_columns(stored), 0
    laid_out = grids(stored.manifest.columns, stored.episodes)
    for name in sorted(layout.folders_of(laid_out)):
        written += _put(folder, f"{name}/{GROUP}", _document_of_group({}))
    for grid in laid_out.values():
        written += _put_array_document(folder, grid)
    shard = laid_out[REWARDS].shard
    for number in range(laid_out[REWARDS].shards):
        episodes = np.flatnonzero(shard == number)
        for grid in laid_out.values():
            written += _put(folder, grid.key(number), encode_shard(grid, columns, stored, episodes))
        progress(len(episodes))
    if isinstance(folder.files, LocalFileSystem):
        fsync_tree(Path(folder.path))
    return written + _put(folder, GROUP, finished)


def import_zarr(url: str, root: Path, progress: Advance = ignore_progress) -> Path:
    """Write the dataset at `url` as an ordinary one below `root`, with the same content digest; returns its folder.

    It appears only after `verify` found nothing wrong with it. `progress` counts episodes. Raises DatasetExistsError
    if the id is taken, CorruptDatasetError if anything is not as it should be.
    """
    dataset = open_zarr(url)

    def check(written: Path) -> None:
        check_valid(written, f"{url} is corrupt")
        if open_stored(written).manifest.content_digest != dataset.manifest.content_digest:
            raise CorruptDatasetError(f"{url} is corrupt: the content digest is another")

    try:
        return write_dataset(_source(dataset, progress), root, dataset.attributes.card, check=check)
    except (DatasetExistsError, DatasetLockedError) as error:
        raise type(error)(error.message, hint="import it below another root") from None
    except DatasetError as error:
        raise CorruptDatasetError(error.message, hint=error.hint) from error


def _attributes(stored: StoredDataset) -> Attributes:
    table = stored.episodes
    columns = {field.name: getattr(table, field.name).tolist() for field in fields(EpisodeColumns)}
    said = {"seed": table.seed_of, "success": table.solved, "total_reward": table.return_of}
    said |= {"history": table.history_of, "policy_step": table.policy_step_of}
    columns |= {name: [of(number) for number in range(len(table))] for name, of in said.items()}
    unsigned = Attributes(
        zarr_version=1,
        sha256="0" * 64,
        card=read_card(stored.path),
        metadata={name: value for name, value in stored.metadata.items() if name != "idaq"},
        manifest=stored.manifest,
        tasks=list(stored.tasks),
        episodes=EpisodeColumns(**columns),
    )
    return replace(unsigned, sha256=attributes_digest(to_mapping(unsigned)))


def _claim(folder: Folder, unfinished: bytes, finished: bytes) -> None:
    """Mark the place as ours, or find it marked by an earlier export of the same dataset, whole or torn."""
    folder.files.invalidate_cache()
    if folder.files.exists(folder.place(GROUP)):
        found: Any = folder.files.cat_file(folder.place(GROUP))
        if found != unfinished and not is_cut_short(found, unfinished) and not is_cut_short(found, finished):
            raise DatasetExistsError(f"{folder.url} exists already", hint="choose another place, or remove it")
    elif folder.files.exists(folder.path) and _others(folder):
        raise DatasetExistsError(f"{folder.url} holds other files", hint="choose another place, or remove them")
    _put(folder, GROUP, unfinished)


def _others(folder: Folder) -> list[str]:
    """Files that are not the beginning of an export: a killed one may leave its first document under another name."""
    return [name for name in folder.files.find(folder.path, maxdepth=2) if not name.endswith(f"/.{GROUP}.tmp")]


def _put(folder: Folder, key: str, content: bytes) -> int:
    place = folder.place(key)
    try:
        with naming(Path(place)):
            folder.files.makedirs(place.rpartition("/")[0], exist_ok=True)
            if key == GROUP and isinstance(folder.files, LocalFileSystem):
                write_bytes(Path(place), content)  # stores write whole objects by themselves
            else:
                folder.files.pipe_file(place, content)
    except OSError:
        raise
    except Exception as error:  # filesystems raise errors of their own where they are read-only
        message = f"{folder.url}/{key} cannot be written: {error!r}"
        raise DatasetError(message, hint="export to a path, s3://, ...") from error
    return len(content)


def _group(attributes: dict[str, Any]) -> bytes:
    """The document of the whole."""
    return _document_of_group({ATTRIBUTE: attributes})


def _document_of_group(attributes: dict[str, Any]) -> bytes:
    written: dict[str, Buffer] = {}
    zarr.create_group(MemoryStore(written), attributes=attributes)
    return written[GROUP].to_bytes()


def _put_array_document(folder: Folder, grid: Grid) -> int:
    written: dict[str, Buffer] = {}
    create_array(MemoryStore(written), grid)
    key = f"{grid.name}/{GROUP}"
    return _put(folder, key, written[key].to_bytes())


def encode_shard(grid: Grid, columns: StoredColumns, stored: StoredDataset, episodes: NDArray[np.int64]) -> bytes:
    """The shard of one task: all rows of its episodes, one episode after the other.

    The bytes are those that zarr writes, which takes ten times as long where chunks are small.
    """
    column, lengths = columns[grid.name], stored.episodes.length
    rows = np.concatenate([column.rows(number, int(lengths[number])) for number in episodes.tolist()])
    chunks = -(-len(rows) // grid.chunk_rows)
    padded = np.zeros((chunks * grid.chunk_rows, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    index = np.full((grid.chunks, 2), 2**64 - 1, "<u8")
    parts, start = list[bytes](), 0
    for chunk, values in enumerate(padded.reshape(chunks, -1).view(np.uint8)):
        parts.append(_summed(bytes(COMPRESSION.encode(values))))
        index[chunk] = start, len(parts[-1])
        start += len(parts[-1])
    return b"".join([*parts, _summed(index.tobytes())])


def _summed(content: bytes) -> bytes:
    return content + google_crc32c.value(content).to_bytes(CHECKSUM, "little")


def _source(dataset: ZarrDataset, progress: Advance) -> DatasetSource:
    """What to write the dataset from. Raises CorruptDatasetError if its spaces cannot be read."""
    metadata, place = dataset.metadata, dataset.folder.url
    return DatasetSource(
        recipe=dataset.manifest.recipe,
        tasks=dataset.tasks,
        entries=_entries(dataset, progress),
        observation_space=read_space(metadata, "observation_space", place),
        action_space=read_space(metadata, "action_space", place),
        env_spec_json=metadata.get("env_spec"),
        about=about_columns(dataset.manifest),
        provenance=dataset.manifest.provenance,
    )


def _entries(dataset: ZarrDataset, progress: Advance) -> Iterator[EpisodeEntry]:
    for number in range(len(dataset.episodes)):
        yield entry_of(dataset.episodes, number, dataset.episode(number))
        progress(1)
