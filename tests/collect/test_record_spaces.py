"""Systems of choices and of dictionaries are recorded like any other."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from idaq.collect.record import CheckedActions, record
from idaq.collect.reference import UniformActions
from idaq.core.errors import PluginError
from idaq.format.recording import Folder
from idaq.format.verify import verify
from idaq.loader import open_dataset
from idaq.share.importers import import_dataset
from idaq.tasks.systems import make_env, run_episode


@pytest.mark.parametrize(
    ("env", "settings"),
    [
        ("CartPole-v1", {}),
        ("tests.collect.test_spaces:Machine", {"actions": "multi-discrete"}),
        ("tests.collect.test_spaces:Machine", {"actions": "box"}),
    ],
)
def test_choices_and_dictionaries_are_recorded(tmp_path: Path, env: str, settings: dict[str, Any]) -> None:
    """What lies in the folder is what the same random actions do when they are taken again."""
    record(tmp_path / "out", env=env, settings=settings, policy="random", task="a", episodes=3, max_steps=5)
    folder, system = Folder(tmp_path / "out"), make_env(env, settings)
    for number in folder.numbers():
        one, _ = folder.episode(number, "random")
        assert one.seed is not None
        assert all(action in system.action_space for action in one.episode.actions)
        policy = UniformActions(system.action_space, one.seed)
        again = run_episode(system, policy, seed=one.seed, max_steps=5)
        assert list(one.episode.columns) == list(again.columns)
        for name, column in again.columns.items():
            np.testing.assert_array_equal(one.episode.columns[name], column)


@pytest.mark.parametrize("actions", ["discrete", "multi-binary", "box"])
def test_a_recording_of_dictionaries_makes_a_dataset(tmp_path: Path, actions: str) -> None:
    machine = "tests.collect.test_spaces:Machine"
    record(
        tmp_path / "out", env=machine, settings={"actions": actions}, policy="random", task="a", episodes=3, max_steps=5
    )
    folder = Folder(tmp_path / "out")
    done = import_dataset([tmp_path / "out"], "me/recorded/all-v0", root=tmp_path / "data")
    assert verify(done.path) == []
    for number, episode in enumerate(open_dataset(done.path)):
        recorded = folder.episode(number, "random")[0].episode
        assert list(episode.columns) == list(recorded.columns)
        for name, column in recorded.columns.items():
            np.testing.assert_array_equal(episode.columns[name], column)


@pytest.mark.parametrize("given", [3, -1, 0.5, [1]])
def test_a_choice_that_there_is_not_is_no_choice_that_is_nearly_it(given: Any) -> None:
    class Chooses:
        def act(self, observation: Any) -> Any:
            return given

    with pytest.raises(PluginError, match=r"chose .* none of Discrete\(3\)|no action of shape \(\)"):
        CheckedActions(Chooses(), gym.spaces.Discrete(3)).act(None)
