"""A policy with a memory: a GRU that clones whole lives in a task, and goes on remembering from episode to episode.

It infers no belief (Z = 0): what it knows of the task is in its memory, which `observe` feeds. A strategy of its own
keeps that memory over all adaptation episodes. In the spirit of RL^2 (Duan et al., 2016), trained offline.

Shapes: P problems side by side, L steps of a segment, D observation, A action, H memory.
"""

import copy
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

import idaq

AtLeastOne = Annotated[int, Field(ge=1)]


@idaq.config
class RecurrentConfig(idaq.TrainConfig):
    """Its settings; what `--set algorithm=maze-recurrent` leads to."""

    algorithm: str = "maze-recurrent"
    sampler: str = "segments"
    meta_batch: AtLeastOne = 8
    length: AtLeastOne = 30
    within: Literal["episode", "task", "history"] = "task"
    memory: AtLeastOne = 32
    lr: Annotated[float, Field(gt=0)] = 3e-3

    def create(self, spec: idaq.AgentSpec, device: str) -> "Recurrent":
        return Recurrent(self, spec, device)


class Network(nn.Module):
    """From (s, last action, last reward, episode begins) and a memory to an action."""

    def __init__(self, config: RecurrentConfig, spec: idaq.AgentSpec) -> None:
        super().__init__()
        self.gru = nn.GRU(spec.observation_size + spec.action_size + 2, config.memory, batch_first=True)
        self.act = nn.Linear(config.memory, spec.action_size)

    def forward(self, inputs: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(P, L, I), (1, P, H) -> actions (P, L, A), the memory after them."""
        seen, memory = self.gru(inputs, memory)
        return self.act(seen).tanh(), memory


class Recurrent:
    """The network, its optimiser, and one step of cloning."""

    def __init__(self, config: RecurrentConfig, spec: idaq.AgentSpec, device: str) -> None:
        self.config, self.spec = config, spec
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = Network(config, spec).to(device)
        self.units = idaq.Units(spec).to(device)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=config.lr)

    def update(self, step: int, batch: idaq.SegmentBatch, rng: np.random.Generator) -> Mapping[str, Tensor]:
        columns = self.units.columns(batch.segments)
        starts, valid = self.units.tensor(batch.starts)[..., None], self.units.tensor(batch.valid)[..., None]
        before = torch.cat([columns["action"], columns["reward"][..., None]], -1)
        before = torch.cat([torch.zeros_like(before[:, :1]), before[:, :-1]], 1)
        actions, _ = self.network(torch.cat([columns["obs"], before, starts], -1))
        loss = (valid * (actions - columns["action"]).square()).sum() / valid.sum()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"cloning": loss.detach()}

    def state(self) -> dict[str, Tensor]:
        return idaq.module_state("net.", self.network) | idaq.optimiser_state("adam.", self.adam)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        idaq.load_modules(state, "net.", self.network)
        idaq.load_optimiser(state, "adam.", self.adam)

    def agent(self, prior: idaq.Prior | None) -> "RecurrentAgent":
        return RecurrentAgent(self.config, self.spec, self.units, copy.deepcopy(self.network).eval(), prior)


class RecurrentAgent:
    """Gives policies that begin with an empty memory."""

    def __init__(
        self,
        config: RecurrentConfig,
        spec: idaq.AgentSpec,
        units: idaq.Units,
        network: Network,
        prior: idaq.Prior | None,
    ) -> None:
        self.config, self.spec, self.prior = config, spec, prior
        self._units, self._network = units, network

    def infer(self, context: idaq.Transitions) -> np.ndarray:
        """(P, 0): it has no beliefs."""
        return np.zeros((len(context), 0), np.float32)

    def policy(self, beliefs: np.ndarray) -> "RecurrentPolicy":
        return RecurrentPolicy(self._network, self._units, len(beliefs), self.spec.action_size)

    def tensors(self) -> dict[str, Tensor]:
        return idaq.module_state("", self._network)


class RecurrentPolicy:
    """Remembers all that it has been told, over the ends of episodes too."""

    def __init__(self, network: Network, units: idaq.Units, problems: int, actions: int) -> None:
        self._network, self._units = network, units
        self._memory: Tensor | None = None
        self._before = np.zeros((problems, actions + 1), np.float32)
        self._starts = np.ones((problems, 1), np.float32)

    def reset(self) -> None:
        self._starts[:] = 1

    @torch.no_grad()
    def act(self, observations: np.ndarray) -> np.ndarray:
        units = self._units
        seen = units.observations(units.tensor(observations))
        inputs = torch.cat([seen, units.tensor(self._before), units.tensor(self._starts)], -1)[:, None]
        actions, self._memory = self._network(inputs, self._memory)
        self._starts[:] = 0
        return (actions[:, 0] * units.action_scale + units.action_centre).numpy()

    def observe(
        self, actions: np.ndarray, rewards: np.ndarray, next_observations: np.ndarray, ended: np.ndarray
    ) -> None:
        units = self._units
        unit = (units.tensor(actions) - units.action_centre) / units.action_scale
        paid = units.tensor(rewards)[:, None] / units.reward_std
        self._before = torch.cat([unit, paid], 1).numpy()


@idaq.config
class MemoryAlone(idaq.Strategy):
    """One policy lives through all adaptation episodes; what is deployed is a copy of it as it has become."""

    def explore(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        if history.policies:
            return history.policies[-1]
        return history.agent.policy(np.zeros((history.problems, 0), np.float32))

    def deploy(self, history: idaq.AdaptationHistory) -> idaq.Policy:
        return copy.deepcopy(history.policies[-1])
