"""A family of one's own: push a cart of unknown mass to x = 1. Tasks, environment and controller are all it takes."""

import gymnasium as gym
import numpy as np
import typer
from gymnasium.envs.registration import EnvSpec

import idaq

MASSES = np.linspace(0.5, 2.0, 10)


class Cart(gym.Env):
    """The mass is the task: it is not among the observations."""

    observation_space, action_space = gym.spaces.Box(-30, 30, (1,)), gym.spaces.Box(-1, 1, (1,))

    def __init__(self, task=0, render_mode=None):
        self.task = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task, self.x = (options or {}).get("task", self.task), np.zeros(1, np.float32)
        return self.x, {}

    def step(self, action):
        self.x = np.float32(self.x + action / MASSES[self.task])
        away = float(abs(1 - self.x[0]))
        return self.x, -away, False, False, {"success": away < 0.1}


def cart() -> idaq.Family:
    """The family: number i of its tasks has the index i."""
    solved = idaq.Success(metric="distance", op="<=", threshold=0.1, unit="m", when="last-step")
    masses = [(i, float(mass)) for i, mass in enumerate(MASSES)]
    return idaq.Family(
        name="cart",
        description="push a cart of unknown mass",
        tasks=[idaq.Task(task_id=f"mass-{i}", task_index=i, params={"mass": m}, success=solved) for i, m in masses],
        horizon=10,
        env_spec=EnvSpec(id="cart-v0", entry_point=Cart, max_episode_steps=10),
        controller=lambda observations, tasks: MASSES[tasks, None] * (1 - observations),
    )


def main(root: str = "data", episodes: int = 45) -> None:
    """Collect EPISODES episodes a task below ROOT."""
    behaviour = {"name": "expert", "kind": "scripted", "quality": "expert", "noise": 0.02, "episodes": episodes}
    splits = {"seed": 0, "sizes": {"train": 8, "test": 2}}
    words = {"id": "me/cart/expert-v0", "family": "cart", "description": "carts", "seed": 1}
    done = idaq.collect(idaq.Recipe(**words, splits=splits, behaviours=[behaviour]), root, family=cart())
    dataset = idaq.open_dataset(done.path)
    print(f"{done.path}: {len(dataset)} episodes, {dataset.episodes.success.mean():.0%} of them solved")


if __name__ == "__main__":
    typer.run(main)
