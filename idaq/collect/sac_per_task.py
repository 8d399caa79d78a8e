"""Trains one soft actor-critic a task, all tasks of a family side by side: the behaviours of FOCAL and IDAQ.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (2018): twin critics, targets that follow them, a
temperature that holds the entropy at -A. What the data of FOCAL (Li et al., ICLR 2021) and IDAQ (Wang et al., ICML
2023) were collected by is taken over from their code (policy_train.py and its pytorch_sac): orthogonal first weights, a
spread between e^-5 and e^2, random actions before the first update, then one update for each control step, and no end
of an episode at the time limit. Taken otherwise: smaller networks and batches with a larger step size (theirs have
2 x 1024 units, batches of 1024 and 1e-4 throughout); targets follow at each update, not at every second; and all losses
of one update are computed from the same networks, as Haarnoja's own code does: one backward pass, one optimiser.

Networks are stacks, (N, I, O) a layer, and a layer is one batched product. No number of a task depends on another: each
has its own replay and temperature, and draws from generators of (seed, task, episode). Bit-exact on one CPU thread.
Imported only when used: needs PyTorch.

Shapes: N tasks, B transitions of each, D observation, A action, I inputs, O outputs of a layer, T steps, S kept steps,
U updates of an episode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from idaq.collect.actions import in_units_of
from idaq.collect.optimiser_state import load_optimiser, optimiser_tensors
from idaq.collect.policies import sizes
from idaq.collect.policy_record import CurvePoint, SacPerTaskConfig, Tensors
from idaq.collect.policy_training import PolicyTraining, chosen_tasks
from idaq.core.errors import PolicyError
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.tasks import Family

FINAL = "final"
"""the one snapshot: the policies at the end, as FOCAL and IDAQ take the last that they save"""
Layers = list[Tensor]
"""weight (N, I, O) and bias (N, 1, O) of each layer in turn"""

# -- losses ------------------------------------------------------------------------------------------------------------


def critic_target(
    reward_NB: Tensor,
    terminated_NB: Tensor,
    next_q_2NB: Tensor,
    next_log_prob_NB: Tensor,
    alpha_N: Tensor,
    gamma: float,
) -> Tensor:
    """y = r + gamma (1 - d) (min_i Q'_i(s', a') - alpha log pi(a' | s')), (N, B); SAC, equations 3 and 5."""
    value = next_q_2NB.amin(0) - alpha_N[:, None] * next_log_prob_NB
    return reward_NB + gamma * (1 - terminated_NB) * value


def critic_loss(q_2NB: Tensor, target_NB: Tensor) -> Tensor:
    """sum over tasks and critics of the mean of (Q_i(s, a) - y)^2; SAC, equation 5 (without its 1/2, as the code)."""
    return (q_2NB - target_NB).square().mean(-1).sum()


def actor_loss(log_prob_NB: Tensor, q_2NB: Tensor, alpha_N: Tensor) -> Tensor:
    """sum over tasks of the mean of alpha log pi(a | s) - min_i Q_i(s, a), a ~ pi; SAC, equation 7."""
    return (alpha_N[:, None] * log_prob_NB - q_2NB.amin(0)).mean(-1).sum()


def temperature_loss(log_alpha_N: Tensor, log_prob_NB: Tensor, target_entropy: float) -> Tensor:
    """sum over tasks of the mean of alpha (-log pi(a | s) - H); SAC, equation 18."""
    return (log_alpha_N.exp() * (-log_prob_NB - target_entropy).mean(-1)).sum()


# -- networks ----------------------------------------------------------------------------------------------------------


def orthogonal_layers(rngs: Sequence[np.random.Generator], layer_sizes: Sequence[int]) -> Layers:
    """First weights of one MLP for each generator: orthogonal matrices, biases 0."""
    layers = Layers()
    for inputs, outputs in pairwise(layer_sizes):
        tall = max(inputs, outputs), min(inputs, outputs)
        drawn = torch.from_numpy(np.stack([rng.standard_normal(tall) for rng in rngs]))
        q, r = torch.linalg.qr(drawn)
        q = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]  # else not uniform over all orthogonal matrices
        weight = q if inputs >= outputs else q.mT
        layers += [weight.float().contiguous(), torch.zeros(len(rngs), 1, outputs)]
    return layers


def mlp(layers: Layers, x_NBI: Tensor) -> Tensor:
    """N ReLU MLPs, (N, B, O)."""
    *hidden, last = zip(layers[::2], layers[1::2], strict=True)
    for weight, bias in hidden:
        x_NBI = torch.baddbmm(bias, x_NBI, weight).relu_()
    return torch.baddbmm(last[1], x_NBI, last[0])


def twin_q(layers: Layers, obs_NBD: Tensor, action_NBA: Tensor) -> Tensor:
    """Q of both critics of each task, (2, N, B); `layers` are stacks of 2 N."""
    x_NBI = torch.cat([obs_NBD, action_NBA], -1)
    return mlp(layers, x_NBI.repeat(2, 1, 1)).view(2, *x_NBI.shape[:2])


def sample(layers: Layers, obs_NBD: Tensor, gaussian_NBA: Tensor) -> tuple[Tensor, Tensor]:
    """a = tanh(u), u = mean + std * gaussian (N, B, A), and log pi(a | s) (N, B); SAC, appendix C.

    log std = -5 + 3.5 (tanh(x) + 1); log (1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)).
    """
    mean, x = mlp(layers, obs_NBD).chunk(2, -1)
    log_std = 3.5 * x.tanh() - 1.5
    u = mean + log_std.exp() * gaussian_NBA
    log_normal = -0.5 * gaussian_NBA.square() - log_std - 0.5 * math.log(2 * math.pi)
    return u.tanh(), (log_normal - 2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1)


# -- replay ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Transitions:
    """B transitions of each task."""

    obs: Tensor
    """(N, B, D)"""
    action: Tensor
    """(N, B, A) in [-1, 1]"""
    reward: Tensor
    """(N, B)"""
    terminated: Tensor
    """(N, B) 1 where s' is worth nothing, 0 also at the time limit"""
    next_obs: Tensor
    """(N, B, D)"""


class Replay:
    """The latest S transitions of each task: rows of [s, a, r, d, s'], (N, S, D + A + 2 + D)."""

    def __init__(self, tasks: int, size: int, observation: int, action: int) -> None:
        self._parts = [observation, action, 1, 1, observation]
        self.rows = np.zeros((tasks, size, sum(self._parts)), np.float32)
        self.added = np.zeros(tasks, np.int64)
        """how many each task has ever had"""

    def add(self, tasks: NDArray[np.int64], *columns: Array) -> None:
        """One transition of each of `tasks`, from columns of all N."""
        rows = np.concatenate([column.reshape(len(column), -1)[tasks] for column in columns], 1)
        self.rows[tasks, self.added[tasks] % self.rows.shape[1]] = rows
        self.added[tasks] += 1

    def batch(self, uniform_NB: Array) -> Transitions:
        """The transitions that numbers in [0, 1) choose from what each task has."""
        kept = np.minimum(self.added, self.rows.shape[1])
        flat = (uniform_NB * kept[:, None]).astype(np.int64) + np.arange(len(kept))[:, None] * self.rows.shape[1]
        drawn = torch.from_numpy(self.rows.reshape(-1, self.rows.shape[2])).index_select(
            0, torch.from_numpy(flat.ravel())
        )
        obs, action, reward, terminated, next_obs = drawn.view(*uniform_NB.shape, -1).split(self._parts, -1)
        return Transitions(obs, action, reward[..., 0], terminated[..., 0], next_obs)


# -- training ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Draws:
    """All chance of one episode of every task, each task's from a generator of its own."""

    seeds: NDArray[np.uint64]
    """(N,) of start states"""
    acting: Array
    """(T, N, A) standard normal, or uniform in [-1, 1) before the first update"""
    rows: Array
    """(U, N, B) in [0, 1): which transitions"""
    gaussian: Array
    """(U, 2, N, B, A): of a' and a"""


class SacPerTask(PolicyTraining):
    """A training of one policy for each task."""

    def __init__(self, family: Family, config: SacPerTaskConfig) -> None:
        if wrong := [name for name in ("steps", "evaluate_every") if getattr(config, name) % family.horizon]:
            said = f"{wrong[0]} is {getattr(config, wrong[0])}, no whole number of episodes of {family.horizon} steps"
            raise PolicyError(said, hint=f"--set {wrong[0]}={family.horizon * 10}, say")
        self._family, self._config, self._tasks = family, config, chosen_tasks(family, config.tasks)
        self._env, self._space = family.lockstep(), family.spaces().actions
        self.packages = ("torch", "numpy", *family.simulators)
        self._steps = 0
        observation, _, self._action_size = sizes(family, family.spaces(), conditioned=False)
        torch.set_num_threads(1)
        hidden = [config.hidden] * config.layers
        rngs = [generator(config.seed, task) for task in self._tasks.tolist()]
        self.networks = {
            "actor": orthogonal_layers(rngs, [observation, *hidden, 2 * self._action_size]),
            "critic": orthogonal_layers([*rngs, *rngs], [observation + self._action_size, *hidden, 1]),
            "log_alpha": [torch.full((len(rngs),), math.log(config.temperature))],
        }
        self.target = [layer.clone() for layer in self.networks["critic"]]
        groups = [
            {"params": [layer.requires_grad_() for layer in layers], "lr": config.lr}
            for layers in self.networks.values()
        ]
        groups[-1]["lr"] = config.temperature_lr
        self._optimiser = torch.optim.Adam(groups, fused=True)
        self.replay = Replay(len(rngs), min(config.buffer, config.steps), observation, self._action_size)
        self._losses = dict[str, Tensor]()

    @property
    def steps(self) -> int:
        """Control steps of each task so far."""
        return self._steps

    def lap(self, steps: int) -> None:
        """Train `steps` control steps of each task. Raises PolicyError if a network diverges."""
        until = self.steps + steps
        while self.steps < until:
            self._episode(self._draw())
        if not all(bool(layer.isfinite().all()) for layers in self.networks.values() for layer in layers):
            raise PolicyError(f"the training diverged after {self.steps} steps", hint="a lower --set lr=")

    def _draw(self) -> Draws:
        """The chance of the episode that begins now."""
        config, horizon, first = self._config, self._family.horizon, self.steps
        rngs = [generator(config.seed, task, first // horizon) for task in self._tasks.tolist()]
        acting, updates = (horizon, self._action_size), sum(self._due(first + 1 + step) for step in range(horizon))
        pairs = (updates, 2, config.batch, self._action_size)
        warming = first < config.warmup
        return Draws(
            seeds=np.array([rng.integers(2**63) for rng in rngs], np.uint64),
            acting=np.stack(
                [rng.uniform(-1, 1, acting) if warming else rng.standard_normal(acting) for rng in rngs], 1
            ),
            rows=np.stack([rng.random((updates, config.batch)) for rng in rngs], 1),
            gaussian=np.stack([rng.standard_normal(pairs, np.float32) for rng in rngs], 2),
        )

    def _due(self, step: int) -> int:
        """Updates after control step number `step`, from 1."""
        if step <= self._config.warmup:
            return 0
        return math.floor(step * self._config.updates) - math.floor((step - 1) * self._config.updates)

    def _episode(self, draws: Draws) -> None:
        obs, alive, done = self._env.reset(self._tasks, draws.seeds), np.ones(len(self._tasks), bool), 0
        warming = self.steps < self._config.warmup
        for numbers in draws.acting.astype(np.float32):
            action = numbers if warming else self._act(obs, numbers)
            result = self._env.step(in_units_of(self._space, action))
            alive &= np.isfinite(result.observations).all(-1) & np.isfinite(result.rewards)
            lived = np.flatnonzero(alive)
            self.replay.add(lived, obs, action, result.rewards, result.terminated, result.observations)
            obs, alive = result.observations, alive & ~result.terminated
            self._steps += 1
            for _ in range(self._due(self.steps)):
                self.update(self.replay.batch(draws.rows[done]), torch.from_numpy(draws.gaussian[done]))
                done += 1

    @torch.no_grad()
    def _act(self, obs: Array, gaussian_NA: Array) -> Array:
        rows = torch.from_numpy(np.asarray(obs, np.float32))[:, None]
        return sample(self.networks["actor"], rows, torch.from_numpy(gaussian_NA)[:, None])[0][:, 0].numpy()

    def update(self, data: Transitions, gaussian_2NBA: Tensor) -> None:
        """One step of critics, actors and temperatures of all tasks, then of the targets."""
        actor, critic, (log_alpha,) = self.networks.values()
        alpha = log_alpha.detach().exp()
        with torch.no_grad():
            next_action, next_log_prob = sample(actor, data.next_obs, gaussian_2NBA[0])
            next_q = twin_q(self.target, data.next_obs, next_action)
            target = critic_target(data.reward, data.terminated, next_q, next_log_prob, alpha, self._config.gamma)
        action, log_prob = sample(actor, data.obs, gaussian_2NBA[1])
        fixed = [layer.detach() for layer in critic]
        self._losses = {
            "critic_loss": critic_loss(twin_q(critic, data.obs, data.action), target),
            "actor_loss": actor_loss(log_prob, twin_q(fixed, data.obs, action), alpha),
            "temperature_loss": temperature_loss(log_alpha, log_prob.detach(), -self._action_size),
        }
        self._optimiser.zero_grad()
        torch.stack(list(self._losses.values())).sum().backward()
        self._optimiser.step()
        with torch.no_grad():
            for layer, towards in zip(self.target, critic, strict=True):
                layer.lerp_(towards, self._config.tau)

    def losses(self) -> dict[str, float]:
        """Of the last update, the mean over tasks; and of the temperatures."""
        if not self._losses:
            return {}
        means = {name: float(loss.detach()) / len(self._tasks) for name, loss in self._losses.items()}
        return means | {"ent_coef": float(self.networks["log_alpha"][0].detach().exp().mean())}

    def actor(self) -> Tensors:
        """All policies, (N, O, I) and (N, O) a layer, under the names of a weights file."""
        tensors = {}
        *hidden, last = pairwise(layer.detach().numpy() for layer in self.networks["actor"])
        parts = [(f"layers.{i}", *pair) for i, pair in enumerate(hidden[::2])]
        halves = zip(*(np.split(layer, 2, -1) for layer in last), strict=True)
        parts += [(name, *pair) for name, pair in zip(("mean", "log_std"), halves, strict=True)]
        for name, weight, bias in parts:
            tensors |= {f"{name}.weight": weight.swapaxes(1, 2).copy(), f"{name}.bias": bias[:, 0].copy()}
        return tensors

    def snapshots(self, curve: Sequence[CurvePoint]) -> dict[str, CurvePoint]:
        """The last point."""
        return {FINAL: curve[-1]}

    def state(self) -> Tensors:
        """Networks, optimiser and replay."""
        used = int(min(self.replay.added.max(), self.replay.rows.shape[1]))
        tensors = {name: layer.detach().numpy() for name, layer in self._layers().items()}
        tensors |= optimiser_tensors(self._optimiser, "all")
        counts = np.array([self.steps, *self.replay.added.tolist()], np.int64)
        return tensors | {"replay": self.replay.rows[:, :used], "counts": counts}

    def load(self, tensors: Tensors) -> None:
        """Go on from a state."""
        for name, layer in self._layers().items():
            layer.detach().copy_(torch.from_numpy(tensors[name]))
        load_optimiser(self._optimiser, "all", tensors)
        self.replay.rows[:, : tensors["replay"].shape[1]] = tensors["replay"]
        self._steps, self.replay.added[:] = int(tensors["counts"][0]), tensors["counts"][1:]

    def _layers(self) -> dict[str, Tensor]:
        networks = self.networks | {"target": self.target}
        return {f"{name}.{i}": layer for name, layers in networks.items() for i, layer in enumerate(layers)}
