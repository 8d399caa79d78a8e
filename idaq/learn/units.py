"""A dataset's units, and the normalised ones that networks calculate in.

Shapes: any leading dimensions `...`, D observation, A action.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from idaq.core.config import to_mapping
from idaq.learn.config import AgentSpec
from idaq.loader.transitions import Transitions


class Units(nn.Module):
    """The normalisation of an `AgentSpec`, as buffers on the device of the networks."""

    observation_mean: Tensor
    observation_std: Tensor
    change_std: Tensor
    action_centre: Tensor
    action_scale: Tensor
    reward_mean: Tensor
    reward_std: Tensor

    def __init__(self, spec: AgentSpec) -> None:
        super().__init__()
        numbers = {name: value for name, value in to_mapping(spec).items() if name != "view"}
        for name, value in numbers.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def columns(self, data: Transitions) -> dict[str, Tensor]:
        """Transitions as normalised tensors: obs, action, reward, next_obs, outcome (r, s' - s), terminated.

        The reward that a value is learned from is scaled but not shifted, which would move the values.
        """
        observations, following = self.tensor(data.observations), self.tensor(data.next_observations)
        rewards = self.tensor(data.rewards)
        change = (following - observations) / self.change_std
        return {
            "obs": self.observations(observations),
            "next_obs": self.observations(following),
            "action": self.actions(data.actions),
            "reward": rewards / self.reward_std,
            "outcome": torch.cat([self.centred(rewards)[..., None], change], -1),
            "terminated": self.tensor(data.terminated),
        }

    def observations(self, observations: Tensor) -> Tensor:
        """Normalised observations (..., D)."""
        return (observations - self.observation_mean) / self.observation_std

    def actions(self, actions: NDArray[np.generic]) -> Tensor:
        """Actions (..., A) of the environment in normalised units, [-1, 1]."""
        return (self.tensor(actions) - self.action_centre) / self.action_scale

    def centred(self, rewards: Tensor) -> Tensor:
        """Rewards as networks see them; those that a value is learned from are not shifted."""
        return (rewards - self.reward_mean) / self.reward_std

    def in_environment(self, actions: Tensor) -> NDArray[np.float32]:
        """Normalised actions (..., A) in the environment's units."""
        return (actions * self.action_scale + self.action_centre).cpu().numpy()

    def tensor(self, array: NDArray[np.generic]) -> Tensor:
        """Numbers as float32 on the device."""
        return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self.observation_mean.device)
