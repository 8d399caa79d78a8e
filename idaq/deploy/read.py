"""Read a policy folder, and act with what it holds: NumPy alone, no agent and no torch.

    policy = idaq.read_policy("policy")
    action = policy.act(observation)

Shapes: N observations, Z belief, D observation, A action.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from idaq.core.config import from_mapping
from idaq.core.errors import ConfigError, CorruptDatasetError, DeployError, UsageError
from idaq.core.files import read_json
from idaq.core.plain import is_table
from idaq.core.reading import read_document
from idaq.core.types import Array, Floats
from idaq.deploy.document import POLICY, WEIGHTS, PolicyDocument
from idaq.learn.dense import DensePolicy

_HINT = "export it again: idaq policy export --help"


@dataclass(frozen=True, kw_only=True)
class SavedPolicy:
    """Acts on one system, deterministically; it remembers nothing."""

    document: PolicyDocument
    dense: DensePolicy
    belief: Floats
    """(Z,) which is folded into the layers"""

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> Floats:
        """An action (A,) inside its bounds for an observation of D numbers, of any shape.

        Raises UsageError for another number of them, for what is no number, NaN, and what float32 cannot hold.
        """
        return self.dense.act(self._floats(observation, ()))

    def act_rows(self, observations: Any) -> Floats:
        """Actions (N, A) for observations (N, ...), D numbers in each. Raises UsageError as `act`."""
        return self.dense.act(self._floats(observations, (len(observations),)))

    def observe(self, action: Array, reward: float, next_observation: Array, ended: bool) -> None:
        """Nothing to remember."""

    def _floats(self, value: Any, rows: tuple[int, ...]) -> Floats:
        """(*rows, D) in float32."""
        size = self.document.observation_size
        try:
            array: Array = np.asarray(value)
        except ValueError:
            raise UsageError("observations are of several sizes", hint=f"{size} numbers in each") from None
        if array.dtype.kind not in "biuf":
            raise UsageError(f"an observation is {size} numbers, got {array.dtype}: {str(value)[:80]}")
        if array.size != size * int(np.prod(rows)):
            what = f"an array of shape {array.shape}" if rows else f"{array.size}"
            raise UsageError(f"an observation is {size} numbers, got {what}")
        with np.errstate(over="ignore"):
            floats = array.astype(np.float32).reshape(*rows, size)
        if not np.isfinite(floats).all():
            number = int(np.argmax(~np.isfinite(floats).reshape(-1, size).all(0)))
            raise UsageError(f"number {number} of an observation is NaN, infinity or beyond float32")
        return floats


def read_policy(folder: str | Path) -> SavedPolicy:
    """The policy of a folder, every file of it checked against its digest.

    Raises DeployError for what is no policy folder, is damaged, or was written by a later idaq.
    """
    folder = Path(folder).expanduser()
    if not (folder / POLICY).is_file():
        raise DeployError(f"{folder} is no policy folder: it has no {POLICY}", hint=_HINT)
    try:
        document = _document(folder / POLICY)
        contents = {name: _checked(folder, name, document) for name in document.files}
        arrays = load(contents[WEIGHTS])
        belief = arrays.pop("belief")
        dense = DensePolicy.from_arrays(arrays, document.activations)
        _check_agree(document, dense, belief)
        if unknown := arrays.keys() - dense.arrays().keys():
            raise ValueError(f"{WEIGHTS} holds {min(unknown)}, which is no part of it")
    except (CorruptDatasetError, ConfigError, SafetensorError, KeyError, TypeError, ValueError) as error:
        said = getattr(error, "message", f"{WEIGHTS}: {error}")
        raise DeployError(f"{folder} is corrupt: {said}", hint=_HINT) from None
    return SavedPolicy(document=document, dense=dense, belief=belief)


def _document(path: Path) -> PolicyDocument:
    stated = read_json(path)
    version = stated.get("policy_version") if is_table(stated) else None
    if type(version) is int and version > 1:
        raise DeployError(f"{path} is of policy_version {version}, which this idaq does not know", hint="upgrade idaq")
    return from_mapping(PolicyDocument, stated, where=POLICY, strict=True)


def _checked(folder: Path, name: str, document: PolicyDocument) -> bytes:
    """A file's bytes. Raises CorruptDatasetError where they are not those stated."""
    stated = document.files[name]
    content = read_document(folder / name, stated.size)
    if len(content) != stated.size or hashlib.sha256(content).hexdigest() != stated.sha256:
        raise CorruptDatasetError(f"{name} is not the file that {POLICY} was written for: its sha256 differs")
    return content


def _check_agree(document: PolicyDocument, dense: DensePolicy, belief: Floats) -> None:
    """Raise ValueError where weights and document state other things."""
    sizes = len(dense.observation_mean), len(dense.action_centre), belief.shape
    if sizes != (document.observation_size, document.action_size, (document.belief_size,)):
        raise ValueError(f"sizes {sizes} are not those of {POLICY}")
    if belief.dtype != np.float32 or not np.isfinite(belief).all():
        raise ValueError(f"belief is {belief.dtype}, or holds NaN")
    bounds = np.array([document.action_low, document.action_high], np.float32)
    if not np.array_equal(bounds, np.stack([dense.action_low, dense.action_high])):
        raise ValueError(f"action_low and action_high are not those of {POLICY}")
