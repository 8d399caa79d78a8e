"""Datasets of other makers, made by Minari itself."""

import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.format.store import list_datasets
from idaq.loader import Dataset, MetaBatches, open_dataset
from idaq.loader.transitions import concatenate, from_episode
from tests.loader.test_table import assert_bitwise

LENGTHS = (5, 1, 9)
PENDULUM = gym.make("Pendulum-v1")
NESTED = gym.spaces.Dict(
    {
        "state": gym.spaces.Dict({"b": gym.spaces.Box(-1, 1, (2, 2)), "a": gym.spaces.Box(-1, 1, (1,))}),
        "goal": gym.spaces.Box(-1, 1, (3,), np.float64),
    }
)


def pendulum_buffers(seeds: bool) -> list[EpisodeBuffer]:
    """Real rollouts of random actions; the second ends the task, the others meet a time limit."""
    buffers = []
    for number, length in enumerate(LENGTHS):
        observations = [PENDULUM.reset(seed=number)[0]]
        PENDULUM.action_space.seed(number)
        actions = [PENDULUM.action_space.sample() for _ in range(length)]
        rewards = []
        for action in actions:
            observation, reward, *_ = PENDULUM.step(action)
            observations.append(observation)
            rewards.append(float(reward))
        flags = [step == length - 1 for step in range(length)]
        buffers.append(
            EpisodeBuffer(
                seed=1000 + number if seeds else None,
                observations=observations,
                actions=actions,
                rewards=rewards,
                terminations=[flag and number == 1 for flag in flags],
                truncations=[flag and number != 1 for flag in flags],
            )
        )
    return buffers


def create(root: Path, monkeypatch: pytest.MonkeyPatch, buffers: list[EpisodeBuffer], **options: Any) -> Path:
    """Let Minari write a dataset; returns its folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari's advice to fill in author, e-mail and so on
        minari.create_dataset_from_buffers("other/test-v0", buffers, **options)
    return root / "other" / "test-v0"


@pytest.fixture(params=[True, False], ids=["seeds", "no-seeds"])
def pendulum(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return create(tmp_path, monkeypatch, pendulum_buffers(request.param), env="Pendulum-v1")


def test_it_loads_as_one_task_with_every_episode_in_its_place(pendulum: Path) -> None:
    dataset = open_dataset("other/test-v0")
    assert (dataset.path, dataset.manifest, dataset.mapped) == (pendulum, None, False)
    assert [task.task_id for task in dataset.tasks] == ["task-0"]
    expected = pendulum_buffers(True)
    for episode, buffer in zip(dataset, expected, strict=True):
        np.testing.assert_array_equal(episode.observations, buffer.observations)
        np.testing.assert_array_equal(episode.actions, buffer.actions)
        np.testing.assert_array_equal(episode.rewards, buffer.rewards)
        np.testing.assert_array_equal(episode.terminated, buffer.terminations)
        np.testing.assert_array_equal(episode.truncated, buffer.truncations)
    assert dataset.episodes.terminated.tolist() == [False, True, False]
    assert dataset.episodes.truncated.tolist() == [True, False, True]
    np.testing.assert_array_equal(dataset.action_high, [2.0])
    np.testing.assert_array_equal(dataset.action_low, [-2.0])


def test_its_storage_is_chunked_and_its_transitions_are_those_of_the_episodes(pendulum: Path) -> None:
    with h5py.File(pendulum / "data" / "main_data.hdf5") as file:
        assert file["episode_0/observations"].chunks is not None
    dataset = open_dataset(pendulum)
    expected = concatenate([from_episode(episode) for episode in dataset])
    for where in ("ram", "auto"):
        table = dataset.transitions(where)
        assert len(table) == sum(LENGTHS)
        assert_bitwise(table.gather(np.arange(len(table))), expected)
    assert MetaBatches(table, meta_batch=2, batch=3, context=1, seed=0).at(0).transitions.rewards.shape == (2, 3)


def test_it_cannot_be_mapped_and_says_so(pendulum: Path) -> None:
    with pytest.raises(DatasetError, match="other/test-v0 was not written by idaq: it cannot be mapped") as caught:
        open_dataset(pendulum).transitions("map")
    assert caught.value.hint == 'use where="ram"'


def test_it_can_be_selected_by_task_split_and_return(pendulum: Path) -> None:
    dataset: Dataset = open_dataset(pendulum)
    returns = dataset.episodes.total_reward
    assert len(dataset.select(split="train", tasks=[0], behaviour="unknown")) == 3
    assert (
        dataset.select(min_return=float(np.sort(returns)[1])).numbers.tolist()
        == np.sort(np.argsort(returns)[1:]).tolist()
    )
    with pytest.raises(DatasetError, match="no episode"):
        dataset.select(max_return=-1e9).transitions()


def test_seeds_are_kept_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_seeds = open_dataset(create(tmp_path / "a", monkeypatch, pendulum_buffers(True), env="Pendulum-v1"))
    without = open_dataset(create(tmp_path / "b", monkeypatch, pendulum_buffers(False), env="Pendulum-v1"))
    assert with_seeds.episodes.seed.tolist() == [1000, 1001, 1002]
    assert without.episodes.seed.tolist() == [0, 0, 0]
    for number, episode in enumerate(with_seeds):
        assert with_seeds.episodes.digest[number] == episode_digest(episode, task_index=0, seed=1000 + number)


def test_it_is_listed_beside_ours(pendulum: Path) -> None:
    (listing,) = list_datasets(pendulum.parents[1])
    assert (listing.dataset_id, listing.by_idaq) == ("other/test-v0", False)


def nested_buffer(rng: np.random.Generator, length: int) -> EpisodeBuffer:
    draw = rng.uniform
    return EpisodeBuffer(
        observations={
            "state": {"b": draw(-1, 1, (length + 1, 2, 2)), "a": draw(-1, 1, (length + 1, 1))},
            "goal": draw(-1, 1, (length + 1, 3)),
        },
        actions=draw(-1, 1, (length, 2)),
        rewards=[*draw(-1, 1, length)],
        terminations=[False] * length,
        truncations=[False] * length,
    )


def test_a_nested_dict_of_boxes_stays_one_and_is_read_as_numbers_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffers = [nested_buffer(np.random.default_rng(n), length) for n, length in enumerate(LENGTHS)]
    box = gym.spaces.Box(-1, 1, (2,), np.float64)
    dataset = open_dataset(create(tmp_path, monkeypatch, buffers, observation_space=NESTED, action_space=box))
    for episode, buffer in zip(dataset, buffers, strict=True):
        raw: Any = buffer.observations
        for name, value in {"goal": raw["goal"], "state/a": raw["state"]["a"], "state/b": raw["state"]["b"]}.items():
            np.testing.assert_allclose(episode.columns[f"observations/{name}"], value, rtol=1e-6)
        first = {"goal": raw["goal"][0], "state": {key: value[0] for key, value in raw["state"].items()}}
        seen = dataset.view.encode_observations(episode.observations)
        np.testing.assert_allclose(seen[0], gym.spaces.flatten(NESTED, first), rtol=1e-6)
    table, expected = dataset.transitions(), dataset.view.encode_observations(dataset.episode(0).observations)
    assert table.gather(np.arange(5)).observations.shape == (5, 8)
    np.testing.assert_array_equal(table.gather(np.arange(5)).next_observations, expected[1:])


def test_choices_are_read_as_one_hot_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = EpisodeBuffer(
        observations=[4, 3, 4], actions=[2, 0], rewards=[0.0, 1.0], terminations=[False] * 2, truncations=[False, True]
    )
    spaces = {"observation_space": gym.spaces.Discrete(2, start=3), "action_space": gym.spaces.Discrete(3)}
    rows = open_dataset(create(tmp_path, monkeypatch, [buffer], **spaces)).transitions().gather(np.arange(2))
    assert rows.observations.tolist() == [[0, 1], [1, 0]]
    assert rows.next_observations.tolist() == [[1, 0], [0, 1]]
    assert rows.actions.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("minari_version", "99.0.0"),
        ("minari_version", None),
        ("data_format", "tape"),
        ("action_space", "{"),
        ("action_space", '{"type": "Cube"}'),
        ("action_space", "[]"),
        ("observation_space", 3),
        ("env_spec", "{}"),
        ("env_spec", "not json"),
        ("total_episodes", 99),
        ("total_episodes", "many"),
        ("dataset_id", None),
    ],
)
def test_metadata_that_minari_cannot_use_is_reported_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    path = create(tmp_path, monkeypatch, pendulum_buffers(True), env="Pendulum-v1")
    file = path / "data" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(
        CorruptDatasetError, match=f"Minari cannot read {path}|episode 1: observations .* do not have 2 rows"
    ):
        open_dataset(path)


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "short"])
def test_data_that_minari_cannot_read_is_reported_with_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = create(tmp_path, monkeypatch, pendulum_buffers(True), env="Pendulum-v1")
    file = path / "data" / "main_data.hdf5"
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:2000])
    elif damage == "foreign":
        file.write_bytes(b"text")
    else:
        with h5py.File(file, "r+") as open_file:
            values = open_file["episode_1/observations"][:1]
            del open_file["episode_1/observations"]
            open_file["episode_1/observations"] = values
    with pytest.raises(
        CorruptDatasetError, match=f"Minari cannot read {path}|episode 1: observations .* do not have 2 rows"
    ):
        open_dataset(path)
