"""unicorn: an encoder that learns what z tells of the task, from outcomes or from which task it is.

UNICORN: Li et al., NeurIPS 2024 (code: betray12138/UNICORN, which holds the first of the two alone).

    unicorn-ss    a decoder tells (r, s') of each context transition from (s, a) and z of the context; FOCAL's loss is
                  added with a weight: 0.01 (cheetah-dir), 0.15 (cheetah-vel, ant-dir), 0.7 (walker), 1.5 (hopper)
    unicorn-sup   a classifier tells the training task from z; nothing else

The paper asks for p(r, s' | z, s, a) of any kind. As in the code it is a Gaussian whose variance is learned too, softly
between bounds that are learned (PETS: Chua et al., NeurIPS 2018, appendix A.1), and s' is decoded as s' - s, whether
the encoder reads it or not. What differs from the code: one network decodes r and s', not one each; the classifier sees
z of either half of the context, as FOCAL's loss does.

Shapes: N tasks, K context transitions a task, R rows, M training tasks, Z latent, Q = 1 + D numbers of an outcome
(reward and change of observation).
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from idaq.learn.algorithms.focal import Focal
from idaq.learn.algorithms.unicorn_config import UnicornSsConfig, UnicornSupConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.encoder import Encoded, Metrics, Objective
from idaq.learn.networks import mlp

_BOUNDS, _BOUNDS_WEIGHT = (-10.0, 0.5), 0.01
"""log variances lie between these at first; the width of the interval is a loss of this weight (PETS)"""


# -- losses ------------------------------------------------------------------------------------------------------


def reconstruction_loss(
    mean_RQ: Float[Tensor, "R Q"], log_variance_RQ: Float[Tensor, "R Q"], outcome_RQ: Float[Tensor, "R Q"]
) -> tuple[Float[Tensor, ""], Metrics]:
    """-log p(r, s' | z, s, a) of Gaussians, twice and up to a constant (UNICORN-SS).

    Mean over rows of (y - m)^2 / v + log v for the reward, plus the same for s' - s, mean over its D numbers.
    """
    each_RQ = (outcome_RQ - mean_RQ).square() * (-log_variance_RQ).exp() + log_variance_RQ
    loss = each_RQ[:, 0].mean() + each_RQ[:, 1:].mean()
    error = (outcome_RQ - mean_RQ).detach().square().mean()
    return loss, {"reconstruction_loss": loss.detach(), "reconstruction_error": error}


def classification_loss(logits_RM: Float[Tensor, "R M"], task_R: Int[Tensor, "R"]) -> tuple[Float[Tensor, ""], Metrics]:
    """-mean log p(task | z): cross-entropy (UNICORN-SUP)."""
    loss = F.cross_entropy(logits_RM, task_R)
    right = (logits_RM.argmax(-1) == task_R).to(loss.dtype).mean()
    return loss, {"classification_loss": loss.detach(), "accuracy": right}


def bounded(
    log_variance_RQ: Float[Tensor, "R Q"], low_Q: Float[Tensor, "Q"], high_Q: Float[Tensor, "Q"]
) -> Float[Tensor, "R Q"]:
    """Log variances softly between two bounds (PETS, appendix A.1), which then learn too."""
    below = high_Q - F.softplus(high_Q - log_variance_RQ)
    return low_Q + F.softplus(below - low_Q)


# -- the objectives ----------------------------------------------------------------------------------------------


class SelfSupervised(Objective):
    """Reconstruction of the context's own outcomes, and FOCAL's loss."""

    def __init__(self, config: UnicornSsConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.config, self.focal = config, Focal()
        outputs, inputs = 1 + spec.observation_size, spec.observation_size + spec.action_size + config.encoder.latent
        self.decoder = mlp(inputs, config.decoder.hidden, config.decoder.layers, 2 * outputs)
        self.low, self.high = (nn.Parameter(torch.full((outputs,), bound)) for bound in _BOUNDS)

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """Encoder and decoder learn from both."""
        context = encoded.context
        z_NKZ = encoded.z[:, None].expand(-1, context["obs"].shape[1], -1)
        x_RI = torch.cat([context["obs"], context["action"], z_NKZ], -1).flatten(0, 1)
        mean_RQ, raw_RQ = self.decoder(x_RI).chunk(2, -1)
        log_variance_RQ = bounded(raw_RQ, self.low, self.high)
        loss, info = reconstruction_loss(mean_RQ, log_variance_RQ, context["outcome"].flatten(0, 1))
        loss_focal, info_focal = self.focal.loss(encoded, step, rng)
        loss_bounds = _BOUNDS_WEIGHT * (self.high - self.low).sum()
        return loss + loss_bounds + self.config.focal_weight * loss_focal, info | info_focal


class Supervised(Objective):
    """Classification of the training tasks."""

    def __init__(self, config: UnicornSupConfig, spec: AgentSpec) -> None:
        super().__init__()
        self.classifier = mlp(config.encoder.latent, config.classifier.hidden, config.classifier.layers, spec.num_tasks)

    def loss(self, encoded: Encoded, step: int, rng: np.random.Generator) -> tuple[Float[Tensor, ""], Metrics]:
        """Of 2 N latents: either half of every context."""
        logits = self.classifier(encoded.halves.flatten(0, 1))
        return classification_loss(logits, encoded.tasks.repeat_interleave(2))


def create(config: UnicornSsConfig | UnicornSupConfig, spec: AgentSpec, device: str) -> LatentAlgorithm:
    """UNICORN beside the learner that the config names."""
    make = SelfSupervised if isinstance(config, UnicornSsConfig) else Supervised
    return LatentAlgorithm(config, spec, device, make)
