"""What the policies of the training tasks earn on each other's tasks, kept in cross-returns.safetensors of a run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load, save

from idaq.core.errors import CorruptDatasetError, RunError
from idaq.core.files import write_bytes
from idaq.core.reading import LARGEST_TABLE, read_document
from idaq.core.types import Array, Doubles

CROSS_RETURNS = "cross-returns.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossReturns:
    """Returns of the policy under each belief of the prior on each of some training tasks.

    H tasks, M beliefs of the prior, K episodes of each pair. Equal is what is the same object.
    """

    tasks: Int64[np.ndarray, "H"]
    """their task_index"""
    returns: Float64[np.ndarray, "H M K"]
    """undiscounted"""

    @property
    def means(self) -> Float64[np.ndarray, "H M"]:
        """Mean return of each pair."""
        return self.returns.mean(-1)

    @property
    def noise(self) -> Float64[np.ndarray, "M"]:
        """Standard deviation of a return around its pair's mean, of each belief over all tasks; 0 where each pair was
        played once."""
        once = self.returns.shape[-1] == 1
        deviations: Doubles = np.sqrt(self.returns.var(-1, ddof=0 if once else 1).mean(0))
        return deviations


def write_cross_returns(run: Path, measured: CrossReturns, agent_digest: str) -> None:
    """Write cross-returns.safetensors of a run's agent, whole or not at all."""
    tensors = {"tasks": measured.tasks, "returns": measured.returns, "agent": _bytes(agent_digest)}
    write_bytes(run / CROSS_RETURNS, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))


def read_cross_returns(run: Path, beliefs: int, agent_digest: str) -> CrossReturns | None:
    """Those of an agent with so many beliefs in its prior; None where none were measured of it. Raises RunError."""
    path = run / CROSS_RETURNS
    if not path.is_file():
        return None
    try:
        tensors = load(read_document(path, LARGEST_TABLE))
        tasks, returns = tensors["tasks"], tensors["returns"]
        mine = np.array_equal(tensors["agent"], _bytes(agent_digest))
        _check(tasks, returns, beliefs if mine else None)
    except (CorruptDatasetError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}", hint=f"remove it, and it is measured anew: rm {path}"
        ) from None
    return CrossReturns(tasks=tasks, returns=returns) if mine else None


def _bytes(digest: str) -> UInt8[np.ndarray, "32"]:
    return np.frombuffer(bytes.fromhex(digest), np.uint8)


def _check(tasks: Array, returns: Array, beliefs: int | None) -> None:
    """Raise ValueError for what is no table of `beliefs` columns, any number of them for None."""
    if returns.ndim != 3 or returns.dtype != np.float64 or 0 in returns.shape:
        raise ValueError(f"returns are {returns.dtype} {returns.shape}")
    if beliefs not in (None, returns.shape[1]):
        raise ValueError(f"returns are of {returns.shape[1]} beliefs; the prior has {beliefs}")
    if tasks.shape != returns.shape[:1] or tasks.dtype != np.int64:
        raise ValueError(f"tasks are {tasks.dtype} {tasks.shape}")
    if not np.isfinite(returns).all():
        raise ValueError("NaN or infinity")
