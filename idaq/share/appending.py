"""Episodes added to a dataset, as a new version of it: from whatever an importer reads, or from other datasets.

from idaq.share.appending import append_episodes

append("me/pendulum/swings-v0", ["recorded/heavy"])                  # to its task `heavy`, or as one
append("me/pendulum/swings-v0", ["a.npz", "b.npz"], task="light")    # both to one task
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from idaq.core.errors import DatasetError, DatasetNotFoundError, UsageError
from idaq.core.ids import datasets_root, parse_id
from idaq.core.notes import refuse_notes
from idaq.core.types import ShowProgress, show_nothing
from idaq.format.additions import make_alike
from idaq.format.importing import Import, dataset_source, slug, state_attribution
from idaq.format.lock import locked
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, is_idaq_dataset, open_stored
from idaq.format.store import find_dataset, next_version
from idaq.format.verify import check_valid
from idaq.format.writer import DatasetSource, refuse_taken, write_dataset
from idaq.share.importers import MINARI
from idaq.share.sources import read_sources


@dataclass(frozen=True, kw_only=True)
class Appended:
    """The new version."""

    dataset_id: str
    path: Path
    content_digest: str
    episodes: int
    new: int
    """of them, those that were added"""
    duplicates: int
    """that were there already, and are left out"""
    notes: tuple[str, ...]


def append_episodes(
    dataset: str | Path,
    sources: Sequence[str | Path],
    new_id: str | None = None,
    *,
    task: str | None = None,
    params: Mapping[str, float | list[float]] | None = None,
    split: str | None = None,
    importer: str | None = None,
    authors: Sequence[str] = (),
    license: str | None = None,
    allow_pickle: bool = False,
    strict: bool = False,
    root: str | Path | None = None,
    show: ShowProgress = show_nothing,
) -> Appended:
    """Write a dataset with the episodes of `sources` behind those that each of its tasks has; the old one stays.

    A source is the id of a dataset by idaq, or what an importer reads. A task of the id of one that is there is that
    one, and stays in its split; any other is new, in `split` (None: train). `task` names the task of every source that
    is no dataset, and `params` are its parameters. Episodes that are there already are left out. Without `new_id` it is
    the next version.

    Raises UsageError for what cannot be asked so, DatasetError where nothing is new, where spaces, environments or
    tasks differ, and for notes under `strict`; as `import_dataset` does for sources that cannot be read.
    """
    base = datasets_root(root)
    stored = open_stored(find_dataset(dataset, base))
    target = str(parse_id(new_id or next_version(stored.manifest.dataset_id, base)))
    refuse_taken(base / target)
    texts = [str(source) for source in sources]
    others = {text: found for text in texts if importer is None and (found := _dataset(text, base)) is not None}
    files = [text for text in texts if text not in others]
    if others and (task or params):
        hint = "idaq dataset merge joins datasets, and idaq dataset relabel changes them"
        raise UsageError(f"--task and --param are for files: tasks of {next(iter(others))} have names", hint=hint)
    read = list[Import]()
    with show("reading " + ", ".join(texts), len(files), "sources") as advance:
        for text in files:
            names = () if task is None else (task,)
            options = {"importer": importer, "allow_pickle": allow_pickle, "root": base}
            read.append(read_sources([text], tasks=names, params=params, progress=advance, **options))  # type: ignore[arg-type]
    parts = _alike(read, stored, split, authors, license)
    with _written(parts, target, base) as made:
        added = [*others.values(), *made]
        source, duplicates = merged([stored, *added], target, "same")
        new = sum(len(part.episodes) for part in added) - duplicates
        if new <= 0:
            raise DatasetError(
                f"{stored.manifest.dataset_id} has all {duplicates} episodes already: nothing is written"
            )
        notes = (*(note for part in parts for note in part.notes), *source.notes)
        if strict:
            refuse_notes(notes)
        source = _told(source, stored, list(others.values()), read)
        path = _write(source, len(stored.episodes) + new, base, show)
    manifest = open_stored(path).manifest
    return Appended(
        dataset_id=target,
        path=path,
        content_digest=manifest.content_digest,
        episodes=manifest.counts.episodes,
        new=new,
        duplicates=duplicates,
        notes=notes,
    )


def _dataset(text: str, root: Path) -> StoredDataset | None:
    """The dataset by idaq that a source names; None for anything else."""
    if text.startswith(MINARI):
        return None
    try:
        path = find_dataset(Path(text).expanduser() if Path(text).expanduser().is_dir() else text, root)
    except DatasetNotFoundError:
        return None
    return open_stored(path) if is_idaq_dataset(path) else None


def _alike(
    read: Sequence[Import], stored: StoredDataset, split: str | None, authors: Sequence[str], license: str | None
) -> list[DatasetSource]:
    """What was read, as datasets that can be merged with the one that is there, whose authors and licence they take."""
    splits = {task.task_id: task.split for task in stored.tasks}
    recipe, fresh, parts = stored.manifest.recipe, dict[str, int](), list[DatasetSource]()
    for number, imported in enumerate(read):
        for each in imported.tasks:
            each.split = split or "train"
            if split is not None and splits.get(each.name, split) != split:
                imported.notes.add(each.name, f"stays in split {splits[each.name]}: --split is for new tasks")
        make_alike(imported, stored, fresh)
        whose = authors or ([] if imported.authors else recipe.authors)
        state_attribution(imported, whose, license or (None if imported.license else recipe.license))
        name = re.sub(r"[^a-z0-9-]+", "-", slug(imported.origin)[:40]).strip("-")
        parts.append(dataset_source(imported, f"appended/{number}-{name}-v0", stored.manifest.family, "Appended."))
    return parts


@contextmanager
def _written(parts: Sequence[DatasetSource], new_id: str, root: Path) -> Iterator[list[StoredDataset]]:
    """The parts on disk, beside the unfinished work of the new dataset, until the block ends."""
    with locked(root, new_id, "append") as work:
        yield [open_stored(write_dataset(part, work / "parts", "")) for part in parts]


def _told(
    source: DatasetSource, stored: StoredDataset, others: Sequence[StoredDataset], read: Sequence[Import]
) -> DatasetSource:
    """What made it: its parents are the datasets, not what stood beside it for a moment."""
    names = [*(other.manifest.dataset_id for other in others), *(imported.origin for imported in read)]
    real = {other.manifest.dataset_id for other in (stored, *others)}
    parents = tuple(parent for parent in source.parents if parent.dataset_id in real)
    return replace(source, operation=f"append of {', '.join(names)}", parents=parents)


def _write(source: DatasetSource, episodes: int, root: Path, show: ShowProgress) -> Path:
    with show(f"writing {source.recipe.id}", 3 * episodes, "episodes") as advance:
        check = partial(check_valid, otherwise="what was appended makes a corrupt dataset", progress=advance)
        return write_dataset(source, root, progress=advance, check=check)
