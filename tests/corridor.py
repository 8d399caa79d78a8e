"""A corridor of seven cells whose goal is the task: counted places and moves, or a picture of them in a Dict."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idaq.core.types import Episode
from idaq.format.documents import EnvReference
from idaq.format.recipe import Behaviour
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.tasks.systems import run_episode
from idaq.testing.examples import example_recipe, task_record

CELLS, HORIZON = 7, 8
TEST_TASKS = (1, 5)


class Corridor(gym.Env[Any, np.int64]):
    """Start in the middle; -1, 0 and 1 move; reward 1 on each step that ends on the goal."""

    def __init__(self, task: int = 0, picture: bool = False, render_mode: str | None = None) -> None:
        self.action_space = gym.spaces.Discrete(3, start=-1)
        place = gym.spaces.Discrete(CELLS)
        pixels = gym.spaces.Box(0, 255, (1, CELLS, 1), np.uint8)
        self.observation_space = gym.spaces.Dict({"pixels": pixels, "place": place}) if picture else place
        self.task, self._picture, self.render_mode = task, picture, render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.task = (options or {}).get("task", self.task)
        self._place, self._steps = CELLS // 2, 0
        return self._seen(), {}

    def step(self, action: np.int64) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self._place = int(np.clip(self._place + action, 0, CELLS - 1))
        self._steps += 1
        reached = self._place == self.task
        return self._seen(), float(reached), False, self._steps == HORIZON, {"success": reached}

    def _seen(self) -> Any:
        if not self._picture:
            return np.int64(self._place)
        pixels = np.zeros((1, CELLS, 1), np.uint8)
        pixels[0, self._place] = 255
        return {"pixels": pixels, "place": np.int64(self._place)}


class Walker:
    """Walks towards its goal; one move in four is any."""

    def __init__(self, goal: int, seed: int) -> None:
        self._goal, self._rng = goal, np.random.default_rng(seed)

    def act(self, observation: Any) -> np.int64:
        place = observation["place"] if isinstance(observation, dict) else observation
        best = np.sign(self._goal - int(place))
        return np.int64(self._rng.integers(-1, 2) if self._rng.random() < 0.25 else best)


def corridor_source(picture: bool = False, episodes: int = 12) -> DatasetSource:
    """Episodes of walkers to every cell; tasks 1 and 5 are for testing."""
    env = Corridor(picture=picture)
    spec = EnvSpec(
        id="corridor-v0", entry_point="tests.corridor:Corridor", max_episode_steps=HORIZON, kwargs={"picture": picture}
    )
    entries = [
        EpisodeEntry(
            episode=_played(env, task, task * episodes + number),
            task_index=task,
            behaviour="walker",
            seed=task * episodes + number,
            success=None,
        )
        for task in range(CELLS)
        for number in range(episodes)
    ]
    place = EnvReference(
        id=spec.id, entry_point=str(spec.entry_point), kwargs=spec.kwargs, max_episode_steps=spec.max_episode_steps
    )
    tasks = [task_record(task, entries, "test" if task in TEST_TASKS else "train") for task in range(CELLS)]
    walker = Behaviour(name="walker", kind="scripted", quality="medium", episodes=episodes)
    name = f"idaq/tests/corridor-{'dict' if picture else 'discrete'}-v0"
    return DatasetSource(
        recipe=replace(example_recipe(name), behaviours=[walker]),
        tasks=tuple(replace(task, success=None, env=place) for task in tasks),
        entries=entries,
        observation_space=env.observation_space,
        action_space=env.action_space,
        env_spec_json=spec.to_json(),
    )


def _played(env: Corridor, task: int, seed: int) -> Episode:
    played = run_episode(env, Walker(task, seed), seed=seed, options={"task": task})
    return Episode.from_columns(played.columns)


def write_corridor(root: Path, *, picture: bool = False) -> Path:
    """The dataset on disk."""
    return write_dataset(corridor_source(picture), root, "")
