"""Importers by name: each reads one kind of source, as other people store their data.

    from idaq.share.importers import import_dataset

    import_dataset(["hopper-medium.hdf5"], "me/hopper/medium-v0")                 # by the kind of the source
    import_dataset(["logs"], "me/robot/logs-v0", importer="my_robot:Logs")        # by name, or package.module:thing

An importer says itself which sources are its own. Those that ship are imported when they read.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from idaq.core.errors import UsageError
from idaq.core.registry import Registry, accept_like
from idaq.core.types import NO_FAMILY, ShowProgress, show_nothing

if TYPE_CHECKING:
    from idaq.format.importing import Import


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What the user allows an importer, and where datasets are."""

    root: Path
    """folder of datasets"""
    allow_pickle: bool = False
    """whether to unpickle, which can run any code"""


class Importer(Protocol):
    """Reads one kind of source. A class that has these members is an importer too: it is called without arguments."""

    @property
    def description(self) -> str:
        """What sources it reads, in one line."""
        ...

    def accepts(self, source: str, /) -> bool:
        """Whether a source is of this kind, by its name or by what its folder holds. Cheap: opens no data."""
        ...

    def read(self, source: str, options: ReadOptions, /) -> "Import":
        """Read a source: tasks, episodes, and notes of all that was cut, cast, dropped or assumed.

        Raises UsageError or DatasetError for a source that is not of this kind, or damaged.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BuiltInImporter:
    """An importer that ships."""

    description: str
    accepts: Callable[[str], bool]
    read: Callable[[str, ReadOptions], "Import"]


def _file_reader(module: str, function: str) -> Callable[[str, ReadOptions], "Import"]:
    """Reads a source that is a file, by a function of this package, which is imported when it reads."""

    def read(source: str, _options: ReadOptions) -> "Import":
        return getattr(import_module(f"{__name__}.{module}"), function)(_file(source))

    return read


def _folder_reader(module: str, function: str) -> Callable[[str, ReadOptions], "Import"]:
    """Reads a source that is a folder, likewise."""

    def read(source: str, _options: ReadOptions) -> "Import":
        return getattr(import_module(f"{__name__}.{module}"), function)(_folder(source))

    return read


def _asking(module: str, function: str, *endings: str) -> Callable[[str], bool]:
    """Whether a source has one of the endings and a function of this package says that it is laid out so."""

    def accepts(source: str) -> bool:
        path = _path(source)
        if not path.exists() or (endings and not (path.suffix in endings and path.is_file())):
            return False  # a pipe would be waited for
        return bool(getattr(import_module(f"{__name__}.{module}"), function)(path))

    return accepts


def _read_focal(source: str, options: ReadOptions) -> "Import":
    from idaq.share.importers.focal import read_focal

    return read_focal(_folder(source), options.allow_pickle)


def _read_export(source: str, options: ReadOptions) -> "Import":
    from idaq.share.importers.own import read_own

    return read_own(_path(source), options.allow_pickle)


def _read_minari(source: str, options: ReadOptions) -> "Import":
    from idaq.format.store import find_dataset
    from idaq.share.importers.minari import read_minari

    return read_minari(find_dataset(source.removeprefix(MINARI), options.root).resolve())


def _read_pickle(source: str, options: ReadOptions) -> "Import":
    from idaq.share.importers.paths import import_paths
    from idaq.share.importers.pickled import read_pickle
    from idaq.share.importers.replay_buffer import import_replay_buffer, is_replay_buffer

    path = _file(source)
    value = read_pickle(path, options.allow_pickle)
    return import_replay_buffer(value, path) if is_replay_buffer(value) else import_paths(value, path)


def _read_zarr_buffer(source: str, _options: ReadOptions) -> "Import":
    from idaq.share.importers.zarr_buffer import read_zarr_buffer

    return read_zarr_buffer(_path(source))


def _has_ending(*endings: str) -> Callable[[str], bool]:
    return lambda source: _path(source).suffix in endings and not _path(source).is_dir()


def _no_other(ending: Callable[[str], bool], *names: str) -> Callable[[str], bool]:
    """Whether a source has an ending and is of none of the named importers, which know their own by its members."""
    return lambda source: ending(source) and not any(BUILT_IN[name].accepts(source) for name in names)


def _holds_goals(source: str) -> bool:
    return any(path.is_dir() for path in _path(source).glob("goal_idx*"))


def _path(source: str) -> Path:
    return Path(source).expanduser()


def _file(source: str) -> Path:
    """A source that is a file. Raises UsageError."""
    path = _path(source)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def _folder(source: str) -> Path:
    """A source that is a folder. Raises UsageError."""
    path = _path(source)
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}")
    return path


MINARI, ZARR = "minari:", ".zarr"
BUILT_IN = {
    "minari": BuiltInImporter(
        description="minari:<id>, any Minari dataset below --root",
        accepts=lambda source: source.startswith(MINARI),
        read=_read_minari,
    ),
    "export": BuiltInImporter(
        description="what idaq dataset export wrote: .npz, .parquet, a folder for LeRobot or of goals",
        accepts=_asking("own", "is_own"),
        read=_read_export,
    ),
    "focal-npy": BuiltInImporter(
        description="a folder of goal_idx<k>/trj_*.npy or task_step*.npz, of the FOCAL family",
        accepts=_no_other(_holds_goals, "export"),
        read=_read_focal,
    ),
    "recording": BuiltInImporter(
        description="a folder of idaq record: one task",
        accepts=_asking("recording", "is_recording"),
        read=_folder_reader("recording", "read_recording"),
    ),
    "lerobot": BuiltInImporter(
        description="a folder of LeRobot, v3.0 or v2.1, without its videos",
        accepts=_no_other(_asking("lerobot", "is_lerobot"), "export"),
        read=_folder_reader("lerobot", "read_lerobot"),
    ),
    "rlds": BuiltInImporter(
        description="a folder of RLDS episodes, as TensorFlow Datasets writes them",
        accepts=_asking("rlds", "is_rlds"),
        read=_folder_reader("rlds", "read_rlds"),
    ),
    "zarr-buffer": BuiltInImporter(
        description="a .zarr or .zarr.zip with meta/episode_ends, as diffusion policy stores demonstrations",
        accepts=_asking("zarr_buffer", "is_zarr_buffer"),
        read=_read_zarr_buffer,
    ),
    "imitation": BuiltInImporter(
        description=".npz of the imitation library: obs, acts, terminal, indices",
        accepts=_asking("imitation", "is_imitation", ".npz"),
        read=_file_reader("imitation", "read_imitation"),
    ),
    "stable-baselines": BuiltInImporter(
        description=".npz of Stable-Baselines' experts: obs, actions, episode_starts",
        accepts=_asking("imitation", "is_stable_baselines", ".npz"),
        read=_file_reader("imitation", "read_stable_baselines"),
    ),
    "ogbench": BuiltInImporter(
        description=".npz of OGBench, T + 1 rows a trajectory, with rewards or without",
        accepts=_no_other(_asking("ogbench", "is_ogbench", ".npz"), "export"),
        read=_file_reader("ogbench", "read_ogbench"),
    ),
    "npz": BuiltInImporter(
        description=".npz, a row a transition, laid out as idaq dataset export does",
        accepts=_no_other(_has_ending(".npz"), "imitation", "stable-baselines", "ogbench", "export"),
        read=_file_reader("transitions", "read_npz"),
    ),
    "demos": BuiltInImporter(
        description=".hdf5 or .h5 with a group a demonstration: robomimic, LIBERO, ManiSkill",
        accepts=_asking("demos", "is_demos", ".hdf5", ".h5"),
        read=_file_reader("demos", "read_demos"),
    ),
    "d4rl": BuiltInImporter(
        description=".hdf5 or .h5, a row a transition, laid out as D4RL does",
        accepts=_no_other(_has_ending(".hdf5", ".h5"), "demos"),
        read=_file_reader("transitions", "read_d4rl"),
    ),
    "pickle": BuiltInImporter(
        description=".pkl or .pickle with --allow-pickle: Stable-Baselines3 buffers, DAPG and other lists of paths",
        accepts=_has_ending(".pkl", ".pickle"),
        read=_read_pickle,
    ),
}
IMPORTERS = Registry[Importer]("importer", "idaq.importers", BUILT_IN, accept_like(Importer))


def importer_of(source: str, name: str | None = None) -> Importer:
    """The importer `name`; without a name the first that accepts the source, those that ship before all others.

    Raises UsageError where none does, or there is no such importer.
    """
    if name is not None:
        return IMPORTERS.get(name)
    for known in IMPORTERS.names():
        importer = IMPORTERS.get(known)
        if importer.accepts(source):
            return importer
    from idaq.share.importers.described import nothing_known

    raise nothing_known(source, _path(source))


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The dataset that an import made."""

    dataset_id: str
    path: Path
    content_digest: str
    tasks: int
    episodes: int
    notes: tuple[str, ...]
    """what was cut, cast, dropped or assumed"""
    warnings: tuple[str, ...]
    """code of unknown origin that its documents name"""


def import_dataset(
    sources: Sequence[str | Path],
    new_id: str | None = None,
    *,
    importer: str | None = None,
    tasks: Sequence[str] = (),
    params: Mapping[str, float | list[float]] | None = None,
    family: str | None = None,
    task_indices: Sequence[int] = (),
    env: str | None = None,
    env_settings: Mapping[str, Any] | None = None,
    splits: Mapping[str, str] | None = None,
    test_tasks: int | None = None,
    description: str | None = None,
    authors: Sequence[str] = (),
    license: str | None = None,
    compress: Sequence[str] = (),
    citation: str | None = None,
    source: str | None = None,
    allow_pickle: bool = False,
    strict: bool = False,
    root: str | Path | None = None,
    show: ShowProgress = show_nothing,
) -> Imported:
    """Make a verified dataset of other people's data; several sources become several tasks, in the order given.

    `importer` names the importer of all sources, which are else recognised one by one. `tasks` names the tasks, one a
    source; `params` are those of the only one. `family` makes them tasks of a family, by `task_indices` or parameters;
    `env` is an environment of your own, made with `env_settings` and each task's parameters: see `idaq.share.links`.
    `splits` names the tasks of each split, `test_tasks` draws so many into `test`; the others are in `train`.
    `compress` names columns to compress, such as pictures. `strict` writes nothing if there is anything to note. A
    .zarr is an idaq dataset: it comes alone and keeps its id.

    Raises UsageError for sources, names or an id that cannot be, DatasetError for data that cannot be or notes under
    `strict`, DatasetExistsError if the id is taken, CorruptDatasetError for what is damaged.
    """
    from idaq.core.ids import datasets_root, parse_id
    from idaq.core.notes import refuse_notes
    from idaq.format.importing import dataset_source, state_attribution, write_source
    from idaq.share.links import assign_splits, link
    from idaq.share.sources import read_sources

    texts, base = [str(source) for source in sources], datasets_root(root)
    if importer is None and any(map(_is_idaq_zarr, texts)):
        whose = (authors, license, citation, source)
        stated = (new_id, family, env, splits, test_tasks, description, *whose, tasks, params, compress)
        if len(texts) > 1 or any(stated):
            said = "a .zarr is an idaq dataset: it comes alone and states its id, tasks and whose it is itself"
            raise UsageError(
                said, hint="idaq dataset relabel changes id, description, authors, licence, citation and source"
            )
        return _imported(_import_zarr(os.path.expanduser(texts[0]), base, show), ())
    if new_id is None:
        raise UsageError("the new dataset needs an id", hint="--id me/family/name-v0")
    parse_id(new_id)
    with show("reading " + ", ".join(texts), len(texts), "sources") as advance:
        read = read_sources(
            texts,
            importer=importer,
            tasks=tasks,
            params=params,
            allow_pickle=allow_pickle,
            root=base,
            progress=advance,
        )
    link(read, family, task_indices, env, env_settings or {})
    assign_splits(read, splits or {}, test_tasks)
    state_attribution(read, authors, license, citation, source)
    read.compress = list(dict.fromkeys([*read.compress, *compress]))
    made = dataset_source(
        read, new_id, NO_FAMILY if family is None else family, description or f"Imported from {read.origin}."
    )
    if strict:
        refuse_notes(made.notes)
    episodes = sum(len(task.episodes) for task in read.tasks)
    return _imported(write_source(made, episodes, base, show), made.notes)


def _is_idaq_zarr(source: str) -> bool:
    """Whether a folder or URL is a dataset in our Zarr form, and no replay buffer."""
    return source.rstrip("/").endswith(ZARR) and not BUILT_IN["zarr-buffer"].accepts(source)


def _import_zarr(url: str, root: Path, show: ShowProgress) -> Path:
    from idaq.format.zarr.reader import open_zarr
    from idaq.format.zarr.transfer import import_zarr

    with show(f"reading {url}", len(open_zarr(url).episodes), "episodes") as advance:
        return import_zarr(url, root, advance)


def _imported(path: Path, notes: tuple[str, ...]) -> Imported:
    from idaq.format.reader import open_stored
    from idaq.format.verify import warnings_of

    manifest = open_stored(path).manifest
    return Imported(
        dataset_id=manifest.dataset_id,
        path=path,
        content_digest=manifest.content_digest,
        tasks=manifest.counts.tasks,
        episodes=manifest.counts.episodes,
        notes=notes,
        warnings=tuple(warning.what for warning in warnings_of(path)),
    )
