"""Every exporter, ours and anybody's: whole or not at all, nothing overwritten, chosen by name or by ending."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import DatasetExistsError, PluginError, UnknownNameError, UsageError
from idaq.format.documents import About
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.share.exporters import BUILT_IN, EXPORTERS, export
from tests.format.made import PLANS, made_source

CSV = """
from pathlib import Path

from idaq.share.exporting import each_episode, new_file


class Csv:
    description = "one CSV file, a row a transition"
    ending = ".csv"
    is_folder = takes_urls = False

    def write(self, stored, out, progress):
        with new_file(Path(out)) as temporary, temporary.open("w") as file:
            for entry in each_episode(stored, progress):
                for reward in entry.episode.rewards.tolist():
                    file.write(f"{entry.number},{entry.task.task_index},{reward}\\n")
        return [f"{stored.manifest.dataset_id}: observations and actions are left out"]
"""
NEEDS_TENSORFLOW = pytest.mark.xfail(raises=UsageError, strict=True, reason="TensorFlow is not among our packages")
EVERY = [pytest.param(name, marks=NEEDS_TENSORFLOW if name == "rlds" else ()) for name in BUILT_IN]


@pytest.mark.parametrize("name", EVERY)
def test_an_export_is_whole_tells_its_progress_and_is_not_overwritten(name: str, made: Path, tmp_path: Path) -> None:
    exporter, seen = EXPORTERS.get(name), list[int]()
    out = tmp_path / f"made{exporter.ending}"
    exporter.write(open_stored(made), str(out), seen.append)
    assert out.is_dir() == exporter.is_folder
    assert sum(seen) == len(PLANS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(DatasetExistsError):
        exporter.write(open_stored(made), str(out), seen.append)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ("zarr", "rlds")])
def test_an_export_that_is_stopped_leaves_nothing(name: str, made: Path, tmp_path: Path) -> None:
    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    exporter = EXPORTERS.get(name)
    out = tmp_path / f"made{exporter.ending}"
    with pytest.raises(KeyboardInterrupt):
        exporter.write(open_stored(made), str(out), stop)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("out", ["made.npz", "made.parquet", "made.zarr"])
def test_the_ending_chooses_the_exporter(out: str, made: Path, tmp_path: Path) -> None:
    done = export(made, tmp_path / out)
    assert (done.to, done.out, done.counts.steps) == (out.partition(".")[2], str(tmp_path / out), 75)


def test_a_dataset_is_named_by_its_id_too(made: Path, made_root: Path, tmp_path: Path) -> None:
    assert export("idaq/made/tagged-v0", tmp_path / "a", "focal-npy", root=made_root).counts.episodes == len(PLANS)


@pytest.mark.parametrize(
    ("out", "to", "error", "said"),
    [
        ("x.parket", None, UnknownNameError, r"did you mean '\.parquet'"),
        ("x", None, UsageError, r"an ending \(\.npz, \.parquet, \.zarr\) or --to NAME"),
        ("x.npz", "parket", UnknownNameError, "did you mean 'parquet'"),
        ("s3://bucket/x.npz", None, UsageError, "is a URL, which npz does not write to"),
        ("x", "pathlib:Path", PluginError, "is no exporter: it has no description, ending, is_folder, takes_urls"),
    ],
)
def test_what_cannot_be_chosen_is_refused(
    out: str, to: str | None, error: type[Exception], said: str, made: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        export(made, out if "://" in out else tmp_path / out, to)


def test_an_exporter_from_outside_is_one_class_in_one_file(
    made: Path, tmp_path: Path, own_modules: Callable[[str, str], None]
) -> None:
    own_modules("their_csv", CSV)
    done = export(made, tmp_path / "made.csv", "their_csv:Csv")
    assert done.notes == ["idaq/made/tagged-v0: observations and actions are left out"]
    lines = (tmp_path / "made.csv").read_text().splitlines()
    assert len(lines) == 75
    assert lines[0].startswith("0,2,")


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "rlds"])
def test_rewards_that_are_not_known_are_told_to_be_zeros(name: str, tmp_path: Path) -> None:
    source = made_source()
    entries = [
        replace(entry, episode=replace(entry.episode, rewards=np.zeros(len(entry.episode)))) for entry in source.entries
    ]
    tasks = tuple(
        replace(task, reference=replace(task.reference, random=None, behaviour=None)) for task in source.tasks
    )
    source = replace(source, entries=entries, tasks=tasks, about={"rewards": About(known=False)})
    path = write_dataset(source, tmp_path / "root", "# reward-free\n")
    done = export(path, tmp_path / f"out{EXPORTERS.get(name).ending}", name)
    said = "idaq/made/tagged-v0: 75 rewards are not known: each is written as 0, which another reader takes for one"
    assert done.notes == [said]
