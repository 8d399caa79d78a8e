"""Trains a behaviour policy: one soft actor-critic (Stable-Baselines3) for all tasks of a family.

Training goes in laps: fresh episodes, seeds that follow from (seed, lap), an evaluation, a checkpoint. What was stopped
goes on from the last lap and ends as if it had not been. Imported only when used: needs the extra `behaviors`.
Shapes: B environments, D observation, F task features, A action, M motion.
"""

import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv

from idaq.collect.actions import in_units_of
from idaq.collect.policies import GaussianActor, play, sizes
from idaq.collect.policy_record import (
    RECORD,
    CurvePoint,
    PolicyRecord,
    SacConfig,
    Snapshot,
    Tensors,
    read_record,
    write_policy,
    write_record,
)
from idaq.core.errors import PolicyError
from idaq.core.files import write_bytes
from idaq.core.metrics import append_metrics, truncate_metrics
from idaq.core.seeds import generator
from idaq.core.types import Advance, Array, ignore_progress
from idaq.tasks import Family

CHECKPOINT = "checkpoint.safetensors"
MEASURED = 40
"""about so many tasks, evenly spread, make a point of the curve: with ten, luck chose the best of it"""
_COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts", "motions", "tasks")


class TaskConditioned(gym.Wrapper[Array, Array, Array, Array]):
    """An environment whose every episode is a random task, and whose observations end with that task's features."""

    def __init__(self, family: Family, tasks: NDArray[np.int64]) -> None:
        super().__init__(family.make())
        assert family.task_features is not None
        self._features, self._tasks, self._rng = family.task_features, tasks, generator(0)
        size = sum(sizes(family, family.spaces())[:2])
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


class Training:
    """A training of SAC in a folder, lap by lap."""

    def __init__(self, family: Family, config: SacConfig, folder: Path) -> None:
        count = len(family.tasks)
        if bad := [task for task in config.tasks if task >= count]:
            raise PolicyError(f"{family.name} has no tasks {bad}", hint=f"task indices from 0 to {count - 1}")
        self.family, self.config, self.folder = family, config, folder
        self.tasks = np.array(config.tasks or range(count))
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

    def evaluate(self, actor: Tensors, tasks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return of the mean action on each task, one episode, always from the same start states."""
        return play(self.family, GaussianActor(actor), tasks, np.arange(len(tasks), dtype=np.uint64), 0.0).returns

    # -- what a stopped run goes on from ---------------------------------------------------------------------------

    def save(self) -> None:
        """Write networks, optimisers and replay, whole or not at all."""
        buffer: Any = self._model.replay_buffer
        filled = buffer.buffer_size if buffer.full else buffer.pos
        tensors = {f"replay.{name}": getattr(buffer, name)[:filled] for name in _COLUMNS}
        tensors |= {name: value.detach().numpy() for name, value in self._tensors().items()}
        tensors["counts"] = np.array([self.steps, self._model._n_updates, buffer.pos, buffer.full], np.int64)
        content = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
        write_bytes(self.folder / CHECKPOINT, content)

    def restore(self) -> None:
        """Go on from the folder's checkpoint, if there is one. Raises PolicyError if it cannot be read."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            tensors = load_file(path)
            self._load(tensors)
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            hint = f"remove {self.folder} and train again"
            raise PolicyError(f"checkpoint {path} cannot be read: {error}", hint=hint) from None

    def _load(self, tensors: dict[str, Array]) -> None:
        for name, optimiser in self._optimisers().items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key in tensors:
                if key.startswith(f"optimiser.{name}."):
                    index, field = key.removeprefix(f"optimiser.{name}.").split(".")
                    state.setdefault(int(index), {})[field] = torch.from_numpy(tensors[key])
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
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

    def _tensors(self) -> dict[str, torch.Tensor]:
        assert self._model.log_ent_coef is not None
        tensors = {f"policy.{name}": value for name, value in self._model.policy.state_dict().items()}
        tensors["log_ent_coef"] = self._model.log_ent_coef
        for name, optimiser in self._optimisers().items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{name}.{index}.{field}": value for field, value in state.items()}
        return tensors


def train_policy(
    family: Family, config: SacConfig, folder: Path, command: str, progress: Advance = ignore_progress
) -> PolicyRecord:
    """Train in `folder`, or go on there; ends with a weights file for each snapshot and record.json.

    `progress` counts control steps. With more `steps` than before a finished training goes on; other `snapshots` are
    chosen from what the folder has. Raises PolicyError for a folder of another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _begun(family, config, folder, command)
    if record.snapshots and record.config == config:
        progress(config.steps)
        return record
    record = replace(record, config=config, command=command, snapshots={})  # none until they are chosen anew
    training = Training(family, config, folder)
    training.restore()
    curve = [point for point in record.curve if point.steps <= min(training.steps, config.steps)]
    truncate_metrics(folder, training.steps + 1 if curve else 0)
    progress(training.steps)
    while not curve or training.steps < config.steps:
        began, before = time.perf_counter(), training.steps
        if curve:
            training.lap(min(config.evaluate_every, config.steps - training.steps))
        curve.append(_point(training, curve, began))
        append_metrics(folder, training.steps, {"return": curve[-1].mean} | training.losses())
        write_policy(folder / f"step-{training.steps:09d}.safetensors", training.actor())
        _write(folder, record, curve=curve)
        training.save()
        progress(training.steps - before)
    return _finish(training, record, curve)


def _begun(family: Family, config: SacConfig, folder: Path, command: str) -> PolicyRecord:
    if (folder / RECORD).exists():
        record = read_record(folder)
        same = replace(record.config, snapshots=config.snapshots, steps=config.steps)
        if (record.family, same) != (family.name, config):
            raise PolicyError(
                f"{folder} holds a training of {record.family} with another config", hint="choose another folder: --out"
            )
        return record
    observations, features, actions = sizes(family, family.spaces())
    record = PolicyRecord(
        family=family.name,
        algorithm="SAC",
        versions={name: version(name) for name in ("stable_baselines3", "torch", "mujoco", "gymnasium", "numpy")},
        command=command,
        observation_size=observations,
        feature_size=features,
        action_size=actions,
        config=config,
        curve=[],
        snapshots={},
    )
    write_record(folder, record)
    return record


def _point(training: Training, curve: list[CurvePoint], began: float) -> CurvePoint:
    every = max(1, len(training.tasks) // MEASURED)
    returns = training.evaluate(training.actor(), training.tasks[::every])
    if not np.isfinite(returns).all():
        raise PolicyError("the policy drives the simulation to NaN or infinity", hint="a lower --set lr=")
    return CurvePoint(
        steps=training.steps,
        mean=float(returns.mean()),
        minimum=float(returns.min()),
        maximum=float(returns.max()),
        seconds=time.perf_counter() - began + (curve[-1].seconds if curve else 0),
    )


def _write(folder: Path, record: PolicyRecord, **changes: Any) -> PolicyRecord:
    changed = replace(record, **changes)
    write_record(folder, changed)
    return changed


def _finish(training: Training, record: PolicyRecord, curve: list[CurvePoint]) -> PolicyRecord:
    """Choose the snapshots, measure them on all tasks, and write them."""
    snapshots = {}
    for name, share in training.config.snapshots.items():
        point = first_at(curve, share)
        actor = load_file(training.folder / f"step-{point.steps:09d}.safetensors")
        returns = training.evaluate(actor, training.tasks)
        snapshots[name] = Snapshot(
            sha256=write_policy(training.folder / f"{name}.safetensors", actor),
            steps=point.steps,
            mean=float(returns.mean()),
            std=float(returns.std()),
            minimum=float(returns.min()),
            maximum=float(returns.max()),
        )
    return _write(training.folder, record, curve=curve, snapshots=snapshots)


def first_at(curve: list[CurvePoint], share: float) -> CurvePoint:
    """The first point that is `share` of the way from the curve's first to its best."""
    first, best = curve[0].mean, max(point.mean for point in curve)
    wanted = min(first + share * (best - first), best)  # rounding may lead beyond the best
    return next(point for point in curve if point.mean >= wanted)
