"""OGBench's archive by plain NumPy; tests/interop loads it with OGBench itself."""

from pathlib import Path

import numpy as np
import pytest

from idaq.format.reader import open_stored
from idaq.format.writer import write_dataset
from idaq.share.exporters.ogbench import export_ogbench
from tests.format.made import PLANS
from tests.share.everything import source_of, transitions_of
from tests.share.tagged import assert_tagged, tagged_rows


def test_an_episode_has_a_row_more_whose_action_is_never_used(made: Path, tmp_path: Path) -> None:
    assert not len(export_ogbench(open_stored(made), tmp_path / "tagged.npz"))
    with np.load(tmp_path / "tagged.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    ends = np.cumsum([plan.length + 1 for plan in PLANS]) - 1
    assert np.flatnonzero(arrays["terminals"]).tolist() == ends.tolist()
    used, after = ~arrays["terminals"], np.concatenate([[False], ~arrays["terminals"][:-1]])
    assert_tagged(
        {"observation": arrays["observations"][used], "action": arrays["actions"][used]}, ("observation", "action")
    )
    assert_tagged({"next_observation": arrays["observations"][after]}, ("next_observation",))
    assert_tagged(
        {"reward": arrays["rewards"][used], "terminated": arrays["terminations"][used]}, ("reward", "terminated")
    )
    assert arrays["task_index"][used].tolist() == tagged_rows()["task_index"].tolist()
    assert not arrays["actions"][~used].any()


def test_a_dict_is_joined_leaf_by_leaf_and_its_parts_stand_beside_it(tmp_path: Path) -> None:
    stored = open_stored(write_dataset(source_of("dict"), tmp_path, "# everything\n"))
    notes = list(export_ogbench(stored, tmp_path / "dict.npz"))
    assert any("7 observations are a Dict, which OGBench has none of: it reads rows of 76 numbers" in n for n in notes)
    expected = transitions_of("dict")
    with np.load(tmp_path / "dict.npz", allow_pickle=False) as archive:
        used = ~archive["terminals"]
        joined, begin = archive["observations"][used], 0
        for name in [name for name in expected if name.startswith("observations/")]:
            part = expected[name].reshape(len(joined), -1)
            np.testing.assert_array_equal(joined[:, begin : begin + part.shape[1]], part, err_msg=name)
            np.testing.assert_array_equal(archive[name][used], expected[name], err_msg=name)
            begin += part.shape[1]
        assert begin == joined.shape[1] == 76


@pytest.mark.parametrize("taken", ["terminals", "idaq", "task_index"])
def test_a_column_whose_name_is_taken_gets_another_which_is_told(taken: str, tmp_path: Path) -> None:
    from dataclasses import replace

    source = source_of("grid")
    entries = [
        replace(e, episode=replace(e.episode, extras={taken: np.arange(len(e.episode))})) for e in source.entries
    ]
    stored = open_stored(write_dataset(replace(source, entries=entries, about={}), tmp_path, "# taken\n"))
    notes = list(export_ogbench(stored, tmp_path / "out.npz"))
    assert notes == [f"{taken}: the column is written as {taken}_: {taken} means something else there"]
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert len(archive[f"{taken}_"]) == len(archive["terminals"])
