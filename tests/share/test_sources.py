"""Several sources in one import: each its own task, in the order given, in one dtype and one space."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from idaq.core.errors import DatasetError, UsageError
from idaq.format.importing import Import, dataset_source, unify
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.share.sources import parse_params, read_sources
from tests.share.importers.test_minari import episode, made


def archive(path: Path, start: float = 0, **changed: Any) -> str:
    """Four steps that observe start, start + 1, ..., one episode."""
    s = start + np.arange(4)[:, None]
    standard: dict[str, Any] = {
        "observations": s.astype(np.float32),
        "next_observations": (s + 1).astype(np.float32),
        "actions": np.full((4, 1), 0.5, np.float32),
        "rewards": np.ones(4, np.float32),
        "terminals": np.arange(4) == 3,
        "timeouts": np.zeros(4, bool),
    }
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **(standard | changed))
    return str(path)


def opened(imported: Import, root: Path) -> Dataset:
    path = write_dataset(dataset_source(imported, "me/some/imported-v0", "imported", "Imported."), root, "# card\n")
    assert verify(path) == []
    return open_dataset(path)


def test_two_files_are_two_tasks_in_order(tmp_path: Path) -> None:
    imported = read_sources([archive(tmp_path / "Goal B.npz", 10), archive(tmp_path / "goal_a.npz")])
    dataset = opened(imported, tmp_path)
    assert [(task.task_index, task.task_id) for task in dataset.tasks] == [(0, "goal-b"), (1, "goal_a")]
    assert [e.observations[0, 0] for e in dataset] == [10, 0]


def test_tasks_and_a_parameter_can_be_named(tmp_path: Path) -> None:
    one, two = archive(tmp_path / "a.npz"), archive(tmp_path / "b.npz")
    assert [t.name for t in read_sources([one, two], tasks=["left", "right"]).tasks] == ["left", "right"]
    (task,) = opened(read_sources([one], tasks=["left"], params={"goal": [0.5, 1.0], "mass": 2.0}), tmp_path).tasks
    assert (task.task_id, task.params) == ("left", {"goal": [0.5, 1.0], "mass": 2.0})


def test_files_with_indices_of_their_own_are_moved_apart_and_told(tmp_path: Path) -> None:
    own = {"task_index": [0, 0, 3, 3], "timeouts": np.arange(4) == 1}
    sources = [archive(tmp_path / name, **own) for name in ("a.npz", "b.npz")] + [archive(tmp_path / "c.npz")]
    imported = read_sources(sources)
    assert [(t.index, t.name) for t in imported.tasks] == [
        (0, "a.000"), (3, "a.003"), (4, "b.000"), (7, "b.003"), (8, "c"),
    ]  # fmt: skip
    assert "b.npz: 2 task indices of the file are written 4 higher" in list(imported.notes)
    assert len(opened(imported, tmp_path)) == 5


def test_tasks_of_one_name_are_told_apart(tmp_path: Path) -> None:
    sources = [archive(tmp_path / name / "data.npz") for name in ("a", "b")]
    imported = read_sources(sources)
    assert [task.name for task in imported.tasks] == ["0-data", "1-data"]
    assert "data: 2 tasks of one name get their index before it" in list(imported.notes)


def test_names_told_apart_are_not_those_of_others(tmp_path: Path) -> None:
    sources = [archive(tmp_path / name) for name in ("a/x.npz", "b/x.npz", "0-x.npz")]
    assert [task.name for task in read_sources(sources).tasks] == ["0.1-x", "1-x", "0-x"]


def test_long_names_stay_apart(tmp_path: Path) -> None:
    imported = read_sources([archive(tmp_path / f"{'x' * 90}.npz", task_index=np.arange(4))])
    assert [task.name[-4:] for task in imported.tasks] == [".000", ".001", ".002", ".003"]


def test_unequal_dtypes_become_the_widest_and_are_told(tmp_path: Path) -> None:
    imported = read_sources([
        archive(tmp_path / "a.npz"),
        archive(tmp_path / "b.npz", rewards=np.full(4, 0.1), observations=np.arange(4)[:, None].astype(np.float64)),
    ])  # fmt: skip
    dataset = opened(imported, tmp_path)
    assert {(e.observations.dtype.str, e.rewards.dtype.str) for e in dataset} == {("<f8", "<f8")}
    assert dataset.episode(1).rewards.tolist() == [0.1] * 4
    notes = list(imported.notes)
    assert "a: 5 numbers of observations cast from float32 to float64" in notes
    assert "a: 4 numbers of rewards cast from float32 to float64" in notes


def test_sizes_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    sources = [archive(tmp_path / "a.npz"), archive(tmp_path / "b.npz", actions=np.zeros((4, 2)))]
    with pytest.raises(
        DatasetError, match=r"b has actions of shape \(2,\), a of shape \(1,\): they are no one dataset"
    ):
        unify(read_sources(sources))


def test_spaces_that_differ_are_written_so_that_both_fit(tmp_path: Path) -> None:
    wide = episode()
    wide["actions"] = wide["actions"] * 5
    made(tmp_path / "one", episode())
    made(tmp_path / "two", wide, action=gym.spaces.Box(-5, 5, (2,)), dataset_id="other/wide-v0")
    (tmp_path / "two/other/made-v0").rename(tmp_path / "one/other/wide-v0")
    imported = read_sources(["minari:other/made-v0", "minari:other/wide-v0"], root=tmp_path / "one")
    observations, actions = unify(imported)
    assert (actions.low.tolist(), actions.high.tolist(), observations.high.tolist()) == ([-5, -5], [5, 5], [8, 8, 8])
    assert list(imported.notes) == [
        "minari: other/made-v0: action bounds are narrower than those of all sources together, which are written"
    ]


def test_bounds_that_one_source_states_serve_the_other_and_are_told(tmp_path: Path) -> None:
    stated = archive(tmp_path / "a.npz", action_low=[-3], action_high=[3], observation_low=[0], observation_high=[9])
    imported = read_sources([stated, archive(tmp_path / "b.npz", 7)])
    observations, actions = unify(imported)
    assert (actions.high[0], observations.high[0]) == (3, 11)
    assert "b.npz: no action bounds are known: those of the other sources are taken" in list(imported.notes)
    assert any("2 observations lie outside of the stated bounds" in note for note in imported.notes)


def test_environments_that_differ_are_told_and_one_that_is_shared_is_kept(tmp_path: Path) -> None:
    made(tmp_path, episode())
    mixed = read_sources(["minari:other/made-v0", archive(tmp_path / "a.npz")], root=tmp_path)
    assert any("the environments differ" in note for note in mixed.notes)
    assert read_sources(["minari:other/made-v0"], root=tmp_path).env_spec_json is not None


def test_what_was_exported_comes_back_without_a_note(collected: Any, tmp_path: Path) -> None:
    from idaq.share.exporters.npz import export_npz

    stored = open_stored(collected.path)
    export_npz(stored, tmp_path / "x.npz")
    imported = read_sources([str(tmp_path / "x.npz")])
    unify(imported)
    assert list(imported.notes) == []
    assert opened(imported, tmp_path).action_high.tolist() == open_dataset(collected.path).action_high.tolist()


def test_notes_are_kept_in_the_provenance(tmp_path: Path) -> None:
    imported = read_sources([archive(tmp_path / "a.npz", rewards=np.ones(4, np.int8))])
    path = opened(imported, tmp_path).path
    kept = open_stored(Path(path)).manifest.provenance.notes
    assert kept == list(imported.notes)
    assert "a: 4 numbers of rewards cast from int8 to float32" in kept


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz")
    (tmp_path / "link.npz").symlink_to(file)
    (tmp_path / "hard.npz").hardlink_to(file)
    for other in (file, f"{tmp_path}/./a.npz", str(tmp_path / "link.npz"), str(tmp_path / "hard.npz")):
        with pytest.raises(UsageError, match="are one and the same"):
            read_sources([file, other])
    assert len(read_sources([str(tmp_path / "link.npz")]).tasks) == 1


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (2, {"tasks": ["a"]}, "--task is given 1 times for 2 sources"),
        (2, {"tasks": ["a", "a"]}, "--task gives two sources one name"),
        (1, {"tasks": ["Left Hand"]}, "'Left Hand' is no task id"),
        (2, {"params": {"mass": 1.0}}, "--param is for one source"),
    ],
)
def test_names_that_cannot_be_are_refused(count: int, options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_sources([archive(tmp_path / f"{number}.npz") for number in range(count)], **options)


def test_one_name_for_a_file_of_several_tasks_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", task_index=[0, 0, 1, 1])
    with pytest.raises(UsageError, match=r"a\.npz holds 2 tasks; --task is for a source of one"):
        read_sources([file], tasks=["left"])


def test_parameters_as_they_are_typed() -> None:
    assert parse_params(["goal=0.5,1", "mass=2"]) == {"goal": [0.5, 1.0], "mass": 2.0}
    for wrong in (["mass"], ["mass="], ["=2"], ["mass=heavy"], ["mass=inf"], ["mass=1,nan"], ["mass=1", "mass=2"]):
        with pytest.raises(UsageError, match="is not understood"):
            parse_params(wrong)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "endless.npz")
    for source, said in [("endless.npz", "no file"), ("x.csv", "nothing that can be imported"), ("x.npz", "no file")]:
        with pytest.raises(UsageError, match=said):
            read_sources([str(tmp_path / source)])
