"""The step of every algorithm with a latent: encode contexts, learn values, predictors and the policy given z.

Shapes: N tasks in a meta-batch, B transitions and K context transitions a task, R = N * B rows, I numbers of a
transition, Z latent, X = [s, z]. Everything is in normalised units (`Units`), actions in [-1, 1].
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from idaq.learn.algorithm import Prior
from idaq.learn.config import AgentSpec
from idaq.learn.latent.agent import LatentAgent
from idaq.learn.latent.config import LatentConfig
from idaq.learn.latent.encoder import ContextEncoder, Encoded, Metrics, Objective
from idaq.learn.latent.ensemble import PredictorEnsemble
from idaq.learn.latent.networks import Networks
from idaq.learn.learners.make import make_learner
from idaq.learn.networks import weights_drawn_from
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.learn.units import Units
from idaq.loader.sampling import MetaBatch

MakeObjective = Callable[[Any, AgentSpec], Objective]
"""the algorithm's config and the data's sizes -> what the encoder learns from"""


class LatentAlgorithm:
    """Networks, targets and optimisers, and the one step that updates them.

    `make_objective` makes what the encoder learns from; the config's `learner` says what learns the policy.
    """

    def __init__(self, config: LatentConfig, spec: AgentSpec, device: str, make_objective: MakeObjective) -> None:
        self.config, self.spec = config, spec
        size, action, latent = spec.observation_size, spec.action_size, config.encoder.latent
        outcome = 1 + (size if config.encoder.next_observation else 0)
        with weights_drawn_from(config.seed):
            encoder = ContextEncoder(config.encoder, size + action + outcome)
            self.learner = make_learner(config.learner, size + latent, action)
            ensemble = PredictorEnsemble(config.ensemble, size + latent + action, size)
            objective = make_objective(config, spec)
        self.networks = Networks(encoder, self.learner.networks, ensemble, objective, outcome).to(device)
        self.units = Units(spec).to(device)
        groups = [
            {"params": [*encoder.parameters(), *objective.parameters()], "lr": config.encoder.lr},
            {"params": list(self.learner.shared()), "lr": config.learner.lr},
            {"params": list(ensemble.parameters()), "lr": config.ensemble.lr},
        ]
        self.main: Optimizer = torch.optim.Adam(groups, fused=True)
        self._optimisers: dict[str, Optimizer] = {"main": self.main, **self.learner.optimisers}
        self._rates = {name: [group["lr"] for group in o.param_groups] for name, o in self._optimisers.items()}

    def update(self, step: int, batch: MetaBatch, rng: np.random.Generator) -> Metrics:
        """One update from transitions (N, B) and contexts (N, K).

        The context is encoded in two halves: each task then has a same-task pair in every batch, which the pull term of
        FOCAL needs. The policy and the predictors see the mean of both, detached.
        """
        networks = self.networks
        self._set_rates(step)
        encoded = self._encode(batch)
        loss_encoder, info = networks.objective.loss(encoded, step, rng)
        data = {name: column.flatten(0, 1) for name, column in encoded.data.items()}
        z = encoded.halves.detach().mean(1, keepdim=True)
        z = z.expand(-1, batch.transitions.rewards.shape[1], -1).flatten(0, 1)
        x, next_x = torch.cat([data["obs"], z], -1), torch.cat([data["next_obs"], z], -1)
        loss_critic, info_critic = self.learner.critic_loss(x, next_x, data, rng)
        loss_predict, info_predict = networks.ensemble.loss(torch.cat([x, data["action"]], -1), data["outcome"])
        self.main.zero_grad()
        torch.autograd.backward(loss_encoder + loss_critic + loss_predict)
        self.main.step()
        return info | info_critic | info_predict | self.learner.improve(step, x, data, rng)

    def _encode(self, batch: MetaBatch) -> Encoded:
        context = self.units.columns(batch.context)
        halves = torch.unflatten(self.networks.context_rows(context), 1, (2, -1))
        embeddings = self.networks.encoder.embed(halves)
        return Encoded(
            tasks=torch.as_tensor(batch.tasks).to(embeddings.device),
            context=context,
            embeddings=embeddings.flatten(1, 2),
            halves=embeddings.mean(dim=-2),
            data=self.units.columns(batch.transitions),
        )

    def _set_rates(self, step: int) -> None:
        """The learning rates of a step: a pure function of it."""
        share = max(1 - step / self.config.steps, self.config.lr_end)
        for name, optimiser in self._optimisers.items():
            for group, rate in zip(optimiser.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * share

    def state(self) -> dict[str, Tensor]:
        """Weights, targets, normalisation and optimisers."""
        state = module_state("agent.", self.units, self.networks)
        for name, optimiser in self._optimisers.items():
            state |= optimiser_state(f"optimiser.{name}.", optimiser)
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        load_modules(state, "agent.", self.units, self.networks)
        for name, optimiser in self._optimisers.items():
            load_optimiser(state, f"optimiser.{name}.", optimiser)

    def agent(self, prior: Prior | None) -> LatentAgent:
        """The agent as it is now, on its own copy of the weights."""
        return LatentAgent(
            self.config, self.spec, copy.deepcopy(self.networks).eval(), copy.deepcopy(self.units), prior
        )
