"""Trains a behaviour policy: one soft actor-critic (Stable-Baselines3) for all tasks of a family.

`idaq.collect.policy_training` is the loop around it. Imported only when used: needs the extra `behaviors`.
Shapes: B environments, D observation, F task features, A action, M motion.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv

from idaq.collect.actions import in_units_of
from idaq.collect.optimiser_state import load_optimiser, optimiser_tensors
from idaq.collect.policies import sizes
from idaq.collect.policy_record import CurvePoint, SacConfig, Tensors
from idaq.collect.policy_training import PolicyTraining, chosen_tasks, first_at
from idaq.core.errors import PolicyError
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.tasks import Family

_COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "motions", "tasks")


class TaskConditioned(gym.Wrapper[Array, Array, Array, Array]):
    """An environment whose every episode is a random task, and whose observations end with that task's features."""

    def __init__(self, family: Family, tasks: NDArray[np.int64]) -> None:
        super().__init__(family.make())
        size = sum(sizes(family, family.spaces())[:2])
        assert family.task_features is not None
        self._features, self._tasks, self._rng = family.task_features, tasks, generator(0)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def begin(self, rng: np.random.Generator) -> None:
        """Draw tasks and start states from `rng` from now on."""
        self._rng = rng

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        self._task = int(self._rng.choice(self._tasks))
        observation, info = self.env.reset(seed=int(self._rng.integers(2**31)), options={"task": self._task})
        return self._with_features(observation), info

    def step(self, action: Array) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not np.isfinite(observation).all():  # unstable, hence terminated: it must not get into the replay
            observation, reward, info["motion"] = np.zeros_like(observation), 0.0, np.zeros_like(info["motion"])
        return self._with_features(observation), reward, terminated, truncated, info

    def _with_features(self, observation: Array) -> Array:
        return np.concatenate([observation, self._features[self._task]])


class RelabellingBuffer(ReplayBuffer):
    """Replay in which part of a batch is paid as another task would have paid (after Andrychowicz et al., 2017)."""

    def __init__(self, *args: Any, family: Family, tasks: NDArray[np.int64], share: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._family, self._chosen, self._share = family, tasks, share
        self.motions = np.zeros((self.buffer_size, self.n_envs, 6), np.float64)
        self.tasks = np.zeros((self.buffer_size, self.n_envs), np.int64)

    def add(
        self, obs: Array, next_obs: Array, action: Array, reward: Array, done: Array, infos: list[dict[str, Any]]
    ) -> None:
        self.motions[self.pos] = [info["motion"] for info in infos]
        self.tasks[self.pos] = [info["task_index"] for info in infos]
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(self, batch_inds: NDArray[np.int64], env: Any = None) -> Any:
        rows = batch_inds, np.random.randint(0, self.n_envs, len(batch_inds))
        observations, following = self.observations[rows], self.next_observations[rows]
        actions, rewards = self.actions[rows], self.rewards[rows]
        if self._family.relabel is not None and self._share > 0:
            count = round(self._share * len(batch_inds))
            other = np.random.choice(self._chosen, count)
            assert self._family.task_features is not None
            features = self._family.task_features[other]
            observations[:count, -features.shape[1] :] = following[:count, -features.shape[1] :] = features
            space: Any = self.action_space
            taken = in_units_of(space, actions[:count])  # SAC keeps them in [-1, 1]
            rewards[:count] = self._family.relabel(other, self.motions[rows][:count], taken)
        dones = self.dones[rows] * (1 - self.timeouts[rows])
        data = (observations, actions, following, dones[:, None], rewards[:, None])
        return ReplayBufferSamples(*map(self.to_torch, data))


class ConditionedSac(PolicyTraining):
    """A training of one policy for all tasks."""

    packages = ("stable_baselines3", "torch", "mujoco", "gymnasium", "numpy")

    def __init__(self, family: Family, config: SacConfig) -> None:
        self.family, self.config = family, config
        self.tasks = chosen_tasks(family, config.tasks)
        torch.set_num_threads(1)  # the products are small: a second thread helps little, and waits much beside others
        self._envs = [TaskConditioned(family, self.tasks) for _ in range(config.envs)]
        self._model = self._build()

    def _build(self) -> SAC:
        config, per_step = self.config, self.config.updates * self.config.envs
        return SAC(
            "MlpPolicy",
            DummyVecEnv([lambda env=env: env for env in self._envs]),  # type: ignore[misc]
            learning_rate=config.lr,
            gamma=config.gamma,
            batch_size=config.batch,
            buffer_size=min(config.buffer, config.steps + config.envs),
            learning_starts=config.warmup,
            train_freq=max(1, round(1 / per_step)),
            gradient_steps=max(1, round(per_step)),
            seed=config.seed,
            replay_buffer_class=RelabellingBuffer,
            replay_buffer_kwargs={"family": self.family, "tasks": self.tasks, "share": config.relabelled},
            policy_kwargs={"net_arch": [config.hidden] * config.layers, "optimizer_kwargs": {"fused": True}},
            device="cpu",
        )

    def lap(self, steps: int) -> None:
        """Train `steps` control steps from fresh episodes. Raises PolicyError if the networks diverge."""
        at = self._model.num_timesteps
        set_random_seed(int(generator(self.config.seed, 0, at).integers(2**31)))
        for index, env in enumerate(self._envs):
            env.begin(generator(self.config.seed, 1, at, index))
        self._model.action_space.seed(self.config.seed + at)
        self._model._last_obs = None
        try:
            self._model.learn(steps, reset_num_timesteps=False, log_interval=None)  # type: ignore[arg-type]
        except ValueError:  # how torch says that a distribution has no numbers any more
            if all(bool(torch.isfinite(weights).all()) for weights in self._model.policy.parameters()):
                raise
            raise PolicyError(f"the training diverged after {at} steps", hint="a lower --set lr=") from None

    @property
    def steps(self) -> int:
        """Control steps so far."""
        return self._model.num_timesteps

    def losses(self) -> dict[str, float]:
        """What the last lap's last update minimised, and the entropy coefficient; nothing before the first update."""
        if self._model._n_updates == 0:
            return {}
        logged = self._model.logger.name_to_value
        return {name: float(logged[f"train/{name}"]) for name in ("critic_loss", "actor_loss", "ent_coef")}

    def actor(self) -> Tensors:
        """The policy's tensors under their names in a weights file."""
        state = {name: value.numpy().copy() for name, value in self._model.policy.actor.state_dict().items()}
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("latent_pi")})
        names = {f"latent_pi.{number}": f"layers.{i}" for i, number in enumerate(numbers)} | {"mu": "mean"}
        renamed = {name.rsplit(".", 1)[0]: name.rsplit(".", 1) for name in state}
        return {
            f"{names.get(stem, stem)}.{part}": state[f"{stem}.{part}"]
            for stem in renamed
            for part in ("weight", "bias")
        }

    def snapshots(self, curve: Sequence[CurvePoint]) -> dict[str, CurvePoint]:
        """Which points of the curve are kept, by name."""
        return {name: first_at(curve, share) for name, share in self.config.snapshots.items()}

    # -- what a stopped run goes on from ---------------------------------------------------------------------------

    def state(self) -> Tensors:
        """Networks, optimisers and replay."""
        buffer: Any = self._model.replay_buffer
        filled = buffer.buffer_size if buffer.full else buffer.pos
        tensors: Tensors = {f"replay.{name}": getattr(buffer, name)[:filled] for name in _COLUMNS}
        tensors |= {f"policy.{name}": value.numpy() for name, value in self._model.policy.state_dict().items()}
        assert self._model.log_ent_coef is not None
        tensors["log_ent_coef"] = self._model.log_ent_coef.detach().numpy()
        for name, optimiser in self._optimisers().items():
            tensors |= optimiser_tensors(optimiser, name)
        return tensors | {"counts": np.array([self.steps, self._model._n_updates, buffer.pos, buffer.full], np.int64)}

    def load(self, tensors: Tensors) -> None:
        """Go on from a state."""
        for name, optimiser in self._optimisers().items():
            load_optimiser(optimiser, name, tensors)
        weights = {
            k.removeprefix("policy."): torch.from_numpy(v) for k, v in tensors.items() if k.startswith("policy.")
        }
        self._model.policy.load_state_dict(weights)
        assert self._model.log_ent_coef is not None
        self._model.log_ent_coef.data.copy_(torch.from_numpy(tensors["log_ent_coef"]))
        buffer: Any = self._model.replay_buffer
        for name in _COLUMNS:
            getattr(buffer, name)[: len(tensors[f"replay.{name}"])] = tensors[f"replay.{name}"]
        steps, updates, buffer.pos, full = tensors["counts"].tolist()
        buffer.full, self._model.num_timesteps, self._model._n_updates = bool(full), steps, updates

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        model = self._model
        assert model.ent_coef_optimizer is not None
        return {"actor": model.actor.optimizer, "critic": model.critic.optimizer, "entropy": model.ent_coef_optimizer}
