"""Settings of dpt. No torch here."""

from typing import TYPE_CHECKING

from pydantic import Field

from idaq.core.config import config
from idaq.core.types import AtLeastOne
from idaq.learn.config import AgentSpec, TrainConfig
from idaq.learn.transformer_config import TransformerConfig
from idaq.loader.segments import Within

if TYPE_CHECKING:
    from idaq.learn.algorithms.dpt import Dpt

OWN_ACTIONS = "actions"


@config
class DptConfig(TrainConfig):
    """Decision-Pretrained Transformer (Lee et al., 2023): query state and context set -> expert action."""

    algorithm: str = "dpt"
    sampler: str = "segments"
    steps: AtLeastOne = 6000
    meta_batch: AtLeastOne = 32
    """sequences in a batch, each of one task"""
    context: AtLeastOne = 100
    """transitions of the context at most; training draws each context's size from 0 to this"""
    queries: AtLeastOne = 20
    """states of each sequence whose action is predicted"""
    within: Within = "task"
    """which episodes follow each other in a context"""
    label: str = OWN_ACTIONS
    """the column of the action to predict: `expert_action` where a recipe recorded it; `actions` is the data's own, for
    data of experts alone"""
    network: TransformerConfig = Field(default_factory=TransformerConfig)

    @property
    def length(self) -> int:
        """Steps of a segment: the context's, then the queries'."""
        return self.context + self.queries

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read beside the transitions."""
        return () if self.label == OWN_ACTIONS else (self.label,)

    def create(self, spec: AgentSpec, device: str) -> "Dpt":
        """The algorithm, its weights drawn from `seed`."""
        from idaq.learn.algorithms.dpt import Dpt

        return Dpt(self, spec, device)
