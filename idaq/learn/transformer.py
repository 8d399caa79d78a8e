"""One small Transformer for all sequence models here, and the descent that trains it: what no paper varies.

Pre-norm blocks as in GPT-2 (Radford et al., 2019), without dropout. It knows no positions and no causality: a caller
adds positions to its tokens, and says by a mask which token sees which.

Shapes: B sequences, L tokens, C tokens cached before them, S = C + L that are looked at, H numbers of a token.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer

from idaq.learn.state import load_optimiser, optimiser_state
from idaq.learn.transformer_config import TransformerConfig

Cache = Tensor
"""keys and values (layers, 2, B, heads, C, H / heads): what later tokens look at"""


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self,
        x_BLH: Float[Tensor, "B L H"],
        mask: Bool[Tensor, "#B 1 L S"],
        cached: Float[Tensor, "2 B heads C size"] | None,
    ) -> tuple[Float[Tensor, "B L H"], Float[Tensor, "2 B heads S size"]]:
        """The tokens, and the keys and values of all S."""
        projected = self.query_key_value(self.attention_norm(x_BLH))
        projected = projected.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        query, kept = projected[0], projected[1:]
        if cached is not None:
            kept = torch.cat([cached, kept], 3)
        seen = F.scaled_dot_product_attention(query, kept[0], kept[1], attn_mask=mask)
        x_BLH = x_BLH + self.mixed(seen.transpose(1, 2).flatten(2))
        return x_BLH + self.mlp(self.mlp_norm(x_BLH)), kept


class Transformer(nn.Module):
    """Blocks, and a norm at the end."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        x_BLH: Float[Tensor, "B L H"],
        mask_BLS: Bool[Tensor, "#B L S"],
        cache: Float[Cache, "layers 2 B heads C size"] | None = None,
    ) -> tuple[Float[Tensor, "B L H"], Float[Cache, "layers 2 B heads S size"]]:
        """The tokens after all blocks, and the cache with theirs added.

        `mask_BLS`: whether token l looks at token s, those of the cache first. Every token must look at one at least.
        """
        grown = list[Tensor]()
        for number, block in enumerate(self.blocks):
            x_BLH, kept = block(x_BLH, mask_BLS[:, None], None if cache is None else cache[number])
            grown.append(kept)
        return self.norm(x_BLH), torch.stack(grown)


class Descent:
    """AdamW on all of a network's parameters; the learning rate is a pure function of the step."""

    def __init__(self, config: TransformerConfig, network: nn.Module, steps: int) -> None:
        self._config, self._steps = config, steps
        self._adam: Optimizer = torch.optim.AdamW(
            network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def step(self, step: int, loss: Float[Tensor, ""]) -> None:
        """One step down the loss."""
        for group in self._adam.param_groups:
            group["lr"] = self.rate(step)
        self._adam.zero_grad()
        torch.autograd.backward(loss)
        self._adam.step()

    def rate(self, step: int) -> float:
        """lr times min((step + 1) / warmup, what a line from 1 to `lr_end` has come to)."""
        rising = (step + 1) / self._config.warmup if self._config.warmup else 1.0
        return self._config.lr * min(rising, max(1 - step / self._steps, self._config.lr_end))

    def state(self) -> dict[str, Tensor]:
        """The moments of every parameter, by name."""
        return optimiser_state("optimiser.", self._adam)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave, among others."""
        load_optimiser(state, "optimiser.", self._adam)
