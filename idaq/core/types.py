"""The nouns of the field, as plain data.

A **task** is one member of a family; an **episode** is T transitions (s, a, r, s') of one behaviour policy on one task:

    observations  s_0   s_1   s_2  ...  s_T        T + 1 rows
    actions       a_0   a_1   ...  a_T-1           T rows: a_t leads from s_t to s_t+1
    rewards       r_0   r_1   ...  r_T-1           T rows: r_t is paid on arriving at s_t+1
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from idaq.core.config import canonical_json, config
from idaq.core.plain import is_table
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

SLUG = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
Slug = Annotated[str, StringConstraints(pattern=f"^{SLUG}$")]
"""Lower-case letters, digits, `.`, `_`, `-`; 1 to 64 characters. Safe as a file name and in a URL."""
FamilyName = Annotated[str, StringConstraints(max_length=200, pattern=f"^(?:{SLUG}(?:/{SLUG})?|{REFERENCE})$")]
"""A slug, suite/slug, or `package.module:thing`, which is text: it is not imported because a document says so."""
NO_FAMILY = "imported"
"""The family that a dataset states whose data are of none."""
MIXED_FAMILIES = "mixed"
"""The family that a dataset states whose tasks are of several."""
PolicyName = FamilyName
"""A slug, training/slug, or `package.module:thing`, as text."""
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


LONGEST_LINE = 200
_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]*[^\s][^\u0000-\u001f\u007f-\u009f]*$"
Line = Annotated[
    str,
    StringConstraints(max_length=LONGEST_LINE),
    AfterValidator(_is_line),
    Field(json_schema_extra={"pattern": _LINE}),
]
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


OBSERVATIONS, ACTIONS, REWARDS = "observations", "actions", "rewards"
TERMINATIONS, TRUNCATIONS = "terminations", "truncations"
FIXED_COLUMNS = (ACTIONS, REWARDS, TERMINATIONS, TRUNCATIONS)
"""those of every episode, beside the one or the several columns of its observations"""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode's columns. `terminated` ends the task; `truncated` is a time limit, which bootstraps."""

    observations: Any
    """(T + 1, ...) array in the environment's dtype; of a Dict space a dict of such, nested as the space is"""
    actions: Array
    """(T, ...)"""
    rewards: Array
    """(T,)"""
    terminated: NDArray[np.bool_]
    """(T,)"""
    truncated: NDArray[np.bool_]
    """(T,)"""
    extras: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """other columns by name, of T or T + 1 rows each: `expert_action`, `infos/speed`"""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total_reward(self) -> float:
        """The return: sum of rewards, undiscounted, added in float64."""
        return float(np.sum(self.rewards, dtype=np.float64))

    @property
    def columns(self) -> dict[str, Array]:
        """All columns by the names that they have in a file, in its order; of a Dict its leaves, `observations/a/b`."""
        found = leaves_of(self.observations)
        found |= {ACTIONS: self.actions, REWARDS: self.rewards}
        found |= {TERMINATIONS: self.terminated, TRUNCATIONS: self.truncated}
        return found | {name: self.extras[name] for name in in_file_order(self.extras)}

    @staticmethod
    def from_columns(columns: Mapping[str, Array]) -> "Episode":
        """The episode that has these columns. Raises KeyError where a column of every episode is missing."""
        seen = {name: column for name, column in columns.items() if is_observation(name)}
        return Episode(
            observations=seen[OBSERVATIONS] if OBSERVATIONS in seen else _nested(seen),
            actions=columns[ACTIONS],
            rewards=columns[REWARDS],
            terminated=columns[TERMINATIONS],
            truncated=columns[TRUNCATIONS],
            extras={n: column for n, column in columns.items() if n not in seen and n not in FIXED_COLUMNS},
        )


def is_observation(column: str) -> bool:
    """Whether a column is the observations, or a leaf of them."""
    return column == OBSERVATIONS or column.startswith(f"{OBSERVATIONS}/")


def in_file_order(names: Iterable[str]) -> list[str]:
    """Names sorted segment by segment: a Dict space's own order, whose keys are sorted at every level."""
    return sorted(names, key=lambda name: name.split("/"))


def leaves_of(value: Any, name: str = OBSERVATIONS) -> dict[str, Any]:
    """The leaves of a value that may be a nested dict, by name, in the order of a file."""
    if not is_table(value):
        return {name: value}
    found: dict[str, Any] = {}
    for key in sorted(value):
        found |= leaves_of(value[key], f"{name}/{key}")
    return found


def _nested(leaves: Mapping[str, Array]) -> dict[str, Any]:
    """What has these leaves, by names that begin with one and the same segment. Raises KeyError for no leaves."""
    if not leaves:
        raise KeyError(OBSERVATIONS)
    whole: dict[str, Any] = {}
    for name in in_file_order(leaves):
        *folders, last = name.split("/")[1:]
        inner = whole
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = leaves[name]
    return whole
