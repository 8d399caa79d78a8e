"""Makes expert.safetensors and log.csv: python -m idaq_maze.train_expert FOLDER (needs Stable-Baselines3)."""

import csv
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
from idaq_maze.family import GOALS, HORIZON, Maze
from safetensors.numpy import save_file
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

STEPS = 150_000


class WithGoal(gym.Wrapper):
    """Every episode another task, whose goal is seen."""

    def __init__(self) -> None:
        super().__init__(gym.wrappers.TimeLimit(Maze(), HORIZON))
        self.observation_space = gym.spaces.Box(-1, 1, (6,), np.float32)
        self._rng = np.random.default_rng(0)

    def reset(self, **arguments):
        task = int(self._rng.integers(len(GOALS)))
        seen, info = self.env.reset(seed=arguments.get("seed"), options={"task": task})
        return np.concatenate([seen, GOALS[task]]), info

    def step(self, action):
        seen, *rest, info = self.env.step(action)
        return np.concatenate([seen, GOALS[info["task_index"]]]), *rest, info


def train(folder: Path) -> None:
    """PPO on all tasks; its actor alone is kept."""
    envs = make_vec_env(WithGoal, n_envs=8, seed=0)
    model = PPO("MlpPolicy", envs, n_steps=256, batch_size=256, gamma=0.97, learning_rate=1e-3, seed=0,
                policy_kwargs={"net_arch": [32, 32]}, device="cpu")  # fmt: skip
    model.learn(STEPS)
    state = {name: value.numpy() for name, value in model.policy.state_dict().items()}
    names = {"first": "mlp_extractor.policy_net.0", "second": "mlp_extractor.policy_net.2", "mean": "action_net"}
    tensors = {
        f"{ours}.{part}": state[f"{theirs}.{part}"] for ours, theirs in names.items() for part in ("weight", "bias")
    }
    save_file(tensors, folder / "expert.safetensors")


def record(folder: Path) -> None:
    """Two clumsy runs of each task, as a person with a joystick would leave them."""
    with (folder / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "task", "x", "y"])
        for task in range(len(GOALS)):
            for run in range(2):
                rng, env = np.random.default_rng([task, run]), Maze(task)
                seen, _ = env.reset(seed=run, options={"task": task})
                for _ in range(HORIZON):
                    beyond = GOALS[task][0] > 0 and seen[0] < 0.05
                    target = np.array([0.1, 0.0]) if beyond else GOALS[task]
                    action = np.clip(4 * (target - seen[:2]) + rng.normal(0, 0.3, 2), -1, 1).round(2)
                    rows.writerow([f"{task}-{run}", task, *action.tolist()])
                    seen, _, ended, _, _ = env.step(action)
                    if ended:
                        break


if __name__ == "__main__":
    record(Path(sys.argv[1]))
    train(Path(sys.argv[1]))
