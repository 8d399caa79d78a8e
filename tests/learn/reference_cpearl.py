"""One update of cpearl and pearl, written a second time from the papers and the reference code: nothing here is idaq's.

In float64. A network is a list of layers, each a weight (inputs, outputs) and a bias; see `reference_update`.
Densities are those of torch.distributions.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Normal, TanhTransform, TransformedDistribution, kl_divergence
from torch.nn.functional import softplus

from tests.learn.reference_update import Layers, Networks, focal

Columns = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an update depends on beside weights and data. No value is one at which a term drops out."""

    brac: bool = True
    bottleneck: bool = False
    critic_gradients: bool = False
    focal_weight: float = 1.7
    kl_weight: float = 0.3
    lr: float = 0.02
    lr_encoder: float = 0.01
    lr_dual: float = 0.03
    gamma: float = 0.9
    tau: float = 0.1
    reward_scale: float = 1.3
    mean_weight: float = 0.2
    std_weight: float = 0.4
    activation_weight: float = 0.15
    alpha: float = 2.0
    alpha_lr: float = 1.5
    target_divergence: float = 0.3
    dual_steps: int = 2
    slope_weight: float = 2.5


@dataclass(frozen=True, kw_only=True)
class Given:
    """Columns (N, B, ...) and (N, K, ...) in normalised units, labels, and the update's random numbers in its order."""

    data: Columns
    context: Columns
    labels: list[int]
    z_noise: Tensor
    policy_noise: Tensor
    dual: list[tuple[Tensor, Tensor]]
    """of each step of the dual critic: noise (R, A) of its actions, places (R, 1) between them and the data's"""


def run(layers: Layers, *inputs: Tensor) -> Tensor:
    """A ReLU network of rows."""
    x = torch.cat(inputs, -1)
    for weight, bias in layers[:-1]:
        x = torch.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def multiplied(mean: Tensor, variance: Tensor) -> Normal:
    """The product of the Gaussians of (K, Z), one after another."""
    m, v = mean[0], variance[0]
    for other, spread in zip(mean[1:], variance[1:], strict=True):
        m, v = (m * spread + other * v) / (v + spread), v * spread / (v + spread)
    return Normal(m, v.sqrt())


@dataclass(kw_only=True)
class Reference:
    """Networks of their own, alpha, and the updates that they take."""

    settings: Settings
    networks: Networks
    reward_std: float
    alpha: float = field(init=False)
    gradients: dict[str, list[Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.alpha = self.settings.alpha
        self.networks = {
            name: [tuple(part.double().requires_grad_(name != "target_value") for part in layer) for layer in layers]
            for name, layers in self.networks.items()
        }
        rates = {"encoder": self.settings.lr_encoder, "dual": self.settings.lr_dual}
        self._adam = {
            name: torch.optim.Adam(self._of(name), lr=rates.get(name, self.settings.lr), foreach=False)
            for name in self.networks
            if name != "target_value"
        }

    def update(self, given: Given) -> dict[str, float]:
        """Encoder and critics; the dual critic; value and policy under the new critics; the target; alpha."""
        s, nets = self.settings, self.networks
        halves, z, belief = self._encode(given)
        pull, push = focal([half for pair in halves for half in pair], [n for n in given.labels for _ in range(2)])
        loss_encoder = s.focal_weight * (pull + push)
        told = {"focal_pull": pull, "focal_push": push} if s.focal_weight else {}
        if s.bottleneck:
            kl = torch.stack([kl_divergence(each, Normal(0.0, 1.0)).sum() for each in belief]).sum()
            loss_encoder, told = loss_encoder + s.kl_weight * kl, told | {"kl": kl}
        rows = {name: column.flatten(0, 1) for name, column in given.data.items()}
        z = torch.cat([each.expand(len(column), -1) for each, column in zip(z, given.data["obs"], strict=True)])
        fixed = z.detach()
        y = rows["reward"] * self.reward_std * s.reward_scale
        y = y + s.gamma * (1 - rows["terminated"]) * run(nets["target_value"], rows["next_obs"], fixed)[:, 0].detach()
        seen = z if s.critic_gradients else fixed
        q = [run(nets[name], rows["obs"], seen, rows["action"])[:, 0] for name in ("critic_0", "critic_1")]
        critic = sum(((each - y) ** 2).mean() for each in q)
        told |= {"critic_loss": critic, "q": torch.stack(q).mean()}
        self._descend(loss_encoder + critic, "encoder", "critic_0", "critic_1")
        told |= self._improve(given, rows, fixed)
        return {name: value.item() for name, value in told.items()}

    def _improve(self, given: Given, rows: Columns, z: Tensor) -> dict[str, Tensor]:
        s, nets, told = self.settings, self.networks, {}
        at = (rows["obs"], z)
        mean, log_std = run(nets["actor"], *at).chunk(2, -1)
        log_std = log_std.clamp(max=0)
        policy = TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform()])
        u = mean + log_std.exp() * given.policy_noise
        action = u.tanh()
        log_prob = policy.log_prob(action).sum(-1)
        loss = log_prob - torch.minimum(*[run(nets[name], *at, action)[:, 0] for name in ("critic_0", "critic_1")])
        value = run(nets["value"], *at)[:, 0]
        loss_value = ((value + loss.detach()) ** 2).mean()
        told |= {"value_loss": loss_value, "value": value.mean(), "entropy": -log_prob.mean()}
        if s.brac:
            for noise, place in given.dual:
                told |= self._step_dual(at, (mean + log_std.exp() * noise).tanh().detach(), rows["action"], place)
            d = self._divergence(at, action, rows["action"])
            loss = loss + self.alpha * d
            told |= {"divergence": d.mean(), "alpha": torch.tensor(self.alpha)}
            self.alpha = min(max(self.alpha + s.alpha_lr * (d.mean().item() - s.target_divergence), 0.0), 2000.0)
        told |= {"policy_loss": loss.mean()}
        loss = loss.mean() + s.mean_weight * (mean**2).mean() + s.std_weight * (log_std**2).mean()
        loss = loss + s.activation_weight * (u**2).sum(-1).mean()
        self._descend(loss, "actor")
        self._descend(loss_value, "value")
        with torch.no_grad():
            for slow, fast in zip(self._of("target_value"), self._of("value"), strict=True):
                slow.copy_((1 - s.tau) * slow + s.tau * fast)
        return told

    def _step_dual(self, at: tuple[Tensor, Tensor], action: Tensor, data: Tensor, place: Tensor) -> dict[str, Tensor]:
        between = ((1 - place) * action + place * data).requires_grad_()
        (slope,) = torch.autograd.grad(run(self.networks["dual"], *at, between).sum(), between, create_graph=True)
        penalty = ((slope.norm(dim=-1) - 1).clamp(min=0) ** 2).mean()
        loss = self.settings.slope_weight * penalty - self._divergence(at, action, data).mean()
        self._descend(loss, "dual")
        return {"dual_loss": loss, "dual_penalty": penalty}

    def _divergence(self, at: tuple[Tensor, Tensor], action: Tensor, data: Tensor) -> Tensor:
        of_policy, of_data = (softplus(run(self.networks["dual"], *at, each)[:, 0]) for each in (action, data))
        return -of_data + of_policy.log() + 1

    def _encode(self, given: Given) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor], list[Normal]]:
        """Beliefs of halves, z, and with the bottleneck the Gaussian of the whole context, each task for itself."""
        halves, zs, beliefs = [], [], []
        for task, noise in enumerate(given.z_noise):
            said = run(self.networks["encoder"], *(given.context[name][task] for name in ("obs", "action", "outcome")))
            middle = len(said) // 2
            if self.settings.bottleneck:
                mean, raw = said.chunk(2, -1)
                spread = softplus(raw)
                beliefs.append(multiplied(mean, spread))
                parts = zip(mean.split(middle), spread.split(middle), strict=True)
                halves.append(tuple(multiplied(*part).mean for part in parts))
                zs.append(beliefs[-1].mean + beliefs[-1].stddev * noise)
            else:
                said = said.tanh()
                halves.append((said[:middle].mean(0), said[middle:].mean(0)))
                zs.append(said.mean(0))
        return halves, zs, beliefs

    def _of(self, name: str) -> list[Tensor]:
        return [part for layer in self.networks[name] for part in layer]

    def _descend(self, loss: Tensor, *names: str) -> None:
        for name in names:
            parts = self._of(name)
            self.gradients[name] = list(torch.autograd.grad(loss, parts, retain_graph=True))
        for name in names:
            for part, gradient in zip(self._of(name), self.gradients[name], strict=True):
                part.grad = gradient
            self._adam[name].step()
