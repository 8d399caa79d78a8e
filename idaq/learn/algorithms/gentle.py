"""gentle: a task auto-encoder. z is what lets a decoder tell rewards and next states, whoever acted.

GENTLE: Zhou et al., AAAI 2024 (code: LAMDA-RL/GENTLE). The encoder learns from reconstruction alone. So that z depends
on the task and not on the task's behaviour policy, most of each context is made up: states of several tasks, actions of
the policy under the beliefs of these tasks, outcomes as models of the task itself predict them.

    models    of (r, s') given (s, a), for each training task an ensemble of its own: learned first, then held still
    context   `share` of it made up from then on: the encoder, the policy and the ensemble of IDAQ learn under its z
    encoder   and decoder: squared error of what the encoder reads of an outcome, from (s, a) and z of the context

What differs from the code:
- There the models are trained to the end by themselves, each on 80% of its task's data until the rest of it says stop.
  Here they learn in the first `models.steps_share` of the same loop; meanwhile encoder and policy learn from contexts
  as they are. Their networks are of ReLU and without weight decay, each member learns from its own rows.
- There a buffer of made-up transitions is refilled every 400 steps, in which a quarter comes from the task's own
  states and a quarter from each of about three others. Here each step makes up its own, a quarter from own states and
  the rest from any task of the batch. The policy acts, not its target.
- Left out is what has no effect there: sorting by the models' spread before a uniform draw, the weight of the loss.

Shapes: N tasks, K context transitions and B policy transitions a task, M training tasks, E members, I = [s, a],
Z latent, Q = 1 + D numbers of an outcome (reward and change of observation), of which the encoder reads O: 1 or Q.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from idaq.learn.algorithms.gentle_config import GentleConfig, ModelsConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.encoder import Columns, Drawn, Encoded, Metrics, Objective
from idaq.learn.networks import EnsembleMLP, mlp

# -- losses ------------------------------------------------------------------------------------------------------


def reconstruction_loss(
    decoded_NKO: Float[Tensor, "N K O"], outcome_NKO: Float[Tensor, "N K O"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Mean of (y' - y)^2 over context transitions and numbers (GENTLE, the task auto-encoder's objective)."""
    loss = F.mse_loss(decoded_NKO, outcome_NKO)
    return loss, {"reconstruction_loss": loss.detach()}


def models_loss(
    predicted_NEBQ: Float[Tensor, "N E B Q"], outcome_NEBQ: Float[Tensor, "N E B Q"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """Sum over tasks and members of mean (y' - y)^2: the gradient of one model does not depend on the others."""
    per_model = (predicted_NEBQ - outcome_NEBQ).square().mean(dim=(2, 3))
    return per_model.sum(), {"models_loss": per_model.detach().mean()}


# -- networks ----------------------------------------------------------------------------------------------------


class TaskModels(nn.Module):
    """E predictors of normalised (r, s' - s) given (s, a) for each of M tasks, which share nothing.

    What is shared would learn from which states a task is seen in, and answer for other tasks' states accordingly.
    """

    def __init__(self, config: ModelsConfig, tasks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.members = config.members
        self.net = EnsembleMLP(tasks * config.members, inputs, config.hidden, config.layers, outputs)

    def forward(self, x_NEKI: Float[Tensor, "N E K I"], task_N: Int[Tensor, "N"]) -> Float[Tensor, "N E K Q"]:
        """By the models of each row's task, member by member."""
        of_task = task_N[:, None] * self.members + torch.arange(self.members, device=task_N.device)
        return torch.unflatten(self.net(x_NEKI.flatten(0, 1), of_task.flatten()), 0, of_task.shape)

    def deal(self, rows_NB: Float[Tensor, "N B *rest"]) -> Float[Tensor, "N E S *rest"]:
        """Each member's own share of every task's rows: (N, B, ...) -> (N, E, B // E, ...)"""
        share = rows_NB.shape[1] // self.members
        return torch.unflatten(rows_NB[:, : share * self.members], 1, (self.members, share))

    def loss(
        self, x_NBI: Float[Tensor, "N B I"], outcome_NBQ: Float[Tensor, "N B Q"], task_N: Int[Tensor, "N"]
    ) -> tuple[Float[Tensor, ""], Metrics]:
        """Every model's loss on its share of its task's rows."""
        return models_loss(self(self.deal(x_NBI), task_N), self.deal(outcome_NBQ))

    @torch.no_grad()
    def predict(self, x_NKI: Float[Tensor, "N K I"], task_N: Int[Tensor, "N"]) -> Float[Tensor, "N K Q"]:
        """The mean over the members."""
        return self(x_NKI[:, None].expand(-1, self.members, -1, -1), task_N).mean(1)


# -- the objective -----------------------------------------------------------------------------------------------


class Gentle(Objective):
    """The decoder and the models of the training tasks."""

    def __init__(self, config: GentleConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.config = config
        size, inputs = spec.observation_size, spec.observation_size + spec.action_size
        self.read = 1 + size if config.encoder.next_observation else 1
        self.decoder = mlp(inputs + config.encoder.latent, config.decoder.hidden, config.decoder.layers, self.read)
        self.models = TaskModels(config.models, spec.num_tasks, inputs, 1 + size)

    def learning_models(self, step: int) -> bool:
        """Whether the models still learn, and contexts are as they were drawn."""
        return step < self.config.models.steps_share * self.config.steps

    @torch.no_grad()
    def contexts(self, drawn: Drawn, step: int, rng: np.random.Generator) -> Columns:
        """With `share` of each context made up, once the models have learned."""
        context = drawn.context
        if self.learning_models(step):
            return context
        tasks, size = context["obs"].shape[:2]
        place_NK = sources(tasks, size, self.config.own_share, rng)
        obs_NKD = context["obs"].flatten(0, 1)[place_NK]
        action_NKA = drawn.act().flatten(0, 1)[place_NK]
        outcome_NKQ = self.models.predict(torch.cat([obs_NKD, action_NKA], -1), drawn.tasks)
        made_up_NK1 = torch.as_tensor(rng.random((tasks, size)) < self.config.share, device=obs_NKD.device)[..., None]
        made_up = {"obs": obs_NKD, "action": action_NKA, "outcome": outcome_NKQ}
        return {name: torch.where(made_up_NK1, column, context[name]) for name, column in made_up.items()}

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """Encoder and decoder learn from the reconstruction, at first the models too, from the policy's transitions."""
        context, data = encoded.context, encoded.data
        x_NKI = torch.cat([context["obs"], context["action"]], -1)
        z_NKZ = encoded.z[:, None].expand(-1, x_NKI.shape[1], -1)
        decoded = self.decoder(torch.cat([x_NKI, z_NKZ], -1))
        loss, info = reconstruction_loss(decoded, context["outcome"][..., : self.read])
        if self.learning_models(step):
            seen_NBI = torch.cat([data["obs"], data["action"]], -1)
            loss_models, info_models = self.models.loss(seen_NBI, data["outcome"], encoded.tasks)
            loss, info = loss + loss_models, info | info_models
        return loss, info


def sources(tasks: int, size: int, own_share: float, rng: np.random.Generator) -> Int[Tensor, "N K"]:
    """Which of the N * K transitions each made-up one takes its state from: `own_share` of the task's own, else any."""
    own = rng.random((tasks, size)) < own_share
    task = np.where(own, np.arange(tasks)[:, None], rng.integers(tasks, size=(tasks, size)))
    return torch.as_tensor(task * size + rng.integers(size, size=(tasks, size)))


def create(config: GentleConfig, spec: AgentSpec, device: str) -> LatentAlgorithm:
    """GENTLE beside the learner that the config names."""
    return LatentAlgorithm(config, spec, device, Gentle)
