"""Families of every space that the format holds: contract, collection, what a family says of each step."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.collect.actions import bounds, in_units_of
from idaq.collect.collect import collect
from idaq.core.errors import CollectError
from idaq.core.types import Array, Task
from idaq.format.reader import open_stored
from idaq.format.recipe import Behaviour, Recipe, Reference, Splits
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.tasks import Family
from idaq.testing import FamilyContract

SEEN = gym.spaces.Dict({
    "camera": gym.spaces.Box(0, 255, (4, 5, 3), np.uint8),
    "body": gym.spaces.Dict({"joints": gym.spaces.Box(-9, 9, (2,)), "gear": gym.spaces.Discrete(4, start=-1)}),
    "held": gym.spaces.MultiBinary(3),
    "cell": gym.spaces.MultiDiscrete([3, 9]),
})  # fmt: skip
ACTIONS = {
    "box": gym.spaces.Box(np.array([[-1.0, 0.0]]), np.array([[1.0, 4.0]]), dtype=np.float64),
    "bytes": gym.spaces.Box(250, 255, (2,), np.uint8),
    "discrete": gym.spaces.Discrete(3, start=2),
    "multi-discrete": gym.spaces.MultiDiscrete([2, 4]),
    "multi-binary": gym.spaces.MultiBinary(2),
}
HORIZON = 6


class Machine(gym.Env[Any, Any]):
    """Counts steps and adds up actions, and shows that in every kind of number. The task is how fast it counts."""

    observation_space = SEEN

    def __init__(self, actions: str, task: int = 0, render_mode: str | None = None) -> None:
        self.action_space = ACTIONS[actions]
        self.task = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.task = options["task"] if options and "task" in options else self.task
        self.count, self.total = 0, 0.0
        return self.seen(), {"total": 0.0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.count += self.task + 1
        self.total += float(np.sum(action, dtype=np.float64))
        return self.seen(), float(self.count), False, False, {"total": self.total}

    def seen(self) -> dict[str, Any]:
        n = self.count
        joints = np.array([n % 9, self.total % 7], np.float32)
        return {
            "camera": np.full((4, 5, 3), n, np.uint8),
            "body": {"joints": joints, "gear": np.int64(n % 4 - 1)},
            "held": np.array([n % 2, 1, 0], np.int8),
            "cell": np.array([n % 3, n % 9]),
        }


def advice(views: Any, tasks: NDArray[np.int64]) -> Array:
    """Sees all of a Dict; -1 to 1 for numbers."""
    assert views["camera"].shape == (len(tasks), 4, 5, 3)
    return np.full((len(tasks), 1, 2), 0.5)


def choices(views: Any, tasks: NDArray[np.int64]) -> Array:
    return views["body"]["gear"] * 0 + 4


def machine(actions: str) -> Family:
    controllers = {"box": advice, "discrete": choices}
    return Family(
        name=f"machine-{actions}",
        description="",
        tasks=tuple(Task(task_id=f"speed-{i}", task_index=i, params={"speed": i + 1.0}) for i in range(3)),
        horizon=HORIZON,
        env_spec=EnvSpec(
            id="machine-v0",
            entry_point="tests.collect.test_spaces:Machine",
            max_episode_steps=HORIZON,
            kwargs={"actions": actions},
        ),
        controller=controllers.get(actions),
        infos={"total": "all actions added up"},
        deterministic=True,
    )


def recipe(family: Family, *behaviours: Behaviour, **changes: Any) -> Recipe:
    return Recipe(
        id="me/machine/all-v0",
        family=family.name,
        description="every space",
        seed=1,
        splits=Splits(seed=0, sizes={"train": 2, "test": 1}),
        behaviours=list(behaviours),
        reference=Reference(random_episodes=2),
        **changes,
    )


RANDOM = Behaviour(name="random", kind="random", quality="random", episodes=3)


@pytest.mark.filterwarnings("ignore:.*Box observation space")
class TestMachines(FamilyContract):
    @pytest.fixture(params=ACTIONS)
    def family(self, request: pytest.FixtureRequest) -> Family:
        return machine(request.param)


@pytest.mark.parametrize("actions", ACTIONS)
def test_every_action_space_and_nested_observations_are_collected(tmp_path: Path, actions: str) -> None:
    family = machine(actions)
    done = collect(recipe(family, RANDOM), tmp_path, family=family)
    assert verify(done.path) == []
    columns = open_stored(done.path).manifest.columns
    leaves = ["body/gear", "body/joints", "camera", "cell", "held"]
    observed = [f"observations/{leaf}" for leaf in leaves]
    assert list(columns) == [*observed, "actions", "rewards", "terminations", "truncations", "infos/total"]
    assert columns["infos/total"].meaning == "all actions added up"
    dataset = open_dataset(done.path)
    assert len(dataset) == 9
    for number, episode in enumerate(dataset):
        speed = int(dataset.episodes.task_index[number]) + 1
        counts = speed * np.arange(HORIZON + 1)
        assert all(action in ACTIONS[actions] for action in episode.actions)
        np.testing.assert_array_equal(episode.rewards, counts[1:])
        np.testing.assert_array_equal(
            episode.observations["camera"], np.broadcast_to(counts[:, None, None, None], (7, 4, 5, 3))
        )
        np.testing.assert_array_equal(episode.observations["body"]["gear"], counts % 4 - 1)
        np.testing.assert_array_equal(episode.observations["cell"], np.stack([counts % 3, counts % 9], 1))
        sums = episode.actions.reshape(HORIZON, -1).sum(1, dtype=np.float64).cumsum()
        np.testing.assert_array_equal(episode.extras["infos/total"], sums)


def test_a_controller_advises_in_units_of_the_largest_action_or_by_choices(tmp_path: Path) -> None:
    for actions, expected in (("box", [[0.5, 3.0]]), ("discrete", 4)):
        family = machine(actions)
        scripted = Behaviour(name="scripted", kind="scripted", quality="expert", episodes=1)
        mixed = Behaviour(name="mixed", kind="mixture", quality="medium", episodes=40, random_share=0.5)
        mine = recipe(family, scripted, mixed, expert_action=True)
        dataset = open_dataset(collect(mine, tmp_path / actions, family=family).path)
        for number, episode in enumerate(dataset):
            np.testing.assert_array_equal(episode.extras["expert_action"], np.array([expected] * HORIZON))
            if dataset.episodes.behaviour[number] == "scripted":
                np.testing.assert_array_equal(episode.actions, episode.extras["expert_action"])
        every = np.concatenate([e.actions for n, e in enumerate(dataset) if dataset.episodes.behaviour[n] == "mixed"])
        share = (every == np.array(expected)).reshape(len(every), -1).all(1).mean()
        assert share == pytest.approx(0.5 + (0.5 / 3 if actions == "discrete" else 0), abs=0.06)


def test_an_expert_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    family = machine("multi-binary")
    with pytest.raises(CollectError, match="family machine-multi-binary has no scripted controller"):
        collect(recipe(family, RANDOM, expert_action=True), tmp_path, family=family)


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_numbers_from_minus_one_to_one_are_spread_evenly_over_a_space(space: gym.Space[Any]) -> None:
    low, high = bounds(space)
    drawn = in_units_of(space, np.random.default_rng(0).uniform(-1, 1, (6000, *low.shape)))
    assert drawn.dtype == space.dtype
    assert all(action in space for action in drawn[:50])
    assert in_units_of(space, np.ones((1, *low.shape)))[0] in space
    np.testing.assert_array_equal(in_units_of(space, -np.ones((1, *low.shape)))[0], low)
    np.testing.assert_allclose(drawn.mean(0), (low.astype(float) + high) / 2, atol=0.1)
