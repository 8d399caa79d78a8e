"""The meta-trained agent: FOCAL encoder + z-conditioned TD3+BC + predictor ensemble, in the dataset's own units.

NumPy in, NumPy out for whoever acts; torch inside. Shapes: N tasks, B transitions a task, K context, R = N * B rows,
P problems adapted side by side, Z latent, D observation, A action, E ensemble.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.core.config import to_mapping
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.ensemble import PredictorEnsemble
from idaq.learn.focal import FocalEncoder, focal_loss
from idaq.learn.td3bc import Td3Bc, actor_loss, critic_loss
from idaq.loader.transitions import Transitions

Floats = NDArray[np.float32]
Act = Callable[[NDArray[Any], Floats], Floats]
"""observations (P, D), latents (P, Z) -> actions (P, A)"""
Metrics = dict[str, Tensor]


class Agent(nn.Module):
    """Networks and normalisation. Everything that acting needs is in its `state_dict`."""

    observation_mean: Tensor
    observation_std: Tensor
    change_std: Tensor
    action_centre: Tensor
    action_scale: Tensor
    reward_mean: Tensor
    reward_std: Tensor

    def __init__(self, config: TrainConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        size, action, latent = spec.observation_size, spec.action_size, config.encoder.latent
        extra = size if config.encoder.next_observation else 0
        self.encoder = FocalEncoder(config.encoder, size + action + 1 + extra)
        self.policy = Td3Bc(config.learner, size + latent, action)
        self.ensemble = PredictorEnsemble(config.ensemble, size + latent + action, size)
        for name, value in to_mapping(spec).items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    # -- units ---------------------------------------------------------------------------------------------------

    def columns(self, data: Transitions) -> dict[str, Tensor]:
        """A batch as normalised tensors on the agent's device: obs, action, reward, next_obs, change, terminated."""
        raw = {
            name: self._tensor(getattr(data, name))
            for name in ("observations", "actions", "rewards", "next_observations")
        }
        return {
            "obs": self._normal(raw["observations"]),
            "next_obs": self._normal(raw["next_observations"]),
            "action": (raw["actions"] - self.action_centre) / self.action_scale,
            "reward": raw["rewards"] / self.reward_std,
            "outcome": torch.cat(
                [
                    ((raw["rewards"] - self.reward_mean) / self.reward_std)[..., None],
                    (raw["next_observations"] - raw["observations"]) / self.change_std,
                ],
                -1,
            ),
            "terminated": self._tensor(data.terminated),
        }

    def context_rows(self, columns: dict[str, Tensor]) -> Tensor:
        """What the encoder reads of each transition: s, a, r and, if configured, s' - s. -> (..., I)"""
        outcome = columns["outcome"] if self.config.encoder.next_observation else columns["outcome"][..., :1]
        return torch.cat([columns["obs"], columns["action"], outcome], -1)

    def _normal(self, observations: Tensor) -> Tensor:
        return (observations - self.observation_mean) / self.observation_std

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.observation_mean.device)

    # -- acting --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def embed(self, transitions: Transitions) -> Float32[np.ndarray, "*lead Z"]:
        """What each transition says of z; the belief of a context is the mean over it. (...) -> (..., Z)"""
        return self.encoder.embed(self.context_rows(self.columns(transitions))).cpu().numpy()

    def encode(self, context: Transitions) -> Float32[np.ndarray, "P Z"]:
        """Belief z of each context: transitions (P, K) -> (P, Z)."""
        return self.embed(context).mean(-2)

    def acting(self) -> Act:
        """The policy as it is now, deterministic, in the environment's units.

        NumPy, weights copied: for the few rows of an adaptation torch takes three times as long.
        """
        layers = [
            (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy())
            for layer in self.policy.actor
            if isinstance(layer, nn.Linear)
        ]
        mean, std = self.observation_mean.cpu().numpy(), self.observation_std.cpu().numpy()
        centre, scale = self.action_centre.cpu().numpy(), self.action_scale.cpu().numpy()

        def act(observations_PD: Shaped[np.ndarray, "P D"], z_PZ: Floats) -> Floats:
            x = np.concatenate([(observations_PD.astype(np.float32) - mean) / std, z_PZ], -1)
            for weight, bias in layers[:-1]:
                x = x @ weight
                x += bias
                np.maximum(x, 0, out=x)
            return np.tanh(x @ layers[-1][0] + layers[-1][1]) * scale + centre

        return act

    @torch.no_grad()
    def predict(
        self, data: Transitions, z: Float32[np.ndarray, "R Z"]
    ) -> tuple[Float32[np.ndarray, "E R Q"], Float32[np.ndarray, "R Q"]]:
        """Predicted and true outcomes in normalised units: transitions (R), z (R, Z) -> (E, R, 1 + D), (R, 1 + D)."""
        columns = self.columns(data)
        x = torch.cat([columns["obs"], self._tensor(z), columns["action"]], -1)
        return self.ensemble(x).cpu().numpy(), columns["outcome"].cpu().numpy()


class Optimisation:
    """The agent's optimisers and its one training step."""

    def __init__(self, agent: Agent) -> None:
        self.agent, config = agent, agent.config
        groups = [
            {"params": list(agent.encoder.parameters()), "lr": config.encoder.lr},
            {"params": list(agent.policy.critic.parameters()), "lr": config.learner.lr},
            {"params": list(agent.ensemble.parameters()), "lr": config.ensemble.lr},
        ]
        self.main = torch.optim.Adam(groups, fused=True)
        self.actor = torch.optim.Adam(agent.policy.actor.parameters(), lr=config.learner.lr, fused=True)
        self._rates = {name: [group["lr"] for group in optimiser.param_groups] for name, optimiser in self.named()}

    def decay(self, step: int) -> None:
        """Set the learning rates of a step: a pure function of it."""
        share = max(1 - step / self.agent.config.steps, self.agent.config.lr_end)
        for name, optimiser in self.named():
            for group, rate in zip(optimiser.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * share

    def named(self) -> Iterator[tuple[str, torch.optim.Adam]]:
        """The optimisers by name, for checkpoints."""
        yield from (("main", self.main), ("actor", self.actor))

    def step(
        self, step: int, batch: Transitions, context: Transitions, tasks_N: NDArray[np.int64], noise: Tensor
    ) -> Metrics:
        """One update from transitions (N, B) and context (N, K); `noise` (N * B, A) is standard normal.

        The context is encoded in two halves: each task then has a same-task pair in every batch, which the pull
        term of FOCAL needs. The policy and the predictors see the mean of both, detached.
        """
        agent, policy = self.agent, self.agent.policy
        self.decay(step)
        halves = agent.context_rows(agent.columns(context)).unflatten(1, (2, -1))
        z_halves = agent.encoder(halves)
        labels = torch.as_tensor(tasks_N).repeat_interleave(2).to(z_halves.device)
        loss_focal, info = focal_loss(z_halves.flatten(0, 1), labels)

        data = agent.columns(batch)
        z = z_halves.detach().mean(1, keepdim=True).expand(-1, batch.rewards.shape[1], -1).flatten(0, 1)
        data = {name: column.flatten(0, 1) for name, column in data.items()}
        x = torch.cat([data["obs"], z], -1)
        next_x = torch.cat([data["next_obs"], z], -1)
        target = policy.target(data["reward"], data["terminated"], next_x, noise)
        loss_critic, info_critic = critic_loss(policy.q(policy.critic, x, data["action"]), target)
        loss_predict, info_predict = agent.ensemble.loss(torch.cat([x, data["action"]], -1), data["outcome"])
        self.main.zero_grad()
        (loss_focal + loss_critic + loss_predict).backward()
        self.main.step()
        info |= info_critic | info_predict

        if step % policy.config.policy_delay == 0:
            info |= self._actor_step(x, data["action"])
            policy.follow()
        return info

    def _actor_step(self, x: Tensor, data_action: Tensor) -> Metrics:
        policy = self.agent.policy
        parameters = list(policy.actor.parameters())
        action = policy.act(x)
        loss, info = actor_loss(
            policy.q(policy.critic, x, action, critics=1)[0], action, data_action, policy.config.alpha
        )
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.actor.step()
        return info
