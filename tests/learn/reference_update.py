"""One update of FOCAL, TD3+BC and the predictors, written a second time from the papers: nothing here is idaq's.

Row by row, in float64, for numbers and not for speed. A network is a list of layers, each a weight (inputs, outputs)
and a bias (outputs,). The twin critics are `critic_0` and `critic_1`, the predictors `predictor_0` and so on.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]
Networks = dict[str, Layers]
Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an update depends on beside weights and data. No value is one at which a term drops out."""

    steps: int = 10
    lr_end: float = 0.35
    lr_encoder: float = 0.01
    lr_policy: float = 0.02
    lr_predictors: float = 0.03
    gamma: float = 0.9
    tau: float = 0.1
    alpha: float = 1.7
    policy_noise: float = 0.3
    noise_clip: float = 0.4
    policy_delay: int = 2
    next_observation: bool = True
    observation_mean: tuple[float, ...] = (0.5, -1.0)
    observation_std: tuple[float, ...] = (2.0, 0.7)
    change_std: tuple[float, ...] = (0.4, 0.3)
    reward_mean: float = -1.5
    reward_std: float = 2.5
    action_centre: tuple[float, ...] = (0.5, -0.25)
    action_scale: tuple[float, ...] = (1.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One transition in normalised units."""

    s: Tensor
    a: Tensor
    r: Tensor
    """divided by its deviation, not centred: what values add up"""
    outcome: Tensor
    """centred reward and change of observation: what encoder and predictors see"""
    following: Tensor
    """s'"""
    terminated: bool


def normalised(settings: Settings, s: Tensor, a: Tensor, r: float, following: Tensor, terminated: bool) -> Row:
    """A transition out of the environment's units."""

    def of(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    mean, std = of(settings.observation_mean), of(settings.observation_std)
    centred = of(((r - settings.reward_mean) / settings.reward_std,))
    return Row(
        s=(s - mean) / std,
        a=(a - of(settings.action_centre)) / of(settings.action_scale),
        r=of((r / settings.reward_std,))[0],
        outcome=torch.cat([centred, (following - s) / of(settings.change_std)]),
        following=(following - mean) / std,
        terminated=terminated,
    )


def forward(layers: Layers, *inputs: Tensor) -> Tensor:
    """A ReLU network of the inputs side by side."""
    x = torch.cat(inputs)
    for weight, bias in layers[:-1]:
        x = torch.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def mean(values: list[Tensor]) -> Tensor:
    """0 of nothing."""
    return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)


def belief(networks: Networks, settings: Settings, context: list[Row]) -> Tensor:
    """z of a context: the mean of what each transition says."""
    seen = slice(None) if settings.next_observation else slice(1)
    return torch.stack([forward(networks["encoder"], row.s, row.a, row.outcome[seen]).tanh() for row in context]).mean(
        0
    )


def focal(latents: list[Tensor], labels: list[int]) -> tuple[Tensor, Tensor]:
    """FOCAL, equation 13, with n = 1 and the constants of the IDAQ code: pull of like, push of unlike pairs."""
    pull, push = [], []
    for i, j in combinations(range(len(labels)), 2):
        distance = (latents[i] - latents[j]).square().mean()
        if labels[i] == labels[j]:
            pull.append((distance + 1e-3).sqrt())
        else:
            push.append(1 / (distance + 0.1))
    return mean(pull), mean(push)


def smoothed_action(networks: Networks, settings: Settings, row: Row, z: Tensor, noise: Tensor) -> Tensor:
    """TD3, equation 14: the target policy's action at s' and clipped noise, inside the action space."""
    widest = settings.noise_clip
    added = (settings.policy_noise * noise).clamp(-widest, widest)
    return (forward(networks["target_actor"], row.following, z).tanh() + added).clamp(-1, 1)


def td_target(networks: Networks, settings: Settings, row: Row, z: Tensor, noise: Tensor) -> Tensor:
    """TD3, algorithm 1: y = r + gamma min_j Q'_j(s', a'), and r alone where the task itself ended."""
    action = smoothed_action(networks, settings, row, z, noise)
    values = [forward(networks[f"target_critic_{j}"], row.following, z, action)[0] for j in (0, 1)]
    return row.r if row.terminated else row.r + settings.gamma * min(values)


Believed = tuple[Row, Tensor, Tensor]
"""a row, the z of its task, its noise"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one update is given: per task its rows, its context in two halves, its label, and noise for its rows."""

    rows: list[list[Row]]
    halves: list[tuple[list[Row], list[Row]]]
    labels: list[int]
    noise: list[list[Tensor]]

    def believed(self, networks: Networks, settings: Settings) -> list[Believed]:
        """(row, z, noise) of all rows, task by task; z is the mean over both halves and takes no gradient."""
        found = []
        for rows, halves, noises in zip(self.rows, self.halves, self.noise, strict=True):
            z = belief(networks, settings, [*halves[0], *halves[1]]).detach()
            found += [(row, z, noise) for row, noise in zip(rows, noises, strict=True)]
        return found


def focal_terms(networks: Networks, settings: Settings, step: Step) -> tuple[Tensor, Tensor]:
    """Pull and push over two latents a task."""
    latents = [belief(networks, settings, half) for halves in step.halves for half in halves]
    return focal(latents, [label for label in step.labels for _ in range(2)])


def critic_terms(networks: Networks, settings: Settings, rows: list[Believed]) -> tuple[Tensor, Tensor]:
    """Sum over critics of the mean squared TD error, and the mean value."""
    errors, values = [], []
    for row, z, noise in rows:
        y = td_target(networks, settings, row, z, noise).detach()
        both = [forward(networks[f"critic_{j}"], row.s, z, row.a)[0] for j in (0, 1)]
        errors.append(sum((q - y) ** 2 for q in both))
        values += both
    return mean(errors), mean(values)


def prediction_terms(networks: Networks, settings: Settings, rows: list[Believed]) -> Tensor:
    """Sum over predictors of their mean squared error; rows are dealt out in turn, a short last deal is left out."""
    predictors = [layers for name, layers in networks.items() if name.startswith("predictor_")]
    rows = rows[: len(rows) // len(predictors) * len(predictors)]
    errors: list[list[Tensor]] = [[] for _ in predictors]
    for number, (row, z, _) in enumerate(rows):
        member = number % len(predictors)
        errors[member].append((forward(predictors[member], row.s, z, row.a) - row.outcome).square().mean())
    return torch.stack([mean(own) for own in errors]).sum()


def actor_terms(networks: Networks, settings: Settings, rows: list[Believed]) -> tuple[Tensor, Tensor]:
    """TD3+BC, equations 3 to 5: -lambda Q_0(s, pi(s)) + (pi(s) - a)^2, lambda = alpha / mean |Q_0| held constant."""
    values, cloning = [], []
    for row, z, _ in rows:
        action = forward(networks["actor"], row.s, z).tanh()
        values.append(forward(networks["critic_0"], row.s, z, action)[0])
        cloning.append((action - row.a).square().mean())
    scale = settings.alpha / mean([q.abs() for q in values]).detach()
    return mean(cloning) - scale * mean(values), mean(cloning)


class Reference:
    """Networks of their own, and the updates that they take."""

    LEARNED = ("encoder", "critic_", "predictor_", "actor")

    def __init__(self, settings: Settings, networks: Networks) -> None:
        self.settings = settings
        self.networks = {
            name: [tuple(part.double().clone().requires_grad_(name.startswith(self.LEARNED)) for part in layer)
                   for layer in layers]
            for name, layers in networks.items()
        }  # fmt: skip
        rates = {"encoder": settings.lr_encoder, "predictor": settings.lr_predictors}
        self._rates = {
            name: rates.get(name.partition("_")[0], settings.lr_policy)
            for name in networks
            if name.startswith(self.LEARNED)
        }
        self._adam = {name: torch.optim.Adam(self._of(name), foreach=False) for name in self._rates}

    def update(self, number: int, step: Step) -> Metrics:
        """Critics, encoder, predictors; each `policy_delay`-th step the actor under the new critics, then targets.

        Every part sees the z of the encoder before the step.
        """
        rows = step.believed(self.networks, self.settings)
        pull, push = focal_terms(self.networks, self.settings, step)
        critics, value = critic_terms(self.networks, self.settings, rows)
        predictors = prediction_terms(self.networks, self.settings, rows)
        members = sum(name.startswith("predictor_") for name in self._rates)
        self._descend(number, pull + push + critics + predictors, [name for name in self._rates if name != "actor"])
        metrics = {
            "focal_pull": pull, "focal_push": push, "critic_loss": critics, "q": value,
            "prediction_loss": predictors / members,
        }  # fmt: skip
        if number % self.settings.policy_delay == 0:
            loss, cloning = actor_terms(self.networks, self.settings, rows)
            self._descend(number, loss, ["actor"])
            self._move_targets()
            metrics |= {"actor_loss": loss, "cloning": cloning}
        return {name: value.item() for name, value in metrics.items()}

    def gradients(self) -> Networks:
        """Of the last update."""
        return {name: [tuple(part.grad for part in layer) for layer in self.networks[name]] for name in self._rates}

    def _of(self, name: str) -> list[Tensor]:
        return [part for layer in self.networks[name] for part in layer]

    def _descend(self, number: int, loss: Tensor, names: list[str]) -> None:
        parameters = [part for name in names for part in self._of(name)]
        for part, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            part.grad = gradient
        for name in names:
            share = max(1 - number / self.settings.steps, self.settings.lr_end)
            self._adam[name].param_groups[0]["lr"] = self._rates[name] * share
            self._adam[name].step()

    @torch.no_grad()
    def _move_targets(self) -> None:
        tau = self.settings.tau
        for name in ("actor", "critic_0", "critic_1"):
            for target, online in zip(self._of(f"target_{name}"), self._of(name), strict=True):
                target.copy_((1 - tau) * target + tau * online)
