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
from idaq.learn.latent.agent import LatentAgent, MeanAgent
from idaq.learn.latent.config import EncoderConfig, LatentConfig
from idaq.learn.latent.encoder import Columns, ContextEncoder, ContextMaker, Drawn, Encoded, Encoder, Metrics, Objective
from idaq.learn.latent.ensemble import PredictorEnsemble
from idaq.learn.latent.networks import Networks
from idaq.learn.learners.make import make_learner
from idaq.learn.networks import weights_drawn_from
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.learn.units import Units
from idaq.loader.sampling import MetaBatch

MakeObjective = Callable[[Any, AgentSpec], Objective]
"""the algorithm's config and the data's sizes -> what the encoder learns from"""
MakeEncoder = Callable[[EncoderConfig, int], Encoder]
"""the encoder's config and the numbers of a transition -> what makes beliefs of contexts"""


class LatentAlgorithm:
    """Networks, targets and optimisers, and the one step that updates them.

    `make_objective` makes what the encoder learns from; the config's `learner` says what learns the policy. With
    `critic_gradients` the encoder learns from the learner's `critic_loss` too. `make_agent` fits `make_encoder`.
    """

    def __init__(
        self,
        config: LatentConfig,
        spec: AgentSpec,
        device: str,
        make_objective: MakeObjective,
        *,
        make_encoder: MakeEncoder = ContextEncoder,
        make_agent: type[LatentAgent] = MeanAgent,
        critic_gradients: bool = False,
    ) -> None:
        self.config, self.spec = config, spec
        self._make_agent, self._critic_gradients = make_agent, critic_gradients
        size, action, latent = spec.observation_size, spec.action_size, config.encoder.latent
        outcome = 1 + (size if config.encoder.next_observation else 0)
        with weights_drawn_from(config.seed):
            encoder = make_encoder(config.encoder, size + action + outcome)
            self.learner = make_learner(config.learner, size + latent, action, spec.reward_std)
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
        FOCAL needs. The policy and the predictors see the z of both, detached.
        """
        networks = self.networks
        self._set_rates(step)
        encoded = self._encode(step, batch, rng)
        loss_encoder, info = networks.objective.loss(encoded, step, rng)
        data = {name: column.flatten(0, 1) for name, column in encoded.data.items()}
        z_taught = encoded.z[:, None].expand(-1, batch.transitions.rewards.shape[1], -1).flatten(0, 1)
        z = z_taught.detach()
        x, next_x = torch.cat([data["obs"], z], -1), torch.cat([data["next_obs"], z], -1)
        x_critic = torch.cat([data["obs"], z_taught], -1) if self._critic_gradients else x
        loss_critic, info_critic = self.learner.critic_loss(x_critic, next_x, data, rng)
        loss_predict, info_predict = networks.ensemble.loss(torch.cat([x, data["action"]], -1), data["outcome"])
        self.main.zero_grad()
        torch.autograd.backward(loss_encoder + loss_critic + loss_predict)
        self.main.step()
        return info | info_critic | info_predict | self.learner.improve(step, x, data, rng)

    def _encode(self, step: int, batch: MetaBatch, rng: np.random.Generator) -> Encoded:
        columns = self.units.columns(batch.context)
        tasks = torch.as_tensor(batch.tasks).to(columns["obs"].device)
        context, objective = columns, self.networks.objective
        if isinstance(objective, ContextMaker):
            drawn = Drawn(tasks=tasks, context=columns, act=lambda: self._act(columns))
            context = objective.contexts(drawn, step, rng)
        halves = torch.unflatten(self.networks.context_rows(context), 1, (2, -1))
        encoder = self.networks.encoder
        embeddings = encoder.embed(halves)
        return Encoded(
            tasks=tasks,
            context=context,
            embeddings=embeddings.flatten(1, 2),
            halves=encoder.belief(embeddings),
            z=encoder.draw(embeddings, rng),
            data=self.units.columns(batch.transitions),
        )

    @torch.no_grad()
    def _act(self, context: Columns) -> Tensor:
        """(N, K, A) of the policy in each state, under the belief of its context."""
        obs, networks = context["obs"], self.networks
        z = networks.encoder(networks.context_rows(context))[:, None].expand(-1, obs.shape[1], -1)
        return networks.policy.actor(torch.cat([obs, z], -1))[..., : self.spec.action_size].tanh()

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
        return self._make_agent(
            self.config, self.spec, copy.deepcopy(self.networks).eval(), copy.deepcopy(self.units), prior
        )
