"""Groups are written through h5py's low-level interface: byte for byte what its own objects write."""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from idaq.core.types import Array
from idaq.format.hdf5_write import EpisodeGroups, open_hdf5
from idaq.format.output import Output

ATTRIBUTES = {"id": 3, "seed": 2**64 - 1, "total_steps": 4, "task_id": "goal-é", "task_index": 2, "options/task": -1}
COLUMNS: dict[str, Array] = {
    "observations/camera/left": np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3),
    "observations/pose": np.arange(10, dtype=">f4").reshape(5, 2),
    "actions": np.arange(4, dtype=np.int64),
    "rewards": np.linspace(0, 1, 4),
    "terminations": np.array([False, False, False, True]),
    "truncations": np.zeros(4, bool),
    "infos/mass": np.ones(8, np.float16)[::2],
}
Write = Callable[[h5py.File, str, Mapping[str, int | str], Mapping[str, Array]], None]


def by_objects(file: h5py.File, name: str, attributes: Mapping[str, int | str], columns: Mapping[str, Array]) -> None:
    group = file.create_group(name)
    for key, value in attributes.items():
        group.attrs.create(key, np.uint64(value) if key == "seed" else value)
    for key, column in columns.items():
        group.create_dataset(key, data=np.ascontiguousarray(column, column.dtype.newbyteorder("<")))


def written(path: Path, episodes: int, write: Callable[[h5py.File, int], None]) -> bytes:
    with closing(Output(path)) as output, open_hdf5(output) as file:
        for number in range(episodes):
            write(file, number)
    return path.read_bytes()


@pytest.mark.parametrize("episodes", [1, 7, 300])
def test_the_bytes_are_those_of_h5pys_own_objects(tmp_path: Path, episodes: int) -> None:
    groups: dict[int, EpisodeGroups] = {}

    def add(file: h5py.File, number: int) -> None:
        groups.setdefault(0, EpisodeGroups(file)).add(f"episode_{number}", ATTRIBUTES | {"id": number}, COLUMNS, {})

    def create(file: h5py.File, number: int) -> None:
        by_objects(file, f"episode_{number}", ATTRIBUTES | {"id": number}, COLUMNS)

    assert written(tmp_path / "a", episodes, add) == written(tmp_path / "b", episodes, create)


def test_offsets_are_where_the_numbers_are(tmp_path: Path) -> None:
    found: dict[str, int] = {}
    content = written(
        tmp_path / "a", 1, lambda file, _: found.update(EpisodeGroups(file).add("e", {}, COLUMNS, {}).offsets)
    )
    for name, column in COLUMNS.items():
        values = np.ascontiguousarray(column, column.dtype.newbyteorder("<")).tobytes()
        assert content[found[name] : found[name] + len(values)] == values
        assert found[name] % 64 == 0


def test_episodes_of_any_number_of_lengths(tmp_path: Path) -> None:
    columns = [{"actions": np.zeros(length)} for length in range(1, 1500)]
    groups: dict[int, EpisodeGroups] = {}

    def add(file: h5py.File, number: int) -> None:
        groups.setdefault(0, EpisodeGroups(file)).add(f"e{number}", {}, columns[number], {})

    written(tmp_path / "a", len(columns), add)
    with h5py.File(tmp_path / "a") as file:
        assert [len(file[f"e{number}/actions"]) for number in (0, 999, 1498)] == [1, 1000, 1499]
