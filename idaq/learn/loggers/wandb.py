"""Weights & Biases: its own login, WANDB_PROJECT, WANDB_MODE=offline and so on hold."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from idaq.core.metrics import METRICS, read_metrics
from idaq.learn.run import RUN


class WandbLogger:
    """One W&B run for a run directory, however often it is resumed.

    A step that was sent cannot be taken back: of those that a resumed run does again, which on the CPU have the same
    values, none is sent twice.
    """

    def __init__(self, run: Path, config: Mapping[str, Any], first: int) -> None:
        told = read_metrics(run) if first and (run / METRICS).exists() else []
        self._last = max((int(line["step"]) for line in told), default=-1)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "idaq"),
            name=run.name,
            id=hashlib.sha256((run / RUN).read_bytes()).hexdigest()[:16],
            resume="allow",
            dir=str(run),
            config=dict(config),
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values of a step, unless they were sent."""
        if step > self._last:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the W&B run."""
        self._run.finish()
