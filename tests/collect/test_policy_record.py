"""Weights of behaviour policies: they come back as they were written, and nothing else is taken for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from idaq.collect.policy_record import (
    RECORD,
    PolicyRecord,
    SacConfig,
    Snapshot,
    Tensors,
    actor_shapes,
    read_policy,
    read_record,
    write_policy,
    write_record,
)
from idaq.core.errors import ConfigError, PolicyError, UnknownNameError

EMPTY = PolicyRecord(
    family="cheetah-vel",
    algorithm="SAC",
    versions={},
    command="idaq behavior train cheetah-vel",
    observation_size=17,
    feature_size=1,
    action_size=6,
    config=SacConfig(hidden=8),
    curve=[],
    snapshots={},
)


def actor() -> Tensors:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in actor_shapes(EMPTY).items()}


def written(folder: Path, tensors: Tensors) -> None:
    sha256 = write_policy(folder / "expert.safetensors", tensors)
    snapshot = Snapshot(sha256=sha256, steps=1, mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
    write_record(folder, replace(EMPTY, snapshots={"expert": snapshot}))


def test_an_actor_has_hidden_layers_a_mean_and_a_spread() -> None:
    assert actor_shapes(EMPTY) == {
        "layers.0.weight": (8, 18),
        "layers.0.bias": (8,),
        "layers.1.weight": (8, 8),
        "layers.1.bias": (8,),
        "mean.weight": (6, 8),
        "mean.bias": (6,),
        "log_std.weight": (6, 8),
        "log_std.bias": (6,),
    }


def test_weights_and_record_come_back_as_written(tmp_path: Path) -> None:
    written(tmp_path, actor())
    again = read_policy(tmp_path, "expert")
    assert {name: value.tobytes() for name, value in again.items()} == {n: v.tobytes() for n, v in actor().items()}
    assert read_record(tmp_path).config == EMPTY.config


def test_the_same_weights_have_the_same_digest_whatever_their_order(tmp_path: Path) -> None:
    backwards = dict(reversed(actor().items()))
    assert write_policy(tmp_path / "a", actor()) == write_policy(tmp_path / "b", backwards)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "cannot read weights"),
        (lambda path: path.write_bytes(b""), "cannot read weights"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "cannot read weights"),
        (lambda path: save_file({**actor(), "mean.bias": np.ones(6, np.float32)}, path), "its sha256 differs"),
    ],
)
def test_a_file_other_than_the_recorded_one_is_refused(
    tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    written(tmp_path, actor())
    change(tmp_path / "expert.safetensors")
    with pytest.raises(PolicyError, match=message):
        read_policy(tmp_path, "expert")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({**actor(), "mean.bias": np.zeros(5, np.float32)}, "its record asks for"),
        ({**actor(), "more.bias": np.zeros(5, np.float32)}, "its record asks for"),
        ({k: v for k, v in actor().items() if k != "mean.bias"}, "its record asks for"),
        ({**actor(), "mean.bias": np.full(6, np.nan, np.float32)}, "holds NaN or infinity"),
    ],
)
def test_weights_of_other_shapes_or_not_finite_are_refused(tmp_path: Path, tensors: Tensors, message: str) -> None:
    written(tmp_path, tensors)
    with pytest.raises(PolicyError, match=message):
        read_policy(tmp_path, "expert")


def test_an_unknown_snapshot_is_answered_with_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, actor())
    with pytest.raises(UnknownNameError, match="unknown snapshot of cheetah-vel 'exprt'") as caught:
        read_policy(tmp_path, "exprt")
    assert "'expert'" in str(caught.value.hint)


def test_a_missing_or_damaged_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no trained behaviour policies"):
        read_record(tmp_path)
    written(tmp_path, actor())
    (tmp_path / RECORD).write_text('{"record_version": 2}')
    with pytest.raises(ConfigError, match="record_version"):
        read_record(tmp_path)
