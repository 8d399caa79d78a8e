"""`idaq dataset import`: what is told, what --strict refuses, and how several files become several tasks."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Idaq
from tests.share.importers.test_minari import episode, made
from tests.share.test_sources import archive

pytestmark = pytest.mark.usefixtures("in_world")


def test_notes_are_told_and_written_nowhere_else_than_stdout(idaq: Idaq, tmp_path: Path) -> None:
    done = idaq("dataset", "import", archive(tmp_path / "a.npz", rewards=np.ones(4, int)), "--id", "me/told/a-v0")
    assert done.code == 0, done.err
    assert "note: a: 4 numbers of rewards cast from int64 to float32\n" in done.out
    again = idaq("dataset", "import", str(tmp_path / "a.npz"), "--id", "me/told/b-v0", "--json")
    assert "a: 4 numbers of rewards cast from int64 to float32" in json.loads(again.out)["notes"]


def test_strict_names_every_note_and_writes_nothing(idaq: Idaq, world: Path, tmp_path: Path) -> None:
    file = archive(tmp_path / "a.npz", rewards=np.ones(4, int))
    done = idaq("dataset", "import", file, "--id", "me/strict/a-v0", "--strict")
    assert (done.code, done.out) == (1, "")
    for note in ("4 numbers of rewards cast", "no action bounds are known", "no observation bounds are known"):
        assert note in done.err
    assert not (world / "datasets/me/strict").exists()
    whole = archive(tmp_path / "b.npz", action_low=[-1], action_high=[1], observation_low=[0], observation_high=[9])
    whose = ("--author", "Ada", "--license", "MIT")
    assert idaq("dataset", "import", whole, "--id", "me/strict/a-v0", "--strict", *whose).code == 0


def test_two_files_named_on_the_command_line(idaq: Idaq, tmp_path: Path) -> None:
    files = archive(tmp_path / "a.npz"), archive(tmp_path / "b.npz", 10)
    done = idaq("dataset", "import", *files, "--id", "me/two/x-v0", "--task", "left", "--task", "right", "--json")
    assert json.loads(done.out)["tasks"] == 2
    one = idaq(
        "dataset", "import", files[0], "--id", "me/one/x-v0", "--task", "left", "--param", "goal=0.5,1", "--json"
    )
    tasks = Path(json.loads(one.out)["path"]) / "data/idaq/tasks.jsonl"
    assert json.loads(tasks.read_text())["params"] == {"goal": [0.5, 1.0]}


@pytest.mark.parametrize(
    "more", [("--task", "left"), ("--id", "me/x/a-v0"), ("--family", "foo"), ("--description", "Mine."), ("y.zarr",)]
)
def test_options_that_a_zarr_form_has_no_use_for_are_refused(idaq: Idaq, more: tuple[str, ...]) -> None:
    done = idaq("dataset", "import", "x.zarr", *more)
    assert done.code == 2
    assert "states its id, tasks and whose it is itself" in done.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--family", "../x"), "'../x' is no name of a family"),
        (("--family", ""), "'' is no name of a family"),
        (("--author", " "), "authors.0: must be one line of text"),
        (("--license", "a\nb"), "license: must be one line of text"),
    ],
)
def test_words_that_cannot_be_written_are_refused(idaq: Idaq, tmp_path: Path, more: tuple[str, str], said: str) -> None:
    done = idaq("dataset", "import", archive(tmp_path / "a.npz"), "--id", "me/words/a-v0", *more)
    assert done.code == 2
    assert said in done.err


TRAIN = ("--out", "run", "--set", "steps=2", "--set", "log_every=2", "--set", "threads=1")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rewards": np.full(5, 1e100)}, "rewards of episode 0 hold NaN, infinity or a number beyond float32"),
        ({"observations": np.full((6, 3), 1e300)}, "observations of episode 0 hold NaN, infinity or a number beyond"),
        ({"rewards": np.full(5, np.nan)}, "episode 0: rewards holds NaN or infinity in row 0"),
    ],
)
def test_training_refuses_what_it_cannot_learn_from(
    idaq: Idaq, world: Path, tmp_path: Path, changed: dict[str, np.ndarray], said: str
) -> None:
    made(tmp_path, episode(**changed))
    done = idaq("train", "--dataset", str(tmp_path / "other/made-v0"), *TRAIN)
    assert done.code == 1
    assert said in done.err
    assert not (world / "run").exists()


def test_training_refuses_actions_without_width_or_bounds(idaq: Idaq, tmp_path: Path) -> None:
    import gymnasium as gym

    flat = gym.spaces.Box(np.float32([-1, 0]), np.float32([1, 0]))
    endless = gym.spaces.Box(np.float32([-np.inf, -1]), np.float32([np.inf, 1]))
    for name, space, said in [("flat", flat, "1 in [0, 0]"), ("endless", endless, "0 in [-inf, inf]")]:
        made(tmp_path / name, episode(), action=space)
        done = idaq("train", "--dataset", str(tmp_path / name / "other/made-v0"), *TRAIN)
        assert done.code == 1
        assert f"numbers of the action have no width or no bounds, so none can be chosen: {said}" in done.err


def test_imported_tasks_get_a_test_split_afterwards(idaq: Idaq, tmp_path: Path) -> None:
    files = [archive(tmp_path / f"{name}.npz", number) for number, name in enumerate("abc")]
    done = idaq("dataset", "import", *files, "--id", "me/late/x-v0")
    assert "no test tasks (idaq dataset split me/late/x-v0 --test TASKS)" in done.out
    split = idaq("dataset", "split", "me/late/x-v0", "--test", "c")
    assert split.code == 0, split.err
    assert "me/late/x-v1: 3 tasks, 3 episodes" in split.out
    assert "no test tasks" not in split.out
    shown = json.loads(idaq("dataset", "show", "me/late/x-v1", "--json").out)
    assert shown["splits"] == {"train": [0, 1], "test": [2]}
    assert [obstacle["what"] for obstacle in shown["uses"]["adapt"]] == ["no random reference", "no environment known"]
    again = json.loads(idaq("dataset", "split", "me/late/x-v0", "--test-tasks", "2", "--json").out)
    assert again["id"] == "me/late/x-v2"
    named = idaq("dataset", "split", "me/late/x-v0", "--train", "a", "--test", "1:", "--id", "me/late/chosen-v0")
    assert named.code == 0, named.err
    assert idaq("dataset", "verify", "me/late/chosen-v0").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no task is put into a split"),
        (("--train", "a"), "tasks are in no split: b"),
        (("--test", "nobody"), "unknown task 'nobody'"),
        (("--test", "a", "--train", "a,b"), "task 0 would be in two splits"),
    ],
)
def test_a_split_that_cannot_be_is_refused(idaq: Idaq, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    files = [archive(tmp_path / f"{name}.npz", number) for number, name in enumerate("ab")]
    idaq("dataset", "import", *files, "--id", "me/refused/x-v0")
    done = idaq("dataset", "split", "me/refused/x-v0", *options)
    assert done.code == 2
    assert said in done.err


def test_a_family_or_an_environment_that_does_not_match_is_told_before_anything_is_written(
    idaq: Idaq, world: Path, tmp_path: Path
) -> None:
    file = archive(tmp_path / "a.npz")
    for more, said in [
        (("--family", "point-robot"), "the family point-robot"),
        (("--env", "Pendulum-v1"), "the environment Pendulum-v1 of (3,)"),
        (("--family", "point-robot", "--task-index", "one"), "--task-index one is not understood"),
    ]:
        done = idaq("dataset", "import", file, "--id", "me/mismatch/a-v0", *more)
        assert done.code in (1, 2)
        assert said in done.err
    assert not (world / "datasets/me/mismatch").exists()


def test_training_says_first_that_nothing_can_be_adapted_to(idaq: Idaq, tmp_path: Path) -> None:
    idaq("dataset", "import", archive(tmp_path / "a.npz"), "--id", "me/alone/a-v0")
    done = idaq("train", "--dataset", "me/alone/a-v0", *TRAIN)
    assert "note: me/alone/a-v0 can be adapted to by idaq adapt: no: no test tasks (idaq dataset split" in done.err
