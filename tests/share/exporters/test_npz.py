"""The NumPy archive holds every (s, a, r, s') of every task, in place."""

import json
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.errors import DatasetExistsError
from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.loader import open_dataset
from idaq.share.exporters.npz import export_npz
from tests.share.everything import source_of, transitions_of


def test_every_transition_is_in_its_place(collected_mixed: Collected, tmp_path: Path) -> None:
    dataset = open_dataset(collected_mixed.path)
    notes = export_npz(open_stored(collected_mixed.path), tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    table = dataset.transitions("map")
    expected = table.gather(np.arange(len(table)))
    assert not len(notes)
    assert arrays["rewards"].shape == (len(table),)
    for name in ("observations", "actions", "rewards", "next_observations", "terminated"):
        np.testing.assert_array_equal(arrays[name], getattr(expected, name), err_msg=name)
    for number, episode in enumerate(dataset):
        mine = arrays["episode"] == number
        assert (arrays["task_index"][mine] == dataset.episodes.task_index[number]).all()
        np.testing.assert_array_equal(arrays["truncated"][mine], episode.truncated)


def test_a_failed_export_leaves_nothing_and_a_file_is_not_overwritten(collected: Collected, tmp_path: Path) -> None:
    target = tmp_path / "new.npz"
    stored = open_stored(collected.path)

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_npz(stored, target, progress=stop)
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"old")
    with pytest.raises(DatasetExistsError):
        export_npz(stored, target)
    assert target.read_bytes() == b"old"


def test_what_is_known_of_episodes_and_of_the_dataset_stands_beside_the_rows(tmp_path: Path) -> None:
    stored = open_stored(write_dataset(source_of("grid"), tmp_path, "# everything\n"))
    export_npz(stored, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as archive:
        assert archive["episode_history"].tolist() == stored.episodes.history.tolist()
        assert archive["episode_policy_step"].tolist() == stored.episodes.policy_step.tolist()
        assert archive["episode_seed_known"].tolist() == [number != 1 for number in range(8)]
        assert archive["episode_seed"][0] == 2**64 - 1
        document = json.loads(str(archive["idaq"]))
        expected = transitions_of("grid")
        assert archive["next_observations"].tolist() == expected["next/observations"].tolist()
        assert archive["expert_action"].dtype == expected["expert_action"].dtype
    assert document["content_digest"] == stored.manifest.content_digest
    assert document["names"]["task_index"] == ["task_index_", "next_task_index_"]
