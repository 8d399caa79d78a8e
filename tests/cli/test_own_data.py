"""Data of one's own, the whole way: three pendulums are recorded, imported, measured and learned from; what cannot be
adapted to is said where it is known, with the command that brings it."""

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import BRIEF, QUICK, Idaq, settings
from tests.share.pendulums import FAMILY, SOURCE

pytestmark = pytest.mark.usefixtures("in_world")
ENV = ("--env", "my_three:pendulum")
TASKS = {"light": 0.5, "normal": 1.0, "heavy": 2.0}


def test_pendulums_are_recorded(idaq: Idaq, world: Path) -> None:
    (world / "my_three.py").write_text(SOURCE)
    for task, mass in TASKS.items():
        named = ("--task", task, "--param", f"mass={mass}", "--out", f"recorded/{task}")
        done = idaq("record", *ENV, *named, "--policy", "my_three:push", "--episodes", "4")
        assert done.code == 0, done.err
        assert f"recorded/{task}: 4 episodes of {task}, 4 of them recorded now" in done.out


def test_the_import_says_what_can_be_done_with_them(idaq: Idaq) -> None:
    folders = [f"recorded/{task}" for task in TASKS]
    done = idaq("dataset", "import", *folders, "--id", "me/pendulum/three-v0", "--split", "test=heavy")
    assert done.code == 0, done.err
    assert "can be trained from: yes" in done.out
    line = next(line for line in done.out.splitlines() if line.startswith("can be adapted to by idaq adapt: no: "))
    assert "no random reference (idaq dataset reference me/pendulum/three-v0 --env my_three:pendulum)" in line
    assert "one system at a time: idaq adapt RUN --env my_three:pendulum --env-arg mass=2.0" in line
    assert "no test tasks" not in line


def test_random_actions_are_measured_as_it_was_told(idaq: Idaq) -> None:
    done = idaq("dataset", "reference", "me/pendulum/three-v0", *ENV, "--episodes", "3")
    assert done.code == 0, done.err
    assert "me/pendulum/three-v1: 3 tasks, 12 episodes" in done.out
    shown = json.loads(idaq("dataset", "show", "me/pendulum/three-v1", "--json").out)
    assert [task["reference"]["random"]["n"] for task in shown["tasks"]] == [3, 3, 3]
    assert shown["splits"] == {"train": [0, 1], "test": [2]}
    assert not any(obstacle["what"] == "no random reference" for obstacle in shown["uses"]["adapt"])
    assert idaq("dataset", "verify", "me/pendulum/three-v1").code == 0


def test_training_begins_with_what_is_missing_and_learns(idaq: Idaq, world: Path) -> None:
    short = settings((*QUICK, "meta_batch=2", "steps=50"))
    done = idaq("train", "--dataset", "me/pendulum/three-v1", "--out", "run", *short)
    assert done.code == 0, done.err
    assert "note: me/pendulum/three-v1 can be adapted to by idaq adapt: no: no task family" in done.err
    assert "idaq adapt RUN --env my_three:pendulum --env-arg mass=2.0" in done.err
    tasks = json.loads((world / "run/tasks.json").read_text())["tasks"]
    assert [task["params"] for task in tasks] == [{"mass": mass} for mass in TASKS.values()]


def test_the_command_that_is_given_adapts_to_one_of_the_systems(idaq: Idaq) -> None:
    shown = json.loads(idaq("dataset", "show", "me/pendulum/three-v1", "--json").out)
    (fix,) = [obstacle["fix"] for obstacle in shown["uses"]["adapt"]]
    _, _, command = fix.partition("one system at a time: idaq ")
    given = ["run" if word == "RUN" else word for word in shlex.split(command)]
    done = idaq(
        *given,
        "--strategies",
        "posterior",
        *settings(("episodes=2", "reference=1", "report_at=[1, 2]")),
        "--fresh",
        "1",
    )
    assert done.code == 0, done.err


def test_more_episodes_and_another_task_are_appended(idaq: Idaq) -> None:
    more = ("--task", "huge", "--param", "mass=4", "--out", "recorded/huge", "--episodes", "2")
    assert idaq("record", *ENV, *more, "--policy", "random").code == 0
    done = idaq("dataset", "append", "me/pendulum/three-v1", "recorded/huge", "recorded/light", "--json")
    assert done.code == 0, done.err
    made = json.loads(done.out)
    assert (made["id"], made["new"], made["duplicates"]) == ("me/pendulum/three-v2", 2, 4)
    shown = json.loads(idaq("dataset", "show", "me/pendulum/three-v2", "--json").out)
    assert [task["task_id"] for task in shown["tasks"]] == [*TASKS, "huge"]
    assert shown["tasks"][3]["env"]["kwargs"] == {"mass": 4.0}
    assert shown["tasks"][3]["reference"]["random"] is None
    assert shown["tasks"][0]["reference"]["random"]["n"] == 3


def test_with_a_family_of_ones_own_the_way_leads_to_adaptation(idaq: Idaq, world: Path) -> None:
    """The same recordings, found in the family by their masses; nothing of it is named twice in vain."""
    (world / "my_family.py").write_text(FAMILY)
    named = ("--family", "my_family:family")
    folders = [f"recorded/{task}" for task in TASKS]
    done = idaq("dataset", "import", *folders, "--id", "me/pendulum/family-v0", *named, "--split", "test=heavy")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == (
        "can be adapted to by idaq adapt: no: "
        "no random reference (idaq dataset reference me/pendulum/family-v0 --family my_family:family)"
    )
    done = idaq("dataset", "reference", "me/pendulum/family-v0", *named, "--episodes", "3")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "can be adapted to by idaq adapt: yes, with --family my_family:family"
    short = settings((*QUICK, "meta_batch=2", "steps=4", "log_every=2"))
    done = idaq("train", "--dataset", "me/pendulum/family-v1", "--out", "own", *short)
    assert done.code == 0, done.err
    assert "can be adapted" not in done.err
    done = idaq("adapt", "own", *named, "--strategies", "posterior", *settings(BRIEF), "--json")
    assert done.code == 0, done.err
    results = json.loads((world / "own/results.json").read_text())
    assert [task["task_id"] for task in results["tasks"]] == ["heavy"]
    assert len(results["strategies"]["posterior"]["returns"]) == 2
