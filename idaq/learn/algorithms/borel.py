"""borel: a belief over tasks from a recurrent VAE, and a policy of state and belief that acts while it learns.

BOReL: Dorfman, Shenfeld and Tamar, NeurIPS 2021 (code: Rondorf/BOReL). The belief: VariBAD, Zintgraf et al., ICLR 2020.
First the VAE learns alone: a GRU reads a trajectory of several episodes of one task, its posterior after each step is
decoded into the whole trajectory's rewards. Then it stays, every state is relabelled with the belief that the GRU had
there, and an off-policy learner takes (state, belief) for its state: no gradient of the policy reaches the VAE.

Where the code differs from the paper, or this from the code:
- errors of a decoded trajectory are added, as in the paper; the code takes their mean, which weighs the KL more
- the KL is to the belief of the step before, the first one's to a unit Gaussian, as in the paper and the code
- s' of an episode's last step is followed by the next episode's first state. The code has the last state there, with a
  flag that it was the last; here a flag tells the GRU of an episode's first step
- only what ends the task itself ends the values; the code ends them, and wipes the belief, in every goal state
- a trajectory's last step bootstraps from its own s', as in the code
- numbers are normalised, and decoders predict s' - s

Shapes: N trajectories, T steps, S = T + 1 beliefs (one before each step, one after the last), C of them decoded,
H hidden, Z latent, D observation, A action, F features, Q predicted numbers, R rows (valid steps), X = [s, belief].
"""

import copy
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from idaq.core.policy import Policy
from idaq.core.types import Array, Floats
from idaq.learn.algorithm import Prior
from idaq.learn.algorithms.borel_config import BeliefConfig, BorelConfig
from idaq.learn.config import AgentSpec
from idaq.learn.learners.make import make_learner
from idaq.learn.networks import mlp, weights_drawn_from
from idaq.learn.state import load_modules, load_optimiser, module_state, optimiser_state
from idaq.learn.units import Units
from idaq.loader.contexts import Experience, as_episode
from idaq.loader.trajectories import TrajectoryBatch
from idaq.loader.transitions import Transitions

Metrics = dict[str, Tensor]


# -- losses ------------------------------------------------------------------------------------------------------


def kl_to_previous(mean_NSZ: Float[Tensor, "N S Z"], logvar_NSZ: Float[Tensor, "N S Z"]) -> Float[Tensor, "N S"]:
    """KL(q_t || q_t-1) between diagonal Gaussians, q_-1 = N(0, 1) (VariBAD eq. 8). -> (N, S)

    0.5 * sum over Z of log v_t-1 - log v_t - 1 + (v_t + (m_t - m_t-1)^2) / v_t-1
    """
    first = torch.zeros_like(mean_NSZ[:, :1])
    before = torch.cat([first, mean_NSZ[:, :-1]], 1)
    logvar_before = torch.cat([first, logvar_NSZ[:, :-1]], 1)
    ratio = (logvar_NSZ.exp() + (mean_NSZ - before).square()) / logvar_before.exp()
    return 0.5 * (logvar_before - logvar_NSZ - 1 + ratio).sum(-1)


def elbo_loss(
    error_NCT: Float[Tensor, "N C T"],
    kl_NC: Float[Tensor, "N C"],
    valid_NT: Bool[Tensor, "N T"],
    counts_NC: Bool[Tensor, "N C"],
    kl_weight: float,
) -> tuple[Float[Tensor, ""], Metrics]:
    """mean over N of: sum over beliefs t of (sum over steps i of error_ti + kl_weight * KL_t) (VariBAD eq. 7).

    Each belief is decoded into past and future. `valid_NT` says which steps there are, `counts_NC` which beliefs.
    """
    error_NC = (error_NCT * valid_NT[:, None]).sum(-1) * counts_NC
    kl_NC = kl_NC * counts_NC
    loss = (error_NC + kl_weight * kl_NC).sum(1).mean()
    beliefs, pairs = counts_NC.sum(), (counts_NC.sum(1) * valid_NT.sum(1)).sum()
    return loss, {"reconstruction": error_NC.detach().sum() / pairs, "kl": kl_NC.detach().sum() / beliefs}


# -- networks ----------------------------------------------------------------------------------------------------


class Features(nn.Module):
    """Each input through a layer of its own, side by side: relu(W_i x_i + b_i)."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, outputs) for inputs, outputs in sizes])

    def forward(self, *inputs: Float[Tensor, "*lead _"]) -> Float[Tensor, "*lead F"]:
        """The features of as many inputs as there are layers."""
        return torch.cat([layer(x).relu() for layer, x in zip(self.layers, inputs, strict=True)], -1)


class BeliefEncoder(nn.Module):
    """A GRU over (s', a, r); its state gives the moments of the belief, before the first step too."""

    def __init__(self, config: BeliefConfig, spec: AgentSpec) -> None:
        super().__init__()
        observed = (spec.observation_size + 1, config.observation_features)
        acted, paid = (spec.action_size, config.action_features), (1, config.reward_features)
        self.features = Features(observed, acted, paid)
        self.gru = nn.GRU(observed[1] + acted[1] + paid[1], config.hidden, batch_first=True)
        self.head = nn.Linear(config.hidden, 2 * config.latent)
        for name, parameter in self.gru.named_parameters():
            (nn.init.zeros_ if name.startswith("bias") else nn.init.orthogonal_)(parameter)

    def forward(
        self, columns: Mapping[str, Tensor], starts_NT: Float[Tensor, "N T"], hidden_NH: Float[Tensor, "N H"]
    ) -> Float[Tensor, "N S H"]:
        """The state before each step and after the last, from a first one on."""
        seen = torch.cat([columns["next_obs"], starts_NT[..., None]], -1)
        x_NTF = self.features(seen, columns["action"], columns["outcome"][..., :1])
        after_NTH, _ = self.gru(x_NTF, hidden_NH[None].contiguous())
        return torch.cat([hidden_NH[:, None], after_NTH], 1)

    def moments(self, hidden: Float[Tensor, "*lead H"]) -> tuple[Float[Tensor, "*lead Z"], Float[Tensor, "*lead Z"]]:
        """Mean and log variance of the belief in a state of the GRU."""
        mean, logvar = self.head(hidden).chunk(2, -1)
        return mean, logvar


class Decoder(nn.Module):
    """An MLP of m and a step's features, whose first layer adds what either gives: every belief meets every step."""

    def __init__(self, config: BeliefConfig, features: Features, size: int, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.of_task = nn.Linear(config.latent, config.decoder_hidden)
        self.of_step = nn.Linear(size, config.decoder_hidden, bias=False)
        self.rest = mlp(config.decoder_hidden, config.decoder_hidden, config.decoder_layers - 1, outputs)

    def forward(self, m_NCZ: Float[Tensor, "N C Z"], *inputs: Float[Tensor, "N T _"]) -> Float[Tensor, "N C T Q"]:
        """What each belief's sample predicts of each step."""
        step_NTF = self.of_step(self.features(*inputs))
        return self.rest((self.of_task(m_NCZ)[:, :, None] + step_NTF[:, None]).relu())


class Networks(nn.Module):
    """All that is learned."""

    def __init__(self, config: BorelConfig, spec: AgentSpec, policy: nn.Module) -> None:
        super().__init__()
        belief, size, action = config.belief, spec.observation_size, spec.action_size
        observed, acted = (size, belief.observation_features), (action, belief.action_features)
        self.action_size = action
        self.encoder = BeliefEncoder(belief, spec)
        width = observed[1] + acted[1]
        self.reward = Decoder(belief, Features(observed, acted, observed), width + observed[1], 1)
        self.change = Decoder(belief, Features(observed, acted), width, size) if belief.next_observation else None
        self.policy = policy

    def act(self, x_PX: Float[Tensor, "P X"]) -> Float[Tensor, "P A"]:
        """The policy's action in (-1, 1), without noise."""
        outputs: Tensor = cast(nn.Module, self.policy.actor)(x_PX)
        return outputs[:, : self.action_size].tanh()

    def errors(self, m_NCZ: Float[Tensor, "N C Z"], columns: Mapping[str, Tensor]) -> Float[Tensor, "N C T"]:
        """(r - r(m, s, a, s'))^2, and where dynamics differ the mean over D of (s' - s - c(m, s, a))^2."""
        s, a, following, outcome = (columns[name] for name in ("obs", "action", "next_obs", "outcome"))
        error_NCT = (self.reward(m_NCZ, s, a, following) - outcome[:, None, :, :1]).square().mean(-1)
        if self.change is not None:
            error_NCT = error_NCT + (self.change(m_NCZ, s, a) - outcome[:, None, :, 1:]).square().mean(-1)
        return error_NCT


# -- the algorithm -----------------------------------------------------------------------------------------------


class Borel:
    """Networks, targets and optimisers, and the one step that updates them."""

    def __init__(self, config: BorelConfig, spec: AgentSpec, device: str) -> None:
        self.config, self.spec = config, spec
        with weights_drawn_from(config.seed):
            size = spec.observation_size + 2 * config.belief.latent
            self.learner = make_learner(config.learner, size, spec.action_size, spec.reward_std)
            self.networks = Networks(config, spec, self.learner.networks).to(device)
        self.units = Units(spec).to(device)
        networks = [self.networks.encoder, self.networks.reward, self.networks.change]
        vae = [parameter for network in networks if network is not None for parameter in network.parameters()]
        self._optimisers: dict[str, Optimizer] = {
            "belief": torch.optim.Adam(vae, lr=config.belief.lr, fused=True),
            **self.learner.optimisers,
        }
        if critics := list(self.learner.shared()):
            self._optimisers["critics"] = torch.optim.Adam(critics, lr=config.learner.lr, fused=True)

    def update(self, step: int, batch: TrajectoryBatch, rng: np.random.Generator) -> Metrics:
        """One update from trajectories (N, T): of the belief, or after `belief_steps` of the policy."""
        learn = self._belief_step if step < self.config.belief_steps else self._policy_step
        return learn(step, batch.experience, rng)

    def _belief_step(self, _step: int, seen: Experience, rng: np.random.Generator) -> Metrics:
        columns, valid_NT = self.units.columns(seen.transitions), self._flags(seen.valid)
        mean_NSZ, logvar_NSZ = self.networks.encoder.moments(self._hidden(seen, columns))
        chosen = np.sort(rng.permutation(mean_NSZ.shape[1])[: self.config.belief.elbo_terms])
        mean_NCZ, logvar_NCZ = mean_NSZ[:, chosen], logvar_NSZ[:, chosen]
        noise_NCZ = self.units.tensor(rng.standard_normal(mean_NCZ.shape, np.float32))
        m_NCZ = mean_NCZ + (0.5 * logvar_NCZ).exp() * noise_NCZ
        counts_NC = torch.as_tensor(chosen).to(valid_NT.device) <= valid_NT.sum(1, keepdim=True)
        kl_NC = kl_to_previous(mean_NSZ, logvar_NSZ)[:, chosen]
        loss, info = elbo_loss(
            self.networks.errors(m_NCZ, columns), kl_NC, valid_NT, counts_NC, self.config.belief.kl_weight
        )
        self._descend("belief", loss)
        return info

    def _policy_step(self, step: int, seen: Experience, rng: np.random.Generator) -> Metrics:
        data, x_RX, next_x_RX = self.relabelled(seen)
        loss, info = self.learner.critic_loss(x_RX, next_x_RX, data, rng)
        if "critics" in self._optimisers:
            self._descend("critics", loss)
        return info | self.learner.improve(step, x_RX, data, rng)

    @torch.no_grad()
    def relabelled(self, seen: Experience) -> tuple[dict[str, Tensor], Float[Tensor, "R X"], Float[Tensor, "R X"]]:
        """Columns, [s, belief] and the next [s, belief] of every valid step (BOReL, section 3: state relabelling).

        The belief is mean and log variance. What follows is the trajectory's next state: after an episode's end the
        next episode's first, under the belief so far; after the trajectory's end its last s'.
        """
        columns, valid_NT = self.units.columns(seen.transitions), self._flags(seen.valid)
        belief_NSZ = torch.cat(self.networks.encoder.moments(self._hidden(seen, columns)), -1)
        goes_on = torch.cat([valid_NT[:, 1:], torch.zeros_like(valid_NT[:, :1])], 1)
        following = torch.cat([columns["obs"][:, 1:], columns["next_obs"][:, -1:]], 1)
        following = torch.where(goes_on[..., None], following, columns["next_obs"])
        x_NTX = torch.cat([columns["obs"], belief_NSZ[:, :-1]], -1)
        next_x_NTX = torch.cat([following, belief_NSZ[:, 1:]], -1)
        data = {name: column[valid_NT] for name, column in columns.items()}
        return data, x_NTX[valid_NT], next_x_NTX[valid_NT]

    def _hidden(self, seen: Experience, columns: Mapping[str, Tensor]) -> Float[Tensor, "N S H"]:
        nothing = torch.zeros(len(seen.valid), self.config.belief.hidden, device=columns["obs"].device)
        return self.networks.encoder(columns, self.units.tensor(seen.starts), nothing)

    def _flags(self, flags: NDArray[np.bool_]) -> Tensor:
        return torch.as_tensor(flags).to(self.units.observation_mean.device)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self._optimisers[name]
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

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

    def agent(self, prior: Prior | None) -> "BorelAgent":
        """The agent as it is now, on its own copy of the weights."""
        return BorelAgent(self.config, self.spec, copy.deepcopy(self.networks).eval(), copy.deepcopy(self.units), prior)


# -- the agent ---------------------------------------------------------------------------------------------------


class BorelAgent:
    """A belief is the GRU's state after the episodes seen; zeros are the belief of nothing. NumPy in, NumPy out."""

    def __init__(
        self, config: BorelConfig, spec: AgentSpec, networks: Networks, units: Units, prior: Prior | None
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._networks, self._units = networks, units

    @torch.no_grad()
    def infer_episodes(self, experience: Experience) -> Float32[np.ndarray, "P H"]:
        """The GRU's state after each problem's episodes (P, L)."""
        steps, hidden = (
            experience.valid.sum(1),
            np.zeros((len(experience.valid), self.config.belief.hidden), np.float32),
        )
        if not experience.valid.size:
            return hidden
        columns, starts = self._units.columns(experience.transitions), self._units.tensor(experience.starts)
        states = self._networks.encoder(columns, starts, self._units.tensor(hidden))
        return states[torch.arange(len(steps)), torch.as_tensor(steps)].cpu().numpy()

    def infer(self, context: Transitions) -> Float32[np.ndarray, "P H"]:
        """The same of transitions (P, K) as one episode in the order given."""
        return self.infer_episodes(as_episode(context))

    def policy(self, beliefs: Float32[np.ndarray, "P H"]) -> Policy:
        """The policy from a belief of each problem on, deterministic; it goes on learning from what it observes."""
        return BayesAdaptivePolicy(self._networks, self._units, beliefs)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, targets and normalisation."""
        return module_state("", self._units, self._networks)


class BayesAdaptivePolicy:
    """Acts on state and belief; after every step the belief is the posterior. The next episode begins with it."""

    def __init__(self, networks: Networks, units: Units, beliefs: Floats) -> None:
        self.beliefs = beliefs
        """(P, H) before the first step"""
        self._networks, self._units, self._hidden = networks, units, units.tensor(beliefs)

    def reset(self) -> None:
        """The first step of an episode is next, in every problem."""
        self._starts = torch.ones(len(self._hidden), 1, device=self._hidden.device)
        self._over = np.zeros(len(self._hidden), bool)

    @torch.no_grad()
    def act(self, observations: Array) -> Array:
        """Actions (P, A) for observations (P, D)."""
        units = self._units
        belief = self._networks.encoder.moments(self._hidden)
        x_PX = torch.cat([units.observations(units.tensor(observations)), *belief], -1)
        return (self._networks.act(x_PX) * units.action_scale + units.action_centre).cpu().numpy()

    @torch.no_grad()
    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        """One step of the GRU, where the episode was not over before."""
        taken = Transitions(
            observations=next_observations[:, None],  # the encoder sees what a step led to
            actions=actions[:, None],
            rewards=np.asarray(rewards)[:, None],
            next_observations=next_observations[:, None],
            terminated=np.zeros((len(actions), 1), bool),
        )
        after = self._networks.encoder(self._units.columns(taken), self._starts, self._hidden)[:, 1]
        over = torch.as_tensor(self._over, device=after.device)
        self._hidden = torch.where(over[:, None], self._hidden, after)
        self._starts = torch.zeros_like(self._starts)
        self._over = self._over | ended
