"""The random reference of data that came without: the same to the bit each time, of the right system, and told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.collect.reference import UniformActions, measure_random, short_seed, systems_of, with_random
from idaq.core.errors import DatasetError, NonFiniteError, PluginError, UsageError
from idaq.core.seeds import episode_seed
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.share.importers import import_dataset
from idaq.tasks import get_family
from idaq.tasks.systems import run_episode
from tests.share.pendulums import SOURCE, make_module, swings, swung


def test_random_actions_are_measured_in_the_environment_of_each_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stepped here by hand: other masses, other returns."""
    module, stored = make_module(tmp_path / "code", monkeypatch), swung(tmp_path)
    systems = systems_of(stored, env=f"{module}:pendulum", settings={"limit": 10})
    measured = measure_random(stored, systems, episodes=3, seed=5, root=tmp_path)
    for task in stored.tasks:
        env = gym.make("Pendulum-v1", max_episode_steps=10)
        env.unwrapped.m = task.params["mass"]  # type: ignore[attr-defined]
        returns = []
        for number in range(3):
            seed = episode_seed(5, task.task_index, 0, number) >> 33
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(1,))))
            env.reset(seed=seed)
            rewards = [float(env.step(rng.uniform([-2.0], [2.0]).astype(np.float32))[1]) for _ in range(10)]
            returns.append(sum(rewards))
        found = measured[task.task_index]
        assert (found.n, found.mean) == (3, pytest.approx(np.mean(returns), rel=1e-9))
        assert found.std == pytest.approx(np.std(returns), rel=1e-6)
        assert found.how == (
            f"uniform random actions in {module}:pendulum, seed 5, measured afterwards; not in the dataset"
        )
    first, second = measured.values()
    assert first.mean != second.mean
    assert measure_random(stored, systems, episodes=3, seed=5, root=tmp_path) == measured
    assert measure_random(stored, systems, episodes=3, seed=6, root=tmp_path) != measured


def test_the_new_version_has_reference_and_environment_and_the_same_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, stored = make_module(tmp_path / "code", monkeypatch), swung(tmp_path)
    systems = systems_of(stored, env=f"{module}:pendulum")
    measured = measure_random(stored, systems, episodes=2, root=tmp_path)
    path = write_dataset(with_random(stored, systems, measured, "me/pendulum/swings-v1"), tmp_path, "# card\n")
    assert verify(path) == []
    new = open_stored(path)
    assert new.manifest.content_digest == stored.manifest.content_digest
    assert [task.reference.random for task in new.tasks] == list(measured.values())
    assert [task.reference.behaviour for task in new.tasks] == [task.reference.behaviour for task in stored.tasks]
    assert [task.env.kwargs for task in new.tasks] == [{"mass": 1.0}, {"mass": 2.0}]
    env = minari.MinariDataset(path / "data").recover_environment()
    assert env.unwrapped.m == 1.0  # type: ignore[attr-defined]
    assert [task.reference.random for task in stored.tasks] == [None, None]
    again = with_random(new, systems, measured, "me/pendulum/swings-v2")
    assert "me/pendulum/swings-v1: 2 random references are replaced by new ones" in again.notes


def test_what_was_finished_before_a_kill_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, stored = make_module(tmp_path / "code", monkeypatch), swung(tmp_path)
    systems, made = systems_of(stored, env=f"{module}:pendulum"), list[str]()
    whole = measure_random(stored, systems, episodes=2, root=tmp_path)

    def interrupted(task: object) -> object:
        made.append(task.task_id)  # type: ignore[attr-defined]
        if len(made) == 2:
            raise KeyboardInterrupt
        return systems.make(task)  # type: ignore[arg-type]

    stops = replace(systems, make=interrupted)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        measure_random(stored, stops, episodes=2, root=tmp_path)
    counted = list[int]()
    assert measure_random(stored, stops, episodes=2, root=tmp_path, progress=counted.append) == whole
    assert made == ["mass-1", "mass-2", "mass-2"]
    assert sum(counted) == 4
    assert list((tmp_path / ".idaq/reference").iterdir()) == []


def test_a_kept_file_that_is_torn_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, stored = make_module(tmp_path / "code", monkeypatch), swung(tmp_path)
    systems = systems_of(stored, env=f"{module}:pendulum")
    whole = measure_random(stored, systems, episodes=2, root=tmp_path)
    written = list[Path]()
    monkeypatch.setattr("idaq.collect.reference.write_json", lambda path, value: written.append(path))
    measure_random(stored, systems, episodes=2, root=tmp_path)
    for torn in ("", "[1]", json.dumps({"mass-1": {"mean": 1}})):
        written[0].write_text(torn)
        assert measure_random(stored, systems, episodes=2, root=tmp_path) == whole


@pytest.mark.parametrize("changed", [{"seed": 1}, {"episodes": 3}, {"max_steps": 2}, {"settings": {"limit": 9}}])
def test_what_is_kept_of_another_measurement_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    """A killed one leaves its finished tasks; the next command may ask for something else."""
    module, stored = make_module(tmp_path / "code", monkeypatch), swung(tmp_path)

    def measured(root: Path, settings: dict[str, object] | None = None, **asked: object) -> object:
        systems = systems_of(stored, env=f"{module}:pendulum", settings=settings)
        return measure_random(stored, systems, root=root, **{"episodes": 2, **asked})  # type: ignore[arg-type]

    with monkeypatch.context() as kept:
        kept.setattr(Path, "unlink", lambda *_args, **_more: None)
        measured(tmp_path / "one")
    assert list((tmp_path / "one/.idaq/reference").iterdir())
    assert measured(tmp_path / "one", **changed) == measured(tmp_path / "two", **changed)  # type: ignore[arg-type]


def test_a_familys_simulator_stands_in_the_new_version(tmp_path: Path) -> None:
    """Where the reference was measured, beside what the dataset knew of its own."""
    theirs = get_family("point-robot").tasks[3]
    steps = np.arange(4, dtype=np.float32)
    columns = {"observations": np.zeros((4, 2), np.float32), "actions": np.zeros((4, 2), np.float32)}
    np.savez(tmp_path / "a.npz", rewards=steps, terminals=steps == 3, **columns)  # type: ignore[arg-type]
    done = import_dataset([tmp_path / "a.npz"], "me/a/b-v0", family="point-robot", params=theirs.params, root=tmp_path)
    stored = open_stored(done.path)
    systems = replace(systems_of(stored), simulators={"engine": "3.1"})
    measured = measure_random(stored, systems, episodes=2, root=tmp_path)
    source = with_random(stored, systems, measured, "me/a/b-v1")
    assert source.simulators == {"engine": "3.1", **stored.manifest.provenance.simulators}


def test_a_family_measures_its_own_tasks(collected: Collected, tmp_path: Path) -> None:
    stored = open_stored(collected.path)
    measured = measure_random(stored, systems_of(stored), episodes=40, root=tmp_path)
    env = get_family("point-robot").make()
    for task in stored.tasks:
        seeds = [short_seed(0, task.task_index, 0, number) for number in range(40)]
        played = [
            run_episode(env, UniformActions(env.action_space, seed), seed=seed, options={"task": task.task_index})
            for seed in seeds
        ]
        assert measured[task.task_index].mean == np.mean([episode.total_reward for episode in played])
        collected_then, now = task.reference.random, measured[task.task_index]
        assert collected_then is not None
        assert now.mean == pytest.approx(collected_then.mean, abs=4 * max(now.std, collected_then.std))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "where to measure is not known: the data are of no task family"),
        (
            {"env": "CartPole-v1"},
            r"CartPole-v1 has observations of shape \[4\], the dataset observations of shape \[3\]",
        ),
        ({"env": "Blackjack-v1"}, "the environment Blackjack-v1 has observations of the space Tuple"),
        ({"env": "MountainCarContinuous-v0"}, "observations of shape"),
        ({"env": "Pendulum-v1"}, "unexpected keyword argument 'mass'"),
        ({"family": "point-robot"}, "observations of shape"),
        ({"family": "point-robot", "env": "Pendulum-v1"}, "--family and --env are both given"),
        ({"settings": {"g": 1}}, "--env-arg is for an environment"),
    ],
)
def test_a_system_that_is_not_the_datasets_is_refused(tmp_path: Path, asked: dict[str, str], said: str) -> None:
    with pytest.raises((UsageError, DatasetError), match=said):
        systems_of(swung(tmp_path), **asked)  # type: ignore[arg-type]


def test_a_family_of_other_tasks_is_refused(tmp_path: Path) -> None:
    steps = np.arange(4, dtype=np.float32)
    columns = {"observations": np.zeros((4, 2), np.float32), "actions": np.zeros((4, 2), np.float32)}
    np.savez(tmp_path / "a.npz", rewards=steps, terminals=steps == 3, **columns)  # type: ignore[arg-type]
    done = import_dataset([tmp_path / "a.npz"], "me/a/b-v0", params={"goal": [9.0, 9.0]}, root=tmp_path)
    with pytest.raises(DatasetError, match=r"task a \(index 0\) .* has {'goal': \[9.0, 9.0\]}; the family point-robot"):
        systems_of(open_stored(done.path), family="point-robot")


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ("env.unwrapped.step = lambda a: 1 / 0", PluginError, "random actions on task mass-1 in .*ZeroDivisionError"),
        (
            "env.unwrapped.step = lambda a: (env.observation_space.low, float('nan'), False, False, {})",
            NonFiniteError,
            "step 1 of the episode",
        ),
    ],
)
def test_an_environment_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, kind: type[Exception], said: str
) -> None:
    source = SOURCE.replace("    return env\n", f"    {changed}\n    return env.unwrapped\n")
    module, stored = make_module(tmp_path / "code", monkeypatch, source), swung(tmp_path)
    with pytest.raises(kind, match=said):
        measure_random(stored, systems_of(stored, env=f"{module}:pendulum"), episodes=2, root=tmp_path)


def test_an_environment_without_a_limit_is_cut_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCE.replace("    return env\n", "    return env.unwrapped\n")
    module, stored = make_module(tmp_path / "code", monkeypatch, source), swung(tmp_path)
    systems = systems_of(stored, env=f"{module}:pendulum")
    short = measure_random(stored, systems, episodes=2, max_steps=5, root=tmp_path)
    long = measure_random(stored, systems, episodes=2, max_steps=50, root=tmp_path)
    assert all(short[index].mean > long[index].mean for index in short)


def test_actions_without_bounds_are_not_drawn() -> None:
    with pytest.raises(UsageError, match=r"no uniform random actions are possible in Box.*: it has no bounds"):
        UniformActions(gym.spaces.Box(-np.inf, np.inf, (2,)), 1)
    space = gym.spaces.Box(np.array([0, -5], np.float32), np.array([1, 5], np.float32))
    drawn = np.array([UniformActions(space, seed).act(np.zeros(1)) for seed in range(200)])
    assert drawn.dtype == np.float32
    assert (drawn.min(0) >= [0, -5]).all()
    assert (drawn.max(0) <= [1, 5]).all()
    assert (np.ptp(drawn, 0) > [0.9, 9]).all()


@pytest.mark.parametrize(
    ("space", "values"),
    [
        (gym.spaces.Discrete(3, start=4), {4, 5, 6}),
        (gym.spaces.MultiDiscrete([2, 1]), {(0, 0), (1, 0)}),
        (gym.spaces.MultiBinary(2), {(0, 0), (0, 1), (1, 0), (1, 1)}),
        (gym.spaces.Box(254, 255, (1,), np.uint8), {(254,), (255,)}),
    ],
)
def test_random_choices_are_all_values_of_the_space_and_no_other(space: gym.Space[Any], values: set[Any]) -> None:
    drawn = [UniformActions(space, seed).act(None) for seed in range(100)]
    assert all(action in space for action in drawn)
    assert {tuple(action.tolist()) if action.ndim else int(action) for action in drawn} == values


def test_seeds_are_short_enough_for_every_environment() -> None:
    seeds = {short_seed(0, task, 0, number) for task in range(20) for number in range(20)}
    assert len(seeds) == 400
    assert max(seeds) < 2**31


def test_importing_with_the_environment_first_lets_no_argument_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_module(tmp_path / "code", monkeypatch)
    linked = import_dataset(
        [swings(tmp_path / "a.npz")],
        "me/pendulum/linked-v0",
        params={"mass": 3.0},
        env=f"{module}:pendulum",
        env_settings={"limit": 5},
        root=tmp_path,
    )
    stored = open_stored(linked.path)
    other = systems_of(stored, env=f"{module}:pendulum", settings={"limit": 7})
    source = with_random(stored, other, measure_random(stored, other, episodes=2, root=tmp_path), "me/a/b-v0")
    assert any("1 tasks state another environment than" in note for note in source.notes)
    assert source.tasks[0].env.kwargs == {"limit": 5, "mass": 3.0}
