"""What can be done with a dataset is said before anybody waits for it, with what brings the rest."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.adapt.uses import uses, uses_of
from idaq.collect.collect import Collected
from idaq.format.documents import UNKNOWN_ENV, EnvReference, TaskRecord
from idaq.format.reader import open_stored
from tests.share.importers.test_minari import episode, made

ID = "me/own/swings-v0"
OWN = EnvReference(id="my.envs:swing", entry_point="my.envs:swing", kwargs={"mass": 2.0}, max_episode_steps=None)


@pytest.fixture
def tasks(collected: Collected) -> list[TaskRecord]:
    return list(open_stored(collected.path).tasks)


def bare(task: TaskRecord, split: str, env: EnvReference = UNKNOWN_ENV) -> TaskRecord:
    """The task as an import leaves it."""
    return replace(task, split=split, env=env, reset_options={}, reference=replace(task.reference, random=None))


def test_what_idaq_collected_can_be_used_for_all(collected: Collected) -> None:
    assert uses_of(collected.path).lines() == ["can be trained from: yes", "can be adapted to by idaq adapt: yes"]


def test_imported_data_lack_each_thing_that_adapting_takes(tasks: list[TaskRecord]) -> None:
    known = uses(ID, "imported", [bare(task, "train") for task in tasks])
    assert known.lines() == [
        "can be trained from: yes",
        "can be adapted to by idaq adapt: no: no test tasks (idaq dataset split me/own/swings-v0 --test TASKS); "
        "no random reference (idaq dataset reference me/own/swings-v0 --env ENV); "
        "no environment known (idaq adapt RUN --env ENV)",
    ]


def test_an_environment_that_is_known_is_named_with_its_arguments(tasks: list[TaskRecord]) -> None:
    known = uses(ID, "imported", [bare(tasks[0], "train"), bare(tasks[1], "test", OWN)])
    assert [obstacle.fix for obstacle in known.adapt] == [
        "idaq dataset reference me/own/swings-v0 --env my.envs:swing",
        "one system at a time: idaq adapt RUN --env my.envs:swing --env-arg mass=2.0",
    ]


def test_the_environment_that_is_named_is_that_of_a_test_task(tasks: list[TaskRecord]) -> None:
    other = replace(OWN, kwargs={"mass": 9.0})
    known = uses(ID, "imported", [bare(tasks[0], "train", OWN), bare(tasks[1], "test", other)])
    assert known.adapt[-1].fix == "one system at a time: idaq adapt RUN --env my.envs:swing --env-arg mass=9.0"


def test_only_test_tasks_need_a_reference(tasks: list[TaskRecord]) -> None:
    trained = [bare(task, "train") if task.split == "train" else task for task in tasks]
    assert uses(ID, "point-robot", trained).adapt == []
    assert [o.what for o in uses(ID, "point-robot", [bare(task, "train") for task in tasks]).adapt] == [
        "no test tasks",
        "no random reference",
    ]


def test_nothing_to_learn_from(tasks: list[TaskRecord]) -> None:
    (obstacle,) = uses(ID, "point-robot", [replace(task, split="test") for task in tasks]).train
    assert str(obstacle) == "no tasks in split train (idaq dataset split me/own/swings-v0 --train TASKS)"


def test_test_tasks_must_be_those_of_the_family(tasks: list[TaskRecord]) -> None:
    loose = [replace(task, reset_options={}) if task.split == "test" else task for task in tasks]
    (obstacle,) = uses(ID, "point-robot", loose).adapt
    assert "2 test tasks that are not tied to one of the family point-robot: goal-" in obstacle.what


def test_a_family_that_a_document_names_is_not_imported_for_the_verdict(tasks: list[TaskRecord]) -> None:
    family = "no_such_module_anywhere:family"
    known = uses(ID, family, tasks)
    assert (known.adapt, known.family) == ([], family)
    assert known.lines()[1] == f"can be adapted to by idaq adapt: yes, with --family {family}"
    assert uses(ID, family, tasks, allow=[family]).lines()[1] == "can be adapted to by idaq adapt: yes"


def test_words_of_a_document_are_quoted_where_a_shell_would_run_them(tasks: list[TaskRecord]) -> None:
    hostile = replace(OWN, id="$(rm -rf ~)", kwargs={"a; b": "`c`"})
    fix = uses(ID, "imported", [bare(tasks[0], "train"), bare(tasks[1], "test", hostile)]).adapt[-1].fix
    assert "--env '$(rm -rf ~)' --env-arg 'a; b=\"`c`\"'" in fix


def test_a_minari_dataset_of_another_maker_is_imported_first(tmp_path: Path) -> None:
    made(tmp_path, episode())
    assert uses_of(tmp_path / "other/made-v0").lines() == [
        "can be trained from: yes",
        "can be adapted to by idaq adapt: no: it does not say what its tasks are "
        "(idaq dataset import minari:other/made-v0 --id me/family/name-v0)",
    ]


def test_the_verdict_brings_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import idaq.adapt.uses, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
