"""The nouns of the field, as plain data.

A **task** is one member of a family; an **episode** is T transitions (s, a, r, s') of one behaviour policy on one task:

    observations  s_0   s_1   s_2  ...  s_T        T + 1 rows
    actions       a_0   a_1   ...  a_T-1           T rows: a_t leads from s_t to s_t+1
    rewards       r_0   r_1   ...  r_T-1           T rows: r_t is paid on arriving at s_t+1
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from idaq.core.config import canonical_json, config
from idaq.core.registry import REFERENCE

Array = NDArray[Any]
Floats = NDArray[np.float32]
"""as data is learned from"""
Doubles = NDArray[np.float64]
"""as statistics are calculated in"""
Advance = Callable[[int], None]
"""Progress callback: called with how many units were just finished."""
ShowProgress = Callable[[str, int, str], AbstractContextManager[Advance]]
"""label, total, unit -> a context that shows progress meanwhile"""

_SLUG = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
Slug = Annotated[str, StringConstraints(pattern=f"^{_SLUG}$")]
"""Lower-case letters, digits, `.`, `_`, `-`; 1 to 64 characters. Safe as a file name and in a URL."""
FamilyName = Annotated[str, StringConstraints(max_length=200, pattern=f"^(?:{_SLUG}(?:/{_SLUG})?|{REFERENCE})$")]
"""A slug, suite/slug, or `package.module:thing`, which is text: it is not imported because a document says so."""
NO_FAMILY = "imported"
"""The family that a dataset states whose data are of none."""
PolicyName = Annotated[str, StringConstraints(max_length=200, pattern=f"^(?:{_SLUG}|{REFERENCE})$")]
"""A slug, or `package.module:thing`, as text."""
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
"""A digest in lower-case hex."""
AtLeastOne = Annotated[int, Field(ge=1)]
"""A count that is never 0."""
TaskParams = dict[str, float | list[float]]
"""What differs between the tasks of a family, by name."""


def _is_plain(value: dict[str, Any]) -> dict[str, Any]:
    try:
        canonical_json(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be plain data that JSON can hold: no NaN, infinity or dates") from None
    return value


def _is_integer(value: object) -> object:
    if type(value) is not int:
        raise ValueError("must be the integer 1")
    return value


def _is_line(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("must be one line of text")
    return value


Line = Annotated[str, StringConstraints(max_length=200), AfterValidator(_is_line)]
"""One line of printable text."""

PlainData = Annotated[dict[str, Any], AfterValidator(_is_plain)]
"""Any JSON object."""

VersionOne = Annotated[Literal[1], BeforeValidator(_is_integer)]
"""The integer 1, neither true nor 1.0."""


def ignore_progress(_count: int) -> None:
    """The default `Advance`: shows nothing."""


def show_nothing(_label: str, _total: int, _unit: str) -> AbstractContextManager[Advance]:
    """The default `ShowProgress`."""
    return nullcontext(ignore_progress)


@config
class Success:
    """When an episode counts as solved: `metric op threshold`, judged `when`."""

    metric: str
    op: Literal["<=", ">="]
    threshold: float
    unit: str
    when: Literal["last-step", "any-step"]


@config
class Task:
    """One task of a family: what differs (`params`) and which split it belongs to."""

    task_id: Slug
    task_index: Annotated[int, Field(ge=0, lt=2**63)]
    params: TaskParams
    split: Slug = "train"
    """a family's tasks are assigned to splits by the recipe"""
    success: Success | None = None
    """None where it is not defined"""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode's columns. `terminated` ends the task; `truncated` is a time limit, which bootstraps."""

    observations: Array
    """(T + 1, ...) in the environment's dtype"""
    actions: Array
    """(T, ...)"""
    rewards: Array
    """(T,)"""
    terminated: NDArray[np.bool_]
    """(T,)"""
    truncated: NDArray[np.bool_]
    """(T,)"""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total_reward(self) -> float:
        """The return: sum of rewards, undiscounted, added in float64."""
        return float(np.sum(self.rewards, dtype=np.float64))
