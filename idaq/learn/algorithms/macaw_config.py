"""Settings of macaw. No torch here."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import AgentSpec, Depth, Rate, TrainConfig, Width

if TYPE_CHECKING:
    from idaq.learn.algorithms.macaw import Macaw


@config
class AdaptedNetworkConfig:
    """A network that adapts by gradient descent, and what its meta-parameters begin and learn with."""

    hidden: Width = 100
    layers: Depth = 3
    code: Annotated[int, Field(ge=0, le=2**14)] = 100
    """numbers of the code that a layer's weights are made from (the paper's weight transformation); 0: plain layers"""
    inner_lr: Rate = 1e-3
    """of adaptation, at first: it is learned, one for each of a layer's code, transformation and offset"""
    lr: Rate = 1e-4
    """of meta-learning"""


@config
class AdvantageWeightingConfig(AdaptedNetworkConfig):
    """The policy: advantage-weighted regression (Peng et al., 2019), and the richer update of its inner loop."""

    action_std: Rate = 0.2
    """of the policy's Gaussian, in units of the action space's half-width; it is not learned"""
    temperature: Rate = 1.0
    """of the weights, in standard deviations of the advantages"""
    max_weight: Annotated[float, Field(gt=1)] = 20.0
    """no transition weighs more"""
    head: Width = 32
    """hidden units of the head that predicts advantages"""
    advantage_coef: Rate = 0.01
    """lambda, the weight of the head's loss in the inner loop, at first: it is learned"""


@config
class MacawConfig(TrainConfig):
    """MACAW: what MAML learns from is advantage-weighted regression; a belief is the adapted policy's weights."""

    algorithm: str = "macaw"
    sampler: str = "support-query"
    meta_batch: AtLeastOne = 5
    """tasks in a batch, drawn with replacement"""
    support: AtLeastOne = 256
    """transitions that each task adapts to"""
    query: AtLeastOne = 256
    """transitions of other episodes, on which what it has become is judged"""
    discount: Annotated[float, Field(ge=0, lt=1)] = 0.99
    inner_steps: AtLeastOne = 1
    """of gradient descent, in training as in adaptation"""
    second_order: bool = True
    """whether meta-gradients pass through the gradients of the inner loop; false: those of a layer's weights are held
    constant, which without a code is first-order MAML"""
    lr_rates: Rate = 1e-3
    """of the inner learning rates and of lambda"""
    value: AdaptedNetworkConfig = Field(default_factory=lambda: AdaptedNetworkConfig(lr=1e-5))
    policy: AdvantageWeightingConfig = Field(default_factory=AdvantageWeightingConfig)

    def create(self, spec: AgentSpec, device: str) -> "Macaw":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.macaw import Macaw

        return Macaw(self, spec, device)
