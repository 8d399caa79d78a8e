"""cpearl and pearl: an encoder, and SAC with a state value as PEARL and the IDAQ reference code have it.

    cpearl   the reference's own: FOCAL's encoder (Li, Yang and Luo, ICLR 2021), BRAC's penalty where it is asked for
    pearl    Rakelly et al., ICML 2019, section 4, on offline data alone: each transition says a Gaussian of z, the
             belief is their product, and the encoder learns from its divergence from N(0, 1) and from the critics

Their parts are settings, as in the reference code: the bottleneck, FOCAL's loss, telling the training task from z
(off in all of its scripts), and the critics' gradient (its `allow_backward_z`: that of Q(s, a, z) alone; no target,
value, policy or dual critic teaches the encoder). Where papers and codes differ:

- the Gaussians are PEARL's, of any mean; the reference puts them through tanh
- FOCAL's loss takes the belief of either half of a context; the reference one z a task, so that most have no like
- with the bottleneck the policy learns under a z drawn from the belief, and the agent's belief is its mean
- the encoder has no dropout: the reference code has a setting of 0.1 for it, which nothing reads

Shapes: N tasks, K context transitions a task, I numbers of a transition, Z latent; any leading dimensions `*lead`.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from idaq.learn.algorithms.cpearl_config import CpearlConfig
from idaq.learn.algorithms.focal import Focal
from idaq.learn.algorithms.unicorn import classification_loss
from idaq.learn.config import AgentSpec
from idaq.learn.latent.agent import MeanAgent, PooledAgent
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.config import EncoderConfig
from idaq.learn.latent.encoder import ContextEncoder, Encoded, Encoder, Metrics, Objective
from idaq.learn.networks import mlp

_SMALLEST = 1e-7
"""of a variance, as in PEARL's code"""


# -- losses ------------------------------------------------------------------------------------------------------


def product_of_gaussians(
    mean: Float[Tensor, "*lead K Z"], variance: Float[Tensor, "*lead K Z"]
) -> tuple[Float[Tensor, "*lead Z"], Float[Tensor, "*lead Z"]]:
    """Mean and variance of the product of K Gaussians (PEARL, section 4.1).

    1 / variance = sum over K of 1 / variance_k; mean = variance * sum over K of mean_k / variance_k
    """
    precision = 1 / variance
    product = 1 / precision.sum(-2)
    return product * (mean * precision).sum(-2), product


def kl_to_unit(mean_NZ: Float[Tensor, "N Z"], variance_NZ: Float[Tensor, "N Z"]) -> tuple[Float[Tensor, ""], Metrics]:
    """KL(N(mean, variance) | N(0, 1)) = sum over N, Z of (variance + mean^2 - 1 - log variance) / 2 (PEARL eq. 1)."""
    loss = 0.5 * (variance_NZ + mean_NZ.square() - 1 - variance_NZ.log()).sum()
    return loss, {"kl": loss.detach()}


# -- networks ----------------------------------------------------------------------------------------------------


class GaussianEncoder(Encoder):
    """What a transition says of z: the mean and the variance of a Gaussian, side by side, W = 2 Z."""

    def __init__(self, config: EncoderConfig, transition_size: int) -> None:
        super().__init__()
        self.net = mlp(transition_size, config.hidden, config.layers, 2 * config.latent)

    def embed(self, transitions: Float[Tensor, "*lead I"]) -> Float[Tensor, "*lead W"]:
        """[mean, softplus(v)] of MLP(transition) = [mean, v]."""
        mean, raw = self.net(transitions).chunk(2, -1)
        return torch.cat([mean, F.softplus(raw).clamp_min(_SMALLEST)], -1)

    def belief(self, embeddings: Float[Tensor, "*lead K W"]) -> Float[Tensor, "*lead Z"]:
        """The mean of the product."""
        return product_of_gaussians(*embeddings.chunk(2, -1))[0]

    def draw(self, halves: Float[Tensor, "N 2 L W"], rng: np.random.Generator) -> Float[Tensor, "N Z"]:
        """z ~ the product."""
        mean_NZ, variance_NZ = product_of_gaussians(*halves.flatten(1, 2).chunk(2, -1))
        noise_NZ = torch.as_tensor(rng.standard_normal(mean_NZ.shape, np.float32), device=mean_NZ.device)
        return mean_NZ + variance_NZ.sqrt() * noise_NZ


# -- the objective -----------------------------------------------------------------------------------------------


class Cpearl(Objective):
    """FOCAL's loss, the bottleneck and the task, by weight; the critics' gradient comes by itself."""

    def __init__(self, config: CpearlConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.config, self.focal, latent = config, Focal(), config.encoder.latent
        self.classifier = nn.Linear(latent, spec.num_tasks) if config.task_weight else None

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """What the settings ask for."""
        config, info = self.config, dict[str, Tensor]()
        loss = encoded.halves.new_zeros(())
        if config.focal_weight:
            focal, info = self.focal.loss(encoded, step, rng)
            loss = loss + config.focal_weight * focal
        if config.bottleneck:
            kl, info_kl = kl_to_unit(*product_of_gaussians(*encoded.embeddings.chunk(2, -1)))
            loss, info = loss + config.kl_weight * kl, info | info_kl
        if self.classifier is not None:
            logits = self.classifier(encoded.halves.flatten(0, 1))
            told, info_task = classification_loss(logits, encoded.tasks.repeat_interleave(2))
            loss, info = loss + config.task_weight * told, info | info_task
        return loss, info


def create(config: CpearlConfig, spec: AgentSpec, device: str) -> LatentAlgorithm:
    """The encoder that the settings ask for, beside the learner."""
    return LatentAlgorithm(
        config,
        spec,
        device,
        Cpearl,
        make_encoder=GaussianEncoder if config.bottleneck else ContextEncoder,
        make_agent=PooledAgent if config.bottleneck else MeanAgent,
        critic_gradients=config.critic_gradients,
    )
