"""Spaces that metadata.json states, true and false: what is read of them, and that no lie is believed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from idaq.core.errors import CorruptDatasetError
from idaq.format.spaces import Leaf, parse_leaves
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.testing.examples import EXAMPLES
from tests.format.sealing import alter_metadata
from tests.format.test_one_verdict import _true_spaces, check

DISCRETE: dict[str, Any] = {"type": "Discrete", "dtype": "int64", "start": 0, "n": 81}
MULTI: dict[str, Any] = {"type": "MultiDiscrete", "dtype": "int64", "nvec": [3, 200], "start": [-1, 0]}
BOX: dict[str, Any] = {"type": "Box", "dtype": "float32", "shape": [2], "low": [0.0, 0.0], "high": [1.0, 1.0]}


def leaves(space: object) -> Mapping[str, Leaf]:
    spaces = {"observation_space": json.dumps(space), "action_space": json.dumps(DISCRETE)}
    return parse_leaves(spaces, "here")


def nested(depth: int) -> dict[str, Any]:
    space: dict[str, Any] = DISCRETE
    for _ in range(depth):
        space = {"type": "Dict", "subspaces": {"a": space}}
    return space


def test_counted_spaces_hold_their_first_and_last_value() -> None:
    assert leaves({**DISCRETE, "start": -2, "n": 1})["observations"].text == "Discrete from -2 to -2"
    leaf = leaves(MULTI)["observations"]
    assert (leaf.low.tolist(), leaf.high.tolist(), leaf.shape) == ([-1, 0], [1, 199], (2,))
    grid = leaves({**MULTI, "nvec": [[2], [3]], "start": [[0], [5]]})["observations"]
    assert (grid.low.tolist(), grid.high.tolist(), grid.shape) == ([[0], [5]], [[1], [7]], (2, 1))
    assert leaves({"type": "MultiBinary", "n": [2, 3]})["observations"].shape == (2, 3)


def test_dicts_lie_in_each_other_sixteen_deep() -> None:
    assert list(leaves(nested(16))) == ["observations" + "/a" * 16, "actions"]
    with pytest.raises(CorruptDatasetError, match="is no Box, Discrete, MultiDiscrete, MultiBinary or Dict"):
        leaves(nested(17))


@pytest.mark.parametrize(
    "space",
    [
        {**DISCRETE, "n": 0},
        {**DISCRETE, "n": -1},
        {**DISCRETE, "n": True},
        {**DISCRETE, "n": 3.0},
        {**DISCRETE, "n": 2**63},
        {**DISCRETE, "n": 2**62, "start": 2**62 + 1},
        {**DISCRETE, "start": None},
        {**DISCRETE, "start": [0]},
        {**MULTI, "dtype": "float32"},
        {**MULTI, "nvec": [], "start": []},
        {**MULTI, "nvec": [3, [200]]},
        {**MULTI, "nvec": [[3, 200]]},
        {**MULTI, "nvec": [3, 0]},
        {**MULTI, "start": [0]},
        {**MULTI, "start": [[-1, 0]]},
        {"type": "MultiBinary", "n": 0},
        {"type": "MultiBinary", "n": [0, 3]},
        {"type": "MultiBinary", "n": -3},
        {"type": "MultiBinary", "n": 2**26 + 1},
        {"type": "MultiBinary", "n": 2**40},
        {"type": "MultiBinary", "n": [2**20, 2**20]},
        {**BOX, "shape": [0], "low": [], "high": []},
        {**BOX, "high": [1.0]},
        {**BOX, "low": [2.0, 0.0]},
        {"type": "Dict", "subspaces": {"b": DISCRETE, "a": DISCRETE}},
        {"type": "Dict", "subspaces": {"..": DISCRETE}},
        {"type": "Dict", "subspaces": [DISCRETE]},
    ],
    ids=str,
)
def test_a_lie_is_no_space(space: object) -> None:
    with pytest.raises(CorruptDatasetError, match="the observation space"):
        leaves(space)


@pytest.mark.parametrize(
    ("example", "space", "change"),
    [
        ("discrete", "observation_space", {"n": 2**63}),
        ("discrete", "observation_space", {"start": -5, "n": 200}),
        ("discrete", "observation_space", {"start": -(2**63)}),
        ("discrete", "observation_space", {"n": 40}),
        ("discrete", "action_space", {"start": -2, "n": 4}),
        ("discrete", "action_space", {"dtype": "int32"}),
        ("discrete", "action_space", {"dtype": "object"}),
        ("discrete", "action_space", {"dtype": "float64"}),
        ("counted", "observation_space", {"nvec": [[3, 200, 9, 4]]}),
        ("counted", "observation_space", {"nvec": [[3, 200], [9, 2**31]], "dtype": "int32"}),
        ("counted", "observation_space", {"nvec": [[3, 200], [9, 300]], "dtype": "uint8"}),
        ("counted", "observation_space", {"dtype": "uint64"}),
        ("counted", "observation_space", {"start": None}),
        ("counted", "action_space", {"n": [3]}),
        ("counted", "action_space", {"n": [3, 1]}),
        ("counted", "action_space", {"n": 4}),
    ],
)
def test_what_verify_says_of_a_lying_space_reader_and_minari_say_too(
    example: str, space: str, change: dict[str, Any], tmp_path: Path
) -> None:
    path = write_dataset(EXAMPLES[example](), tmp_path, "")

    def alter(metadata: dict[str, Any]) -> None:
        metadata[space] = json.dumps(json.loads(metadata[space]) | change)

    alter_metadata(path, alter)
    _true_spaces(path)
    assert check(path) or verify(path)
