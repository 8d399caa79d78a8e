"""Settings of the learners, by `kind`. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import Depth, Rate, Width

Discount = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


@config
class Td3BcConfig:
    """TD3+BC (Fujimoto & Gu, 2021), conditioned on the latent z."""

    kind: Literal["td3bc"] = "td3bc"
    hidden: Width = 256
    layers: Depth = 2
    lr: Rate = 1e-3
    gamma: Discount = 0.99
    tau: Share = 0.005
    alpha: NotNegative = 2.5
    """weight of Q against cloning; 0 is cloning alone"""
    policy_noise: NotNegative = 0.2
    noise_clip: NotNegative = 0.5
    policy_delay: AtLeastOne = 2


@config
class BcConfig:
    """Behaviour cloning: a control, which knows no rewards but those that the encoder has read."""

    kind: Literal["bc"] = "bc"
    hidden: Width = 256
    layers: Depth = 2
    lr: Rate = 1e-3


@config
class IqlConfig:
    """IQL (Kostrikov, Nair & Levine, 2022), conditioned on the latent z."""

    kind: Literal["iql"] = "iql"
    hidden: Width = 256
    layers: Depth = 2
    lr: Rate = 1e-3
    gamma: Discount = 0.99
    tau: Share = 0.005
    expectile: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """of the values that V stands for; 0.5 is the mean, towards 1 the best action of the data"""
    beta: NotNegative = 3.0
    """inverse temperature of the weights of cloning; 0 is cloning alone"""
    largest_weight: Rate = 100.0


@config
class SacConfig:
    """SAC (Haarnoja et al., 2018) with twin critics and a fixed temperature: nothing keeps it near the data."""

    kind: Literal["sac"] = "sac"
    hidden: Width = 256
    layers: Depth = 2
    lr: Rate = 3e-4
    gamma: Discount = 0.99
    tau: Share = 0.005
    temperature: NotNegative = 0.01
    """weight of the entropy, in units of the rewards' standard deviation"""


LearnerConfig = Td3BcConfig | BcConfig | IqlConfig | SacConfig
