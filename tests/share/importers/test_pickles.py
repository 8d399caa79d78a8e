"""Pickles: refused unless allowed, and then read without running what is theirs. Buffers are by Stable-Baselines3."""

import os
import pickle  # noqa: TID251  what others write
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idaq.core.errors import CorruptDatasetError, DatasetError, IdaqError
from idaq.core.types import Array
from idaq.share.importers import ReadOptions, import_dataset, importer_of
from idaq.share.importers.pickled import Record, read_objects, read_pickle
from tests.share.importers.test_layouts import ends, opened, told

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

buffers = pytest.importorskip("stable_baselines3.common.buffers")


class Runs:
    """What a hostile pickle holds."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_what_a_pickle_would_run_is_not_run(tmp_path: Path) -> None:
    """In a pickle, in an object array, and hidden in what is read."""
    mark, ones = tmp_path / "ran", np.ones((3, 1))
    path = {"observations": ones, "actions": ones, "rewards": ones[:, 0], "more": Runs(mark)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Runs(mark)))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps([path]))
    np.save(tmp_path / "c.npy", np.array([Runs(mark), 1], object), allow_pickle=True)
    assert isinstance(read_pickle(tmp_path / "a.pkl", True), Record)
    assert [type(entry) is int for entry in read_objects(tmp_path / "c.npy", True)] == [False, True]
    done = import_dataset([tmp_path / "b.pkl"], "me/some/b-v0", root=tmp_path, allow_pickle=True)
    told(done.notes, "more of paths is left out: it is a posix.system of nothing")
    with pytest.raises(DatasetError, match=r"is no list of paths .*: it holds a posix\.system"):
        import_dataset([tmp_path / "a.pkl"], "me/some/a-v0", root=tmp_path, allow_pickle=True)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["f4", ">f8", "i8", "?", "u1"])
def test_arrays_of_every_protocol_come_back(protocol: int, kind: str, tmp_path: Path) -> None:
    held = {
        "rows": np.arange(12).reshape(3, 4).astype(kind),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "number": np.float32(1.5),
        "objects": np.array([np.arange(2), None, "a"], object),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(held, protocol=protocol))
    found = read_pickle(tmp_path / "x.pkl", True)
    np.testing.assert_array_equal(found["rows"], held["rows"])
    np.testing.assert_array_equal(found["columns"], held["columns"])
    assert found["number"] == held["number"]
    assert found["objects"][0].tolist() == [0, 1]


@settings(max_examples=60)
@given(data=st.binary(max_size=200), cut=st.integers(0, 120))
def test_whatever_a_pickle_is_it_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int
) -> None:
    path = tmp_path_factory.mktemp("pickles") / "x.pkl"
    path.write_bytes(pickle.dumps([{"observations": np.ones((2, 1)), "actions": np.ones((2, 1))}])[:cut] + data)
    importer = importer_of(str(path))
    with suppress(IdaqError):
        importer.read(str(path), ReadOptions(root=path.parent, allow_pickle=True))


def buffer(size: int, observations: Any, actions: Any, transitions: int, **options: Any) -> Any:
    """A buffer of two environments: step t of environment e observes t + 100 e, in episodes of five steps."""
    dictionary = isinstance(observations, gym.spaces.Dict)
    kind = buffers.DictReplayBuffer if dictionary else buffers.ReplayBuffer
    made = kind(size * 2, observations, actions, device="cpu", n_envs=2, **options)
    for t in range(transitions):
        now, after = (np.array([[t], [t + 100]], np.float32) + shift for shift in (0, 1))
        seen = [({"a": s, "b": s * 2} if dictionary else s) for s in (now, after)]
        done = np.array([t % 5 == 4, t % 5 == 4])
        acts = np.array([[0], [1]]) if isinstance(actions, gym.spaces.Discrete) else np.array([[-1.0], [0.5]])
        infos = [{"TimeLimit.truncated": bool(done[0])}, {"TimeLimit.truncated": False}]
        made.add(seen[0], seen[1], acts, np.array([t, -t]), done, infos)
    return made


def saved(path: Path, made: Any) -> Path:
    from stable_baselines3.common.save_util import save_to_pkl

    save_to_pkl(path, made)
    return path


SEEN, ACTIONS = gym.spaces.Box(-500, 500, (1,)), gym.spaces.Box(-2, 2, (1,))


def starts(dataset: Any) -> list[float]:
    return [float(np.ravel(episode.observations)[0]) for episode in dataset]


def test_a_buffer_that_is_not_full(tmp_path: Path) -> None:
    """Environment by environment; a time-out is none of its terminals; actions as the environment took them."""
    file = saved(tmp_path / "x.pkl", buffer(20, SEEN, ACTIONS, 12))
    with pytest.raises(DatasetError, match="is a pickle"):
        opened(file, tmp_path)
    dataset, notes = opened(file, tmp_path, allow_pickle=True)
    assert (starts(dataset), [len(episode) for episode in dataset]) == ([0, 5, 10, 100, 105, 110], [5, 5, 2] * 2)
    assert ends(dataset) == ["o", "o", "", "t", "t", ""]
    assert dataset.episode(3).observations.ravel().tolist() == [100, 101, 102, 103, 104, 105]
    assert dataset.episode(1).rewards.tolist() == [5, 6, 7, 8, 9]
    assert (dataset.episode(0).actions[0, 0], dataset.episode(3).actions[0, 0]) == (-2, 1)
    assert dataset.action_high.tolist() == [2]
    told(notes, "actions are stored scaled to [-1, 1]: they are written in the units of their space")


def test_a_full_buffer_is_read_from_its_oldest(tmp_path: Path) -> None:
    dataset, notes = opened(saved(tmp_path / "x.pkl", buffer(8, SEEN, ACTIONS, 12)), tmp_path, allow_pickle=True)
    assert (starts(dataset), [len(episode) for episode in dataset]) == ([4, 5, 10, 104, 105, 110], [1, 5, 2] * 2)
    told(notes, "the buffer is full: the oldest episode of each environment may lack its beginning")


def test_a_buffer_that_saves_memory_has_no_last_observations(tmp_path: Path) -> None:
    made = buffer(20, SEEN, ACTIONS, 12, optimize_memory_usage=True, handle_timeout_termination=False)
    dataset, notes = opened(saved(tmp_path / "x.pkl", made), tmp_path, allow_pickle=True)
    assert dataset.episode(0).observations.ravel().tolist() == [0, 1, 2, 3, 4, 4]
    told(notes, "terminal steps have no next observation")


def test_a_buffer_of_choices_and_parts(tmp_path: Path) -> None:
    space = gym.spaces.Dict({"a": SEEN, "b": SEEN})
    made = buffer(20, space, gym.spaces.Discrete(3), 7)
    dataset, notes = opened(saved(tmp_path / "x.pkl", made), tmp_path, allow_pickle=True)
    first: Array = dataset.episode(0).observations["b"]
    assert first.ravel().tolist() == [0, 2, 4, 6, 8, 10]
    assert [dataset.episode(number).actions.tolist() for number in (1, 3)] == [[0, 0], [1, 1]]
    assert dataset.leaves["actions"].high == 2
    assert not any("bounds" in note for note in notes)


def test_a_buffer_that_is_empty_or_not_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the buffer is empty"):
        opened(saved(tmp_path / "x.pkl", buffer(5, SEEN, ACTIONS, 0)), tmp_path, allow_pickle=True)
    (tmp_path / "y.pkl").write_bytes(pickle.dumps({"weights": np.zeros((2, 3))}))
    with pytest.raises(DatasetError, match=r"it holds a dict of weights \(float64 \(2, 3\)\)"):
        opened(tmp_path / "y.pkl", tmp_path, allow_pickle=True)
    made = buffer(5, SEEN, ACTIONS, 3)
    made.pos = 99
    with pytest.raises(CorruptDatasetError, match="pos 99 and full False are none of a buffer of 5"):
        opened(saved(tmp_path / "z.pkl", made), tmp_path, allow_pickle=True)
