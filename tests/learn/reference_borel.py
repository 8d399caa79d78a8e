"""borel's losses, its relabelled states and SAC's losses a second time, written from papers: nothing here is idaq's.

One trajectory, one belief and one step at a time, in float64, from named weights as a state dict has them.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a trajectory in normalised units."""

    s: Tensor
    a: Tensor
    r: Tensor
    """centred, as encoder and decoders see it"""
    change: Tensor
    """s' - s by its deviation"""
    following: Tensor
    """s'"""
    first: bool
    """of its episode"""
    terminated: bool
    paid: Tensor
    """the reward that values add up: not centred"""


Trajectory = list[Step]


def linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    y = weights[f"{name}.weight"] @ x
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def features(weights: Weights, name: str, *inputs: Tensor) -> Tensor:
    return torch.cat([linear(weights, f"{name}.layers.{i}", x).relu() for i, x in enumerate(inputs)])


def gru(weights: Weights, x: Tensor, hidden: Tensor) -> Tensor:
    """Cho et al. (2014) in torch's form: reset and update gates, and a candidate whose recurrent part is reset."""
    name = "encoder.gru."
    inputs = weights[f"{name}weight_ih_l0"] @ x + weights[f"{name}bias_ih_l0"]
    recurrent = weights[f"{name}weight_hh_l0"] @ hidden + weights[f"{name}bias_hh_l0"]
    (ri, zi, ni), (rh, zh, nh) = inputs.chunk(3), recurrent.chunk(3)
    reset, update = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
    candidate = torch.tanh(ni + reset * nh)
    return (1 - update) * candidate + update * hidden


def hidden_states(weights: Weights, trajectory: Trajectory) -> list[Tensor]:
    """Before each step and after the last; an episode's end wipes nothing out."""
    states = [torch.zeros(weights["encoder.head.weight"].shape[1], dtype=torch.float64)]
    for step in trajectory:
        seen = torch.cat([step.following, torch.tensor([float(step.first)], dtype=torch.float64)])
        states.append(gru(weights, features(weights, "encoder.features", seen, step.a, step.r), states[-1]))
    return states


def beliefs(weights: Weights, trajectory: Trajectory) -> list[tuple[Tensor, Tensor]]:
    """Mean and log variance in each of these states."""
    found = []
    for state in hidden_states(weights, trajectory):
        moments = linear(weights, "encoder.head", state)
        found.append((moments[: len(moments) // 2], moments[len(moments) // 2 :]))
    return found


def decoded(weights: Weights, name: str, m: Tensor, step_features: Tensor) -> Tensor:
    """A ReLU network of [m, features] side by side, one hidden layer more after it."""
    both = torch.cat([weights[f"{name}.of_task.weight"], weights[f"{name}.of_step.weight"]], 1)
    x = (both @ torch.cat([m, step_features]) + weights[f"{name}.of_task.bias"]).relu()
    return linear(weights, f"{name}.rest.2", linear(weights, f"{name}.rest.0", x).relu())


def error(weights: Weights, m: Tensor, step: Step) -> Tensor:
    """Squared error of the reward, and where s' is decoded the mean squared error of its change."""
    seen = features(weights, "reward.features", step.s, step.a, step.following)
    found = (decoded(weights, "reward", m, seen)[0] - step.r[0]) ** 2
    if "change.of_task.weight" in weights:
        seen = features(weights, "change.features", step.s, step.a)
        found = found + ((decoded(weights, "change", m, seen) - step.change) ** 2).mean()
    return found


def elbo(
    weights: Weights, trajectories: list[Trajectory], chosen: list[int], noise: list[list[Tensor]], kl_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """- sum of ELBO_t over the chosen t that there are, of each trajectory; the mean over trajectories. And metrics."""
    total, errors, kls = [], [], []
    for trajectory, noises in zip(trajectories, noise, strict=True):
        terms = beliefs(weights, trajectory)
        unit = Normal(torch.zeros_like(terms[0][0]), torch.ones_like(terms[0][0]))
        gaussians = [unit, *(Normal(mean, (logvar / 2).exp()) for mean, logvar in terms)]
        losses = []
        for t, epsilon in zip(chosen, noises, strict=True):
            if t > len(trajectory):
                continue
            before, now = list(pairwise(gaussians))[t]
            m = now.mean + now.stddev * epsilon
            own = [error(weights, m, step) for step in trajectory]
            kl = kl_divergence(now, before).sum()
            losses.append(sum(own) + kl_weight * kl)
            errors += own
            kls.append(kl)
        total.append(sum(losses) if losses else torch.zeros((), dtype=torch.float64))
    metrics = {"reconstruction": torch.stack(errors).mean().item(), "kl": torch.stack(kls).mean().item()}
    return torch.stack([torch.as_tensor(part) for part in total]).mean(), metrics


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the policy learns from."""

    x: Tensor
    """[s, mean, log variance]"""
    next_x: Tensor
    step: Step


def relabelled(weights: Weights, trajectories: list[Trajectory]) -> list[Row]:
    """Every step, its state and the next one with the beliefs there; a new episode begins where one ended."""
    rows = []
    for trajectory in trajectories:
        there = [torch.cat(moments).detach() for moments in beliefs(weights, trajectory)]
        for t, step in enumerate(trajectory):
            following = trajectory[t + 1].s if t + 1 < len(trajectory) else step.following
            x, next_x = torch.cat([step.s, there[t]]), torch.cat([following, there[t + 1]])
            rows.append(Row(x=x, next_x=next_x, step=step))
    return rows


def mlp(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Two hidden layers of ReLU."""
    for layer in (0, 2, 4):
        x = weights[f"{name}.{layer}.weight"] @ x + weights[f"{name}.{layer}.bias"]
        x = x.relu() if layer < 4 else x
    return x


def q(weights: Weights, name: str, x: Tensor, a: Tensor) -> list[Tensor]:
    """The value by either critic."""
    found = []
    for member in (0, 1):
        y = torch.cat([x, a])
        for layer in (0, 1, 2):
            y = y @ weights[f"{name}.weights.{layer}"][member] + weights[f"{name}.biases.{layer}"][member, 0]
            y = y.relu() if layer < 2 else y
        found.append(y[0])
    return found


def sampled(weights: Weights, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """An action and its log likelihood, by torch's own distribution."""
    mean, log_std = mlp(weights, "policy.actor", x).chunk(2)
    normal = Normal(mean, log_std.exp())
    tanh = torch.distributions.TanhTransform()
    u = mean + normal.stddev * noise
    return u.tanh(), (normal.log_prob(u) - tanh.log_abs_det_jacobian(u, u.tanh())).sum()


def sac_critics(weights: Weights, rows: list[Row], noise: Tensor, temperature: float, gamma: float) -> Tensor:
    """Sum over critics of the mean squared error against the smaller target value, less what the action is likely."""
    losses = []
    for row, epsilon in zip(rows, noise, strict=True):
        with torch.no_grad():
            action, log_prob = sampled(weights, row.next_x, epsilon)
            soft = min(q(weights, "policy.target_critic", row.next_x, action)) - temperature * log_prob
            y = row.step.paid + (0 if row.step.terminated else gamma * soft)
        losses.append(sum((value - y) ** 2 for value in q(weights, "policy.critic", row.x, row.step.a)))
    return torch.stack(losses).mean()


def sac_policy(weights: Weights, rows: list[Row], noise: Tensor, temperature: float) -> Tensor:
    """What the action is likely, less the smaller value."""
    losses = []
    for row, epsilon in zip(rows, noise, strict=True):
        action, log_prob = sampled(weights, row.x, epsilon)
        losses.append(temperature * log_prob - min(q(weights, "policy.critic", row.x, action)))
    return torch.stack(losses).mean()
