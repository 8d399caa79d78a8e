"""Whatever `idaq dataset import` is given, read and put together: each source its own task or tasks."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from idaq.core.errors import DatasetError, PluginError, ShareError, UsageError
from idaq.core.ids import datasets_root
from idaq.core.notes import Notes
from idaq.core.outside import raised_as
from idaq.core.types import REWARDS, Advance, TaskParams, ignore_progress
from idaq.format.boxes import joint_space
from idaq.format.documents import About
from idaq.format.importing import Import, ImportedTask, slug
from idaq.format.recipe import join_attribution, join_origins
from idaq.format.store import find_dataset
from idaq.share.importers import MINARI, ReadOptions, importer_of


def read_sources(
    sources: Sequence[str],
    *,
    importer: str | None = None,
    tasks: Sequence[str] = (),
    params: Mapping[str, float | list[float]] | None = None,
    allow_pickle: bool = False,
    root: str | Path | None = None,
    progress: Advance = ignore_progress,
) -> Import:
    """Read each source by the importer of this name, or by that which accepts it; several give several tasks, in order.

    `tasks` names the tasks, one a source, each of a source that holds one; `params` are those of the only one;
    `progress` counts sources. Raises UsageError for what no importer accepts, sources given twice, and names that
    cannot be; DatasetError for what a source holds.
    """
    options = ReadOptions(root=datasets_root(root), allow_pickle=allow_pickle)
    importers = [importer_of(source, importer) for source in sources]
    places = [_place(source, options.root) for source in sources]
    twice = [source for source, place in zip(sources, places, strict=True) if places.count(place) > 1]
    if twice:
        raise UsageError(f"{' and '.join(twice)} are one and the same: each transition would stand twice")
    if tasks and len(tasks) != len(sources):
        raise UsageError(f"--task is given {len(tasks)} times for {len(sources)} sources", hint="once for each")
    if len(set(tasks)) < len(tasks):
        raise UsageError(
            f"--task gives two sources one name: {', '.join(tasks)}", hint="idaq dataset merge joins tasks"
        )
    if params and len(sources) > 1:
        raise UsageError("--param is for one source", hint="import each on its own, then idaq dataset merge")
    read = list[Import]()
    for source, its_importer in zip(sources, importers, strict=True):
        with raised_as(ShareError, f"reading {source}"):
            imported: object = its_importer.read(source, options)
        if not isinstance(imported, Import):
            raise PluginError(f"reading {source} gave {imported!r:.80}; an idaq.Import was expected")
        read.append(imported)
        progress(1)
    for name, imported in zip(tasks, read, strict=False):
        _only_task(imported, "--task").name = _task_id(name)
    if params:
        _set_params(_only_task(read[0], "--param"), params, sources[0])
    return read[0] if len(read) == 1 else _together(read)


def parse_params(texts: Sequence[str]) -> TaskParams:
    """`goal=0.5,1` and `mass=2` as `{"goal": [0.5, 1.0], "mass": 2.0}`. Raises UsageError."""
    params: TaskParams = {}
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


def _place(source: str, root: Path) -> object:
    """What two names of one file or folder share, through links, hard ones too; else the name itself."""
    minari = source.startswith(MINARI)
    try:
        found = os.stat(find_dataset(source.removeprefix(MINARI), root) if minari else Path(source).expanduser())
    except OSError:
        return source
    return found.st_dev, found.st_ino


def _only_task(imported: Import, option: str) -> ImportedTask:
    if len(imported.tasks) != 1:
        raise UsageError(f"{imported.origin} holds {len(imported.tasks)} tasks; {option} is for a source of one")
    return imported.tasks[0]


def _set_params(task: ImportedTask, params: Mapping[str, float | list[float]], source: str) -> None:
    """Raises UsageError where the source states others: its environment was made with those."""
    if task.params and task.params != params:
        said = f"{source} states the parameters {task.params} of its task; --param gives {params}"
        raise UsageError(said, hint="leave --param out")
    task.params = dict(params)


def _task_id(name: str) -> str:
    if name != slug(name):
        raise UsageError(f"--task {name!r} is no task id", hint=f"--task {slug(name)}")
    return name


def _together(read: Sequence[Import]) -> Import:
    """All tasks in one import. A source's own task indices are moved behind those of earlier ones, which is noted."""
    notes, names = Notes(), [imported.origin for imported in read]
    tasks: list[ImportedTask] = []
    following = 0
    for imported in read:
        notes.extend(imported.notes)
        stated = [task.index for task in imported.tasks]
        for number, task in enumerate(imported.tasks):
            task.index = following + (number if task.index is None else task.index)
        if following and any(index is not None for index in stated):
            notes.add(imported.origin, f"task indices of the file are written {following} higher", len(stated))
        tasks += imported.tasks
        following = 1 + max((task.index or 0 for task in imported.tasks), default=following - 1)
    _name_apart(tasks, notes)
    specs = {imported.env_spec_json for imported in read}
    if len(specs) > 1:
        said = "the environments differ: minari's recover_environment() has none; each task names its own"
        notes.add(", ".join(names), said)
    named = list(zip(names, read, strict=True))
    authors, license = join_attribution(named, notes)
    citation, source = join_origins(named, notes)
    to_all = partial(joint_space, names=names, notes=notes)
    return Import(
        tasks=tasks,
        origin=", ".join(names),
        observation_space=to_all([imported.observation_space for imported in read], what="observation"),
        action_space=to_all([imported.action_space for imported in read], what="action"),
        env_spec_json=specs.pop() if len(specs) == 1 else None,
        about=_about(read, notes),
        compress=list(dict.fromkeys(name for imported in read for name in imported.compress)),
        authors=authors,
        license=license,
        citation=citation,
        source=source,
        notes=notes,
    )


def _about(read: Sequence[Import], notes: Notes) -> dict[str, About]:
    """What all sources say of columns. Raises DatasetError where the rewards of some are known, of others not."""
    unknown = [not imported.about.get(REWARDS, About()).known for imported in read]
    if any(unknown) and not all(unknown):
        without = next(imported.origin for imported, missing in zip(read, unknown, strict=True) if missing)
        said = f"{without} has no rewards, other sources have them: one dataset knows all or none"
        raise DatasetError(said, hint="import those with rewards and those without each on their own")
    found: dict[str, About] = {}
    for imported in read:
        for name, about in imported.about.items():
            if found.setdefault(name, about) != about:
                notes.add(imported.origin, f"what it says of {name} is another than what earlier sources say: left out")
    return found


def _name_apart(tasks: Sequence[ImportedTask], notes: Notes) -> None:
    """Tasks of one name get their index before it."""
    counts = Counter(task.name for task in tasks)
    taken = set(counts)
    for task in tasks:
        if counts[task.name] > 1:
            notes.add(task.name, "tasks of one name get their index before it", 1)
            names = (slug(f"{task.index}{f'.{n}' if n else ''}-{task.name}") for n in count())
            task.name = next(name for name in names if name not in taken)
            taken.add(task.name)
