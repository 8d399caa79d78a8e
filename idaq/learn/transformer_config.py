"""Settings of a small Transformer, and of the descent that trains it. No torch here."""

from typing import Annotated

from pydantic import Field, model_validator

from idaq.core.config import config
from idaq.learn.config import Depth, Rate, Width


@config
class TransformerConfig:
    """Pre-norm GPT blocks, trained with AdamW whose rate warms up and then falls linearly."""

    width: Width = 64
    """numbers of a token, d_model"""
    layers: Depth = 3
    heads: Depth = 4
    lr: Rate = 1e-3
    lr_end: Annotated[float, Field(gt=0, le=1)] = 0.05
    """the learning rate falls linearly to this share of itself by the last step"""
    warmup: Annotated[int, Field(ge=0)] = 200
    """steps in which the learning rate rises from 0"""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "TransformerConfig":
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads = {self.heads}")
        return self
