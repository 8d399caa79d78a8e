"""Datasets that use what the format has: every space, extra columns of both kinds, learning histories, and unknowns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.types import Array, Episode
from idaq.format.documents import About
from idaq.format.writer import DatasetSource
from tests.format.made import PLANS, made_recipe, made_source, task_record

Spaces = gym.spaces
HUGE = 2**60
_STATE = Spaces.Dict({"joints": Spaces.Box(-9, 9, (3,), np.float32), "speed": Spaces.Box(-9, 9, (), np.float64)})
_DICT = Spaces.Dict(
    {
        "camera": Spaces.Box(0, 255, (4, 5, 3), np.uint8),
        "depth": Spaces.Box(0, 9, (2, 3), np.float16),
        "lights": Spaces.MultiBinary(3),
        "room": Spaces.Discrete(5, start=-2),
        "state": _STATE,
        "tiles": Spaces.MultiDiscrete([3, 4]),
    }
)
_BOX = Spaces.Box(-9, 9, (2,), np.float32)
SPACES: dict[str, tuple[gym.Space[Any], gym.Space[Any]]] = {
    "dict": (_DICT, Spaces.Box(-1, 1, (2,), np.float32)),
    "grid": (Spaces.Discrete(81), Spaces.Discrete(5, start=1)),
    "tiles": (Spaces.MultiDiscrete([3, 4]), Spaces.MultiDiscrete([2, 3])),
    "switches": (Spaces.MultiBinary(4), Spaces.MultiBinary(2)),
    "pictures": (Spaces.Box(0, 255, (6, 4, 1), np.uint8), Spaces.Discrete(3)),
    "matrices": (Spaces.Box(-9, 9, (2, 3), np.float64), Spaces.Box(-1, 1, (2, 2), np.float64)),
    "numbers": (_BOX, _BOX),
}
"""by name: those of observations and actions"""


def source_of(name: str, dataset_id: str = "idaq/made/everything-v0") -> DatasetSource:
    """The episodes of the hand-made dataset, with drawn values of these spaces, and all that an episode may have."""
    observation_space, action_space = SPACES[name]
    rng = np.random.default_rng(7)
    source = made_source()
    entries = []
    for number, entry in enumerate(source.entries):
        length = len(entry.episode)
        episode = Episode(
            observations=_nested(observation_space, length + 1, rng),
            actions=draw(action_space, length, rng),
            rewards=rng.normal(size=length),
            terminated=entry.episode.terminated,
            truncated=entry.episode.truncated,
            extras=_extras(action_space, length, rng),
        )
        entries.append(replace(entry, episode=episode, **_facts(number)))
    return replace(
        source,
        recipe=made_recipe(f"id={dataset_id}"),
        tasks=tuple(task_record(task.task_index, entries, task.split) for task in source.tasks),
        entries=entries,
        observation_space=observation_space,
        action_space=action_space,
        about={"rewards": About(unit="m"), "infos/height": About(unit="m", meaning="of the hand")},
    )


def _facts(number: int) -> dict[str, Any]:
    """Some episodes are of a learning history, some have no seed, of some success is unknown."""
    learning = number < len(PLANS) - 2
    return {
        "history": number % 2 if learning else None,
        "policy_step": 1000 * number if learning else None,
        "seed": None if number == 1 else 2**64 - 1 - number,
        "success": None if number == 2 else number % 2 == 0,
    }


def draw(space: gym.Space[Any], rows: int, rng: np.random.Generator) -> Array:
    """(rows, *shape) values of a space that is no Dict, of all its range."""
    match space:
        case Spaces.Discrete():
            return (space.start + rng.integers(space.n, size=rows)).astype(np.int64)
        case Spaces.MultiDiscrete():
            return rng.integers(space.nvec, size=(rows, *space.nvec.shape)).astype(np.int64)
        case Spaces.MultiBinary():
            return rng.integers(2, size=(rows, *space.shape)).astype(np.int8)
        case Spaces.Box() if space.dtype.kind in "iu":
            return rng.integers(space.low, space.high, endpoint=True, size=(rows, *space.shape)).astype(space.dtype)
        case Spaces.Box():
            return rng.uniform(space.low, space.high, size=(rows, *space.shape)).astype(space.dtype)
        case _:
            raise TypeError(space)


def _nested(space: gym.Space[Any], rows: int, rng: np.random.Generator) -> Any:
    if isinstance(space, Spaces.Dict):
        return {key: _nested(inner, rows, rng) for key, inner in space.spaces.items()}
    return draw(space, rows, rng)


def _extras(action_space: gym.Space[Any], length: int, rng: np.random.Generator) -> dict[str, Array]:
    """Of T and of T + 1 rows; of dtypes that few have; and under names that mean something else elsewhere."""
    return {
        "belief": rng.normal(size=(length + 1, 2, 2)).astype(np.float16),
        "expert_action": draw(action_space, length, rng),
        "infos/contact": rng.integers(2, size=length).astype(bool),
        "infos/height": rng.normal(size=length + 1),
        "log_prob": rng.normal(size=length).astype(np.float32),
        "step": rng.integers(HUGE, size=length),
        "task_index": rng.integers(255, size=(length + 1, 1)).astype(np.uint8),
    }


def transitions_of(name: str) -> dict[str, Array]:
    """All 75 transitions by column, in file order; `next/<column>` is what follows, of what has T + 1 rows."""
    found: dict[str, list[Array]] = {}
    for entry in source_of(name).entries:
        for column, rows in entry.episode.columns.items():
            two = len(rows) > len(entry.episode)
            found.setdefault(column, []).append(rows[:-1] if two else rows)
            if two:
                found.setdefault(f"next/{column}", []).append(rows[1:])
    return {column: np.concatenate(parts) for column, parts in found.items()}


def without_document(archive: Path) -> Path:
    """An archive as somebody else would have written it: nothing in it but the transitions."""
    with np.load(archive) as members:
        kept = {name: members[name] for name in members.files if name != "idaq" and not name.startswith("episode_")}
    np.savez(archive, allow_pickle=False, **kept)
    return archive
