"""A researcher brings a task family: a module beside the recipe, or an object built in a script."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from idaq.catalogue.entries import catalogue_recipe, load_recipe
from idaq.collect.collect import collect
from idaq.collect.plan import make_plan
from idaq.core.errors import CollectError, ConfigError, DatasetError, PluginError, UnknownNameError, UsageError
from idaq.core.types import Array, Task
from idaq.format.reader import open_stored
from idaq.format.recipe import Recipe
from idaq.format.verify import verify
from idaq.tasks import Family, StepBatch, find_family, get_family
from tests.collect.test_collect import collect_until
from tests.processes import Command

MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idaq import Family, Task

LENGTHS = [1.0, 2.0, 3.0, 4.0]


class Corridor(gym.Env):
    observation_space, action_space = gym.spaces.Box(-50, 50, (1,)), gym.spaces.Box(-1, 1, (1,))

    def __init__(self, task=0, render_mode=None):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task, self.x = (options or {}).get("task", self.task), self.np_random.normal(size=1).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.x = (self.x + action).astype(np.float32)
        away = abs(float(self.x[0]) - LENGTHS[self.task])
        return self.x, -away, away < 0.1, False, {"success": away < 0.1}


def corridor(entry_point=None):
    tasks = [Task(task_id=f"length-{i}", task_index=i, params={"length": n})
             for i, n in enumerate(LENGTHS)]
    spec = EnvSpec(id="corridor-v0", entry_point=entry_point or f"{__name__}:Corridor", max_episode_steps=8)
    return Family(name="corridor", description="walk a hidden length", tasks=tasks, horizon=8, env_spec=spec,
                  controller=lambda x, tasks: np.array(LENGTHS)[tasks, None] - x)
"""
RECIPE = """
recipe_version = 1
id = "me/corridor/expert-v0"
family = "{family}"
description = "mine"
seed = 3
splits = {{ seed = 0, sizes = {{ train = 3, test = 1 }} }}
reference = {{ random_episodes = 2 }}

[[behaviours]]
name = "expert"
kind = "scripted"
quality = "expert"
episodes = 3
noise = 0.3
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Of a family that a module beside it defines."""
    (tmp_path / "my_corridor.py").write_text(MODULE)
    (tmp_path / "my.toml").write_text(RECIPE.format(family="my_corridor:corridor"))
    return load_recipe(Path("my.toml"))


@pytest.mark.slow
def test_the_command_collects_a_family_of_the_current_folder_with_two_workers_as_with_one(
    recipe: Recipe, tmp_path: Path
) -> None:
    command = Command("collect", "--recipe", "my.toml", "--workers", "2", "--root", tmp_path / "two", "--json")
    out, err = command.process.communicate(timeout=120)
    assert command.process.returncode == 0, err
    one = collect(recipe, tmp_path / "one")
    assert json.loads(out)["content_digest"] == one.content_digest
    assert verify(one.path) == []
    stored = open_stored(one.path)
    assert stored.manifest.family == "my_corridor:corridor"
    assert stored.tasks[0].env.entry_point == "my_corridor:Corridor"
    with pytest.raises(PluginError, match="never imported because a document says so"):
        find_family(stored.manifest.family)
    assert find_family(stored.manifest.family, [stored.manifest.family]).name == "corridor"


def test_an_interrupted_collection_of_it_resumes_to_the_same_content(recipe: Recipe, tmp_path: Path) -> None:
    collect_until(recipe, tmp_path / "killed", 6)
    again, whole = collect(recipe, tmp_path / "killed"), collect(recipe, tmp_path / "whole")
    assert 0 < again.resumed < again.cells
    assert again.content_digest == whole.content_digest


SCRIPT = (
    MODULE
    + """
if __name__ == "__main__":
    import sys
    from pathlib import Path
    from idaq.catalogue.entries import catalogue_recipe, load_recipe
    from idaq.collect.collect import collect

    mine = load_recipe(Path("mine.toml"))
    for workers in (1, 2):
        done = collect(mine, Path(str(workers)), family=corridor(Corridor), workers=workers)
        print(done.content_digest, *done.notes, sep="|")
"""
)


@pytest.mark.slow
def test_a_script_builds_its_family_with_lambdas_and_collects_it_with_two_workers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mine.toml").write_text(RECIPE.format(family="corridor"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    one, two = done.stdout.splitlines()
    assert one == two
    path = tmp_path / "2" / "me/corridor/expert-v0"
    assert verify(path) == []
    assert open_stored(path).tasks[0].env.entry_point == "__main__:Corridor"
    assert "__main__:Corridor is defined in a script" in one


def test_what_cannot_be_sent_to_workers_is_named(recipe: Recipe, tmp_path: Path) -> None:
    family: Family = get_family("my_corridor:corridor")
    generator = (number for number in range(3))
    stuck = dataclasses.replace(family, controller=lambda x, tasks: next(generator) - x)
    mine = dataclasses.replace(recipe, family="corridor")
    with pytest.raises(CollectError, match="controller of the family corridor cannot be sent to worker processes"):
        collect(mine, tmp_path, family=stuck, workers=2)
    assert not (tmp_path / "me").exists()


@pytest.mark.parametrize("where", ["family", "policy"])
def test_what_stands_in_a_script_is_not_named_to_workers(recipe: Recipe, tmp_path: Path, where: str) -> None:
    (mine,) = recipe.behaviours
    policy = dataclasses.replace(mine, kind="policy", policy="__main__:act")
    changes = {"family": "__main__:corridor"} if where == "family" else {"behaviours": [policy]}
    main = sys.modules["__main__"]
    vars(main).update(corridor=get_family("my_corridor:corridor"), act=print)
    with pytest.raises(CollectError, match="stands in a script, where worker processes do not find it"):
        collect(dataclasses.replace(recipe, **changes), tmp_path, workers=2)
    del main.corridor, main.act  # type: ignore[attr-defined]


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize("name", ["my_corridor:corridor"])
def test_a_family_from_outside_takes_a_recipe_and_the_command_says_which(name: str) -> None:
    with pytest.raises(UsageError, match="it takes a recipe of your own") as caught:
        catalogue_recipe(name, "expert")
    assert caught.value.hint == f'idaq collect --recipe my.toml, in which family = "{name}"'


def test_a_family_that_is_given_has_the_name_that_the_recipe_states(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the recipe is of family my_corridor:corridor; the family that was given is"):
        collect(recipe, tmp_path, family=get_family("my_corridor:corridor"))


def test_tasks_that_come_out_otherwise_each_time_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "drawn.py").write_text(
        MODULE.replace('params={"length": n}', 'params={"length": float(np.random.default_rng().normal())}')
    )
    with pytest.raises(CollectError, match="the tasks of drawn:corridor come out otherwise each time they are made"):
        collect(dataclasses.replace(recipe, family="drawn:corridor"), tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_corridor:corrido", "has no attribute 'corrido'"),
        ("my_corridor:LENGTHS", "is no idaq.tasks.Family, nor a function that makes one"),
        ("my_corridor:Corridor.step", r"making the family .* raised TypeError"),
        ("nowhere:corridor", "there is no module 'nowhere'"),
    ],
)
def test_a_name_that_leads_to_no_family_says_why(recipe: Recipe, tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        collect(dataclasses.replace(recipe, family=name), tmp_path)


def test_a_misspelt_family_is_told_near_names(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown task family 'point-robo'") as caught:
        collect(dataclasses.replace(recipe, family="point-robo"), tmp_path)
    assert "'point-robot'" in str(caught.value.hint)


class Still(gym.Env[Any, Any]):
    """Gives what a test asks for."""

    observation_space: Any = gym.spaces.Box(-1, 1, (2,))
    action_space: Any = gym.spaces.Box(-1, 1, (1,))
    seen: Any = np.zeros(2, np.float32)

    def __init__(self, task: int = 0, render_mode: str | None = None, **_kwargs: object) -> None:
        pass

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self.seen, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.seen, 0.0, False, False, {}


PLANE = gym.spaces.Box(-1, 1, (2,))


def still(**changes: Any) -> Family:
    """A sound family of two tasks, but for `changes`; those of its environment are `its_`."""
    env = type("Other", (Still,), {k.removeprefix("its_"): v for k, v in changes.items() if k.startswith("its_")})
    tasks = [Task(task_id=f"t{i}", task_index=i, params={"x": float(i)}) for i in range(2)]
    spec = EnvSpec(id="still-v0", entry_point=env, max_episode_steps=3, disable_env_checker=True)
    rest = {k: v for k, v in changes.items() if not k.startswith("its_")}
    return Family(**{"name": "still", "description": "", "tasks": tasks, "horizon": 3, "env_spec": spec, **rest})


def task(index: int, name: str) -> Task:
    return Task(task_id=name, task_index=index, params={})


class Endless:
    """A batched form that never says `truncated`."""

    def reset(self, task_indices: Array, seeds: Array) -> Array:
        self.seen = np.zeros((len(task_indices), 2), np.float32)
        return self.seen

    def controller_view(self) -> Array:
        return self.seen

    def step(self, actions: Array) -> StepBatch:
        no = np.zeros(len(actions), bool)
        return StepBatch(observations=self.seen, rewards=np.zeros(len(no)), terminated=no, truncated=no, success=no)


def raising(*_args: Any, **_kwargs: Any) -> Any:
    raise RuntimeError("no such ball")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: still(tasks=()), "it has no tasks"),
        (lambda: still(tasks=[task(0, "a"), task(2, "b")]), "task number 1 has task_index 2"),
        (lambda: still(tasks=[task(0, "a"), task(1, "a")]), "several tasks have the task_id a"),
        (lambda: still(horizon=0), "horizon is 0"),
        (lambda: still(name="My Family"), "'My Family' is no name of a task family"),
        (lambda: still(env_spec="still-v0"), "a gymnasium EnvSpec is needed"),
        (lambda: still(task_features=np.zeros((3, 1))), "one row for each of 2 tasks"),
        (lambda: still(horizon=4), "max_episode_steps is 3; the horizon is 4"),
        (lambda: still(simulators=("no-such-simulator",)), "no-such-simulator, which is no installed package"),
        (lambda: still(env_spec=EnvSpec(id="s-v0", entry_point=raising, max_episode_steps=3)), "a class or its name"),
        (
            lambda: still(env_spec=EnvSpec(id="s-v0", entry_point=Still, max_episode_steps=3, kwargs={"x": Still})),
            "kwargs hold what JSON cannot",
        ),
        (lambda: still(env_spec=EnvSpec(id="s-v0", entry_point="no:Env", max_episode_steps=3)), "No module named 'no'"),
        (lambda: still(its___init__=raising), "making its environment raised RuntimeError: no such ball"),
        (lambda: still(its___init__=lambda self: None), "raised TypeError"),
        (lambda: still(its_observation_space=gym.spaces.Text(3)), "a Box, Discrete, MultiDiscrete or MultiBinary is"),
        (lambda: still(its_observation_space=gym.spaces.Dict({"a": gym.spaces.Text(3)})), "needed, or a Dict of such"),
        (lambda: still(its_observation_space=gym.spaces.Dict({"a b": PLANE})), "keys of a Dict are letters"),
        (lambda: still(its_observation_space=gym.spaces.Dict({"a": PLANE})), "gave observations; observations/a were"),
        (lambda: still(its_action_space=gym.spaces.Text(3)), "a bounded Box, Discrete, MultiDiscrete or Multi"),
        (lambda: still(its_action_space=gym.spaces.Dict({"a": PLANE})), "a bounded Box, Discrete, MultiDiscrete or"),
        (lambda: still(its_action_space=gym.spaces.Box(-np.inf, np.inf, (1,))), "a bounded Box, Discrete, MultiDisc"),
        (
            lambda: still(its_observation_space=gym.spaces.MultiDiscrete([3, 3]), its_seen=np.array([1, 3])),
            "gave observations outside its space, MultiDiscrete([3 3])",
        ),
        (lambda: still(infos={"speed": "m/s"}), "KeyError: 'speed'"),
        (lambda: still(its_seen=np.zeros(2)), r"observations of float64 \(2, 2\) at step 0; float32 \(2, 2\) was"),
        (lambda: still(its_seen=np.zeros(3, np.float32)), r"observations of float32 \(2, 3\) at step 0"),
        (lambda: still(batched=Endless), "neither ended nor were truncated at the horizon"),
        (lambda: still(its_step=raising), "RuntimeError: no such ball"),
        (lambda: still(batched=raising), "RuntimeError: no such ball"),
    ],
)
def test_a_family_that_cannot_be_used_says_what_to_change(
    tmp_path: Path, recipe: Recipe, make: Callable[[], Family], words: str
) -> None:
    behaviour = dataclasses.replace(recipe.behaviours[0], kind="random", episodes=2, noise=0.0)
    splits = dataclasses.replace(recipe.splits, sizes={"train": 1})
    mine = dataclasses.replace(recipe, family="still", behaviours=[behaviour], splits=splits)
    with pytest.raises((PluginError, CollectError, DatasetError)) as caught:
        collect(mine, tmp_path, family=make())
    assert words.replace("\\", "") in str(caught.value)


def test_a_family_needs_five_facts_and_no_more(tmp_path: Path, recipe: Recipe) -> None:
    behaviour = dataclasses.replace(recipe.behaviours[0], kind="random", noise=0.0)
    splits = dataclasses.replace(recipe.splits, sizes={"train": 1, "test": 1})
    mine = dataclasses.replace(recipe, family="still", behaviours=[behaviour], splits=splits)
    assert verify(collect(mine, tmp_path, family=still()).path) == []


def test_a_plan_is_made_once_and_says_what_is_collected(recipe: Recipe) -> None:
    plan = make_plan(recipe)
    assert list(plan.splits.values()).count("train") == 3
    assert [(cell.task_index, cell.behaviour_index) for cell in plan.cells] == [
        (t, b) for t in range(4) for b in (0, 1)
    ]
    assert plan.digest == make_plan(recipe).digest != make_plan(dataclasses.replace(recipe, seed=4)).digest
