"""An environment of a stranger: Pendulum with the mass as a keyword argument, in a module of its own."""

import sys
from pathlib import Path

import numpy as np
import pytest

from idaq.format.reader import StoredDataset, open_stored
from idaq.share.importers import import_dataset

SOURCE = '''
import gymnasium


def pendulum(mass=1.0, limit=20):
    env = gymnasium.make("Pendulum-v1", max_episode_steps=limit)
    env.unwrapped.m = mass
    return env


def push(observation):
    """A policy: torque against the angular velocity."""
    return -observation[2:] / 4
'''


def make_module(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str = SOURCE) -> str:
    """Write the module and make it importable; returns its name."""
    folder.mkdir(exist_ok=True)
    (folder / "my_pendulums.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "my_pendulums", raising=False)
    return "my_pendulums"


def swings(path: Path, tag: float = 0) -> Path:
    """Four transitions of the size that pendulums have."""
    steps = np.arange(4, dtype=np.float32)
    np.savez(
        path,
        observations=np.full((4, 3), tag, np.float32),
        next_observations=np.full((4, 3), tag, np.float32),
        actions=np.zeros((4, 1), np.float32),
        rewards=steps + tag,
        terminals=np.zeros(4, bool),
        timeouts=steps == 3,
    )
    return path


def swung(root: Path, masses: tuple[float, ...] = (1.0, 2.0), dataset: str = "me/pendulum/swings") -> StoredDataset:
    """A dataset of a task for each mass, whose environment nobody has named."""
    from idaq.format.merge import merged
    from idaq.format.writer import write_dataset

    parts = [
        import_dataset(
            [swings(root / f"{number}.npz", number)],
            f"{dataset}-part{number}-v0",
            tasks=[f"mass-{mass:g}"],
            params={"mass": mass},
            root=root,
        )
        for number, mass in enumerate(masses)
    ]
    opened = [open_stored(part.path) for part in parts]
    source, _ = merged(opened, f"{dataset}-v0", "renumber")
    return open_stored(write_dataset(source, root, "# card\n"))


FAMILY = """
import gymnasium
import numpy
from gymnasium.envs.registration import EnvSpec

from idaq import Family, Task

MASSES = {"light": 0.5, "normal": 1.0, "heavy": 2.0}
TASKS = tuple(
    Task(task_id=name, task_index=index, params={"mass": mass}) for index, (name, mass) in enumerate(MASSES.items())
)


class Pendulums(gymnasium.Wrapper):
    def __init__(self, task=0, render_mode=None):
        super().__init__(gymnasium.make("Pendulum-v1", render_mode=render_mode).env.env)
        self.task = task

    def reset(self, *, seed=None, options=None):
        self.task = (options or {}).get("task", self.task)
        self.unwrapped.m = TASKS[self.task].params["mass"]
        return super().reset(seed=seed)


def family():
    spec = EnvSpec(id="Pendulums-v0", entry_point="my_family:Pendulums", max_episode_steps=20)
    return Family(name="my_family:family", description="Pendulums.", tasks=TASKS, horizon=20, env_spec=spec)
"""
"""a task family of the same pendulums, the module my_family"""
