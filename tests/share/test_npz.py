"""The NumPy archive holds every (s, a, r, s') of every task, in place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import DatasetExistsError
from idaq.format.reader import open_stored
from idaq.loader import open_dataset
from idaq.share.npz import export_npz


def test_every_transition_is_in_its_place(collected_mixed: Collected, tmp_path: Path) -> None:
    dataset = open_dataset(collected_mixed.path)
    count = export_npz(open_stored(collected_mixed.path), tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    table = dataset.transitions("map")
    expected = table.gather(np.arange(len(table)))
    assert count == len(table)
    for name in ("observations", "actions", "rewards", "next_observations", "terminated"):
        np.testing.assert_array_equal(arrays[name], getattr(expected, name), err_msg=name)
    for number, episode in enumerate(dataset):
        mine = arrays["episode"] == number
        assert (arrays["task_index"][mine] == dataset.episodes.task_index[number]).all()
        np.testing.assert_array_equal(arrays["truncated"][mine], episode.truncated)


def test_a_failed_export_leaves_nothing_and_a_file_is_not_overwritten(collected: Collected, tmp_path: Path) -> None:
    target = tmp_path / "new.npz"
    stored = open_stored(collected.path)
    wrong = replace(stored, episodes=replace(stored.episodes, task_index=np.array([object()] * len(stored.episodes))))
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        export_npz(wrong, target)
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"old")
    with pytest.raises(DatasetExistsError):
        export_npz(stored, target)
    assert target.read_bytes() == b"old"
