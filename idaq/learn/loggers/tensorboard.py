"""Event files for TensorBoard: tensorboard --logdir runs"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"
"""folder of a run"""


class TensorBoardLogger:
    """Scalars by name, in <run>/tensorboard. What an interrupted run wrote of later steps is purged by TensorBoard."""

    def __init__(self, run: Path, config: Mapping[str, Any], first: int) -> None:
        self._writer: Any = SummaryWriter(str(run / TENSORBOARD), purge_step=first)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a metric, on disk before the training goes on."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
