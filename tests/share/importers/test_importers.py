"""Every importer, ours and anybody's: each knows its own sources and refuses all others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.record import record
from idaq.core.errors import DatasetError, DatasetExistsError, IdaqError, PluginError, UsageError
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.share.exporters import export
from idaq.share.importers import BUILT_IN, IMPORTERS, ReadOptions, import_dataset, importer_of
from tests.share.importers import sources as layouts
from tests.share.importers.test_focal import save, walk
from tests.share.importers.test_importing import d4rl
from tests.share.importers.test_minari import episode, made
from tests.share.importers.test_own import exported
from tests.share.test_sources import archive

LINES = """
import json
from pathlib import Path

import numpy as np

from idaq.core.types import Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask


class Lines:
    description = "a .log of JSON lines, an episode each"

    def accepts(self, source):
        return source.endswith(".log")

    def read(self, source, options):
        episodes = []
        for line in Path(source).read_text().splitlines():
            stated = json.loads(line)
            length = len(stated["rewards"])
            ends = np.arange(length) == length - 1
            episodes.append(
                ImportedEpisode(
                    episode=Episode(
                        observations=np.array(stated["observations"], np.float32),
                        actions=np.array(stated["actions"], np.float32),
                        rewards=np.array(stated["rewards"], np.float32),
                        terminated=ends,
                        truncated=ends & False,
                    )
                )
            )
        imported = Import(tasks=[ImportedTask(name="robot", episodes=episodes)], origin=Path(source).name)
        imported.notes.add(imported.origin, "episodes are taken to end in a terminal", len(episodes))
        return imported
"""
LOG = json.dumps({"observations": [[0], [1], [2]], "actions": [[0.5], [-0.5]], "rewards": [1, 2]}) + "\n"


def recording(out: Path) -> Path:
    return record(out, env="Pendulum-v1", policy="random", task="a", episodes=1, max_steps=3).path


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """A source for each importer that ships."""
    made(tmp_path, episode())
    return {
        "minari": "minari:other/made-v0",
        "focal-npy": str(save(tmp_path, walk())),
        "d4rl": str(d4rl(tmp_path / "x.hdf5")),
        "npz": archive(tmp_path / "x.npz"),
        "recording": str(recording(tmp_path / "recorded")),
        "export": str(exported(tmp_path, "numbers", "parquet", "x.parquet")),
        "lerobot": str(layouts.lerobot(tmp_path / "lerobot")),
        "zarr-buffer": str(layouts.zarr_buffer(tmp_path / "x.zarr")),
        "imitation": str(layouts.imitation(tmp_path / "imitation.npz")),
        "stable-baselines": str(layouts.stable_baselines(tmp_path / "sb.npz")),
        "ogbench": str(layouts.ogbench(tmp_path / "ogbench.npz")),
        "demos": str(layouts.robomimic(tmp_path / "demos.hdf5")),
        "pickle": str(layouts.paths(tmp_path / "x.pkl")),
    }


def test_each_importer_accepts_its_own_and_reads_nothing_else(sources: dict[str, str], tmp_path: Path) -> None:
    assert set(sources) == set(BUILT_IN) - {"rlds"}, "which tests/interop makes, with TensorFlow Datasets"
    options = ReadOptions(root=tmp_path, allow_pickle=True)
    for name in sources:
        importer = IMPORTERS.get(name)
        assert [other for other, source in sources.items() if importer.accepts(source)] == [name]
        assert importer.read(sources[name], options).tasks
        for other in set(sources) - {name}:
            if (name, other) == ("ogbench", "npz"):
                continue  # terminals and rewards: who names OGBench says that rows are T + 1
            with pytest.raises(IdaqError):
                importer.read(sources[other], options)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("source", ["", "none", "x.csv", "minari:", "s3://bucket/none", "\0", "none.npz"])
def test_what_is_not_there_is_refused_in_words(name: str, source: str, tmp_path: Path) -> None:
    importer = IMPORTERS.get(name)
    importer.accepts(source)
    with pytest.raises(IdaqError):
        importer.read(source, ReadOptions(root=tmp_path))


def test_the_whole_way_from_python(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz")
    labels: list[str] = []

    def show(label: str, _total: int, _unit: str):
        from idaq.core.types import show_nothing

        labels.append(label)
        return show_nothing(label, _total, _unit)

    done = import_dataset([source], "me/some/a-v0", authors=["Ada"], license="MIT", root=tmp_path, show=show)
    assert labels == [f"reading {source}", "writing me/some/a-v0"]
    assert (done.dataset_id, done.tasks, done.episodes, done.warnings) == ("me/some/a-v0", 1, 1, ())
    assert done.path == tmp_path / "me/some/a-v0"
    assert any("no action bounds are known" in note for note in done.notes)
    assert verify(done.path) == []
    assert open_dataset(done.path).manifest.recipe.authors == ["Ada"]
    with pytest.raises(DatasetExistsError):
        import_dataset([source], "me/some/a-v0", root=tmp_path)
    with pytest.raises(DatasetError, match="--strict allows no cut"):
        import_dataset([source], "me/some/b-v0", strict=True, root=tmp_path)
    assert not (tmp_path / "me/some/b-v0").exists()


def test_columns_are_compressed_when_they_are_named(tmp_path: Path) -> None:
    source = archive(tmp_path / "a.npz")
    plain = import_dataset([source], "me/some/plain-v0", root=tmp_path)
    packed = import_dataset([source], "me/some/packed-v0", compress=["observations"], root=tmp_path)
    assert packed.content_digest == plain.content_digest
    assert open_stored(packed.path).chunks.keys() == {"observations"}
    with pytest.raises(DatasetError, match="there is no column pixels: the episodes have observations, actions"):
        import_dataset([source], "me/some/none-v0", compress=["pixels"], root=tmp_path)


def test_a_zarr_keeps_its_id(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "x.zarr")
    done = import_dataset([tmp_path / "x.zarr"], root=tmp_path / "root")
    assert (done.dataset_id, done.episodes, done.notes) == ("idaq/made/tagged-v0", 8, ())


def test_an_importer_from_outside_is_one_class_in_one_file(
    tmp_path: Path, own_modules: Callable[[str, str], None]
) -> None:
    own_modules("their_lines", LINES)
    (tmp_path / "robot.log").write_text(LOG)
    with pytest.raises(UsageError, match="nothing that can be imported") as caught:
        import_dataset(["robot.log"], "me/robot/a-v0", root=tmp_path)
    assert "--from NAME" in str(caught.value.hint)
    done = import_dataset(["robot.log"], "me/robot/a-v0", importer="their_lines:Lines", root=tmp_path)
    assert "robot.log: 1 episodes are taken to end in a terminal" in done.notes
    (read,) = open_dataset(done.path)
    np.testing.assert_array_equal(read.observations, [[0], [1], [2]])
    assert read.terminated.tolist() == [False, True]


def test_what_is_no_importer_is_refused() -> None:
    with pytest.raises(PluginError, match="is no importer: it has no description, accepts, read"):
        importer_of("x.npz", "json:dumps")
