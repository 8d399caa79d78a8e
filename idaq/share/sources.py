"""Whatever `idaq dataset import` is given, read and put together: each source its own task or tasks."""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from idaq.core.errors import UsageError
from idaq.core.notes import Notes
from idaq.format.recipe import join_whose
from idaq.format.store import find_dataset
from idaq.share.import_arrays import read_d4rl, read_npz
from idaq.share.import_focal import read_focal
from idaq.share.importing import Import, ImportedTask, slug
from idaq.share.spaces import union

Params = dict[str, float | list[float]]

_FILES: dict[str, Callable[[Path], Import]] = {".npz": read_npz, ".hdf5": read_d4rl, ".h5": read_d4rl}


def read_sources(
    sources: Sequence[str],
    *,
    tasks: Sequence[str] = (),
    params: Mapping[str, float | list[float]] | None = None,
    allow_pickle: bool = False,
    root: Path | None = None,
) -> Import:
    """Read `minari:<id>`, folders of goal_idx<k>, .hdf5 and .npz; several give several tasks, in the order given.

    `tasks` names the tasks, one a source, each of a source that holds one; `params` are those of the only one.
    Raises UsageError for what is none of these, given twice, or named so that it could not be; DatasetError.
    """
    paths = [_find(source, root) for source in sources]
    places = [(found.st_dev, found.st_ino) for found in map(os.stat, paths)]  # hard links too
    twice = [source for source, place in zip(sources, places, strict=True) if places.count(place) > 1]
    if twice:
        raise UsageError(f"{' and '.join(twice)} are one and the same: each transition would stand twice")
    if tasks and len(tasks) != len(sources):
        raise UsageError(f"--task is given {len(tasks)} times for {len(sources)} sources", hint="once for each")
    if len(set(tasks)) < len(tasks):
        raise UsageError(
            f"--task gives two sources one name: {', '.join(tasks)}", hint="idaq dataset merge joins tasks"
        )
    read = [_read(source, path, allow_pickle) for source, path in zip(sources, paths, strict=True)]
    for name, imported in zip(tasks, read, strict=False):
        _only_task(imported, "--task").name = _task_id(name)
    if params:
        if len(read) > 1:
            raise UsageError("--param is for one source", hint="import each on its own, then idaq dataset merge")
        _only_task(read[0], "--param").params = dict(params)
    return read[0] if len(read) == 1 else _together(read)


def parse_params(texts: Sequence[str]) -> Params:
    """`goal=0.5,1` and `mass=2` as `{"goal": [0.5, 1.0], "mass": 2.0}`. Raises UsageError."""
    params: Params = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            numbers = [float(part) for part in value.split(",")]
        except ValueError:
            numbers = [math.nan]
        if not equals or not name or name in params or not all(map(math.isfinite, numbers)):
            raise UsageError(f"--param {text!r} is not understood", hint="--param mass=2 --param goal=0.5,1, each once")
        params[name] = numbers if "," in value else numbers[0]
    return params


def _find(source: str, root: Path | None) -> str:
    """The real path that a source stands for, through links."""
    if source.startswith("minari:"):
        return os.path.realpath(find_dataset(source.removeprefix("minari:"), root))
    path = Path(source).expanduser()
    if not path.is_dir() and path.suffix not in _FILES:
        raise UsageError(f"{source} is nothing that can be imported", hint="minari:<id>, a folder, .hdf5 or .npz")
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"there is no file {path}")
    return os.path.realpath(path)


def _read(source: str, real: str, allow_pickle: bool) -> Import:
    path = Path(source).expanduser()
    if source.startswith("minari:"):
        from idaq.share.import_minari import read_minari  # Minari takes half a second to import

        return read_minari(Path(real))
    return read_focal(path, allow_pickle) if path.is_dir() else _FILES[path.suffix](path)


def _only_task(imported: Import, option: str) -> ImportedTask:
    if len(imported.tasks) != 1:
        raise UsageError(f"{imported.origin} holds {len(imported.tasks)} tasks; {option} is for a source of one")
    return imported.tasks[0]


def _task_id(name: str) -> str:
    if name != slug(name):
        raise UsageError(f"--task {name!r} is no task id", hint=f"--task {slug(name)}")
    return name


def _together(read: Sequence[Import]) -> Import:
    """All tasks in one import. A source's own task indices are moved behind those of the sources before it, told."""
    notes, names = Notes(), [imported.origin for imported in read]
    tasks: list[ImportedTask] = []
    following = 0
    for imported in read:
        notes.add(imported.notes)
        stated = [task.index for task in imported.tasks]
        for number, task in enumerate(imported.tasks):
            task.index = following + (number if task.index is None else task.index)
        if following and any(index is not None for index in stated):
            notes.tell(imported.origin, f"task indices of the file are written {following} higher", len(stated))
        tasks += imported.tasks
        following = 1 + max((task.index or 0 for task in imported.tasks), default=following - 1)
    _name_apart(tasks, notes)
    specs = {imported.env_spec_json for imported in read}
    if len(specs) > 1:
        said = "the environments differ: minari's recover_environment() has none; each task names its own"
        notes.tell(", ".join(names), said)
    authors, license = join_whose(list(zip(names, read, strict=True)), notes)
    to_all = partial(union, names=names, notes=notes)
    return Import(
        tasks=tasks,
        origin=", ".join(names),
        observation_space=to_all([imported.observation_space for imported in read], what="observation"),
        action_space=to_all([imported.action_space for imported in read], what="action"),
        env_spec_json=specs.pop() if len(specs) == 1 else None,
        authors=authors,
        license=license,
        notes=notes,
    )


def _name_apart(tasks: Sequence[ImportedTask], notes: Notes) -> None:
    """Tasks of one name get their index before it."""
    counts = Counter(task.name for task in tasks)
    taken = set(counts)
    for task in tasks:
        if counts[task.name] > 1:
            notes.tell(task.name, "tasks of one name are told apart by their index", 1)
            names = (slug(f"{task.index}{f'.{n}' if n else ''}-{task.name}") for n in count())
            task.name = next(name for name in names if name not in taken)
            taken.add(task.name)
