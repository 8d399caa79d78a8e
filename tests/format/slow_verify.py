"""What `verify` says of a dataset whose documents are in order, found the slow way: each episode alone, all by HDF5."""

from pathlib import Path

from idaq.core.files import sha256_file
from idaq.format.columns import map_columns
from idaq.format.hdf5_walk import walk
from idaq.format.reader import open_stored
from idaq.format.spaces import read_leaves
from idaq.format.values import Checked, check_episode
from idaq.format.verify import _expected, _place, _stated_hash


def slow_verify(dataset: Path) -> list[str]:
    """Problems of values and of HDF5's structure, as `verify` words them. HDF5 is asked in this very process."""
    stored = open_stored(dataset)
    columns, tasks = map_columns(stored), {task.task_index: task for task in stored.tasks}
    checked = Checked(columns, read_leaves(stored.metadata, stored.manifest.columns, ""))
    numbers = range(len(stored.episodes))
    found = [
        f"{_place(stored, tasks, number)}: {what}"
        for number in numbers
        for what in check_episode(stored, checked, number)
    ]
    if sha256_file(stored.hdf5) != _stated_hash(stored):
        rest = "" if found else "; every episode's values are intact, so HDF5's own structure is damaged"
        return [*found, f"{stored.hdf5}: has another sha256 than the manifest says{rest}"]
    expected = [(number, _expected(stored, tasks, number)) for number in numbers]
    for number, what in walk(str(stored.hdf5), len(numbers), expected):
        found.append(f"{stored.hdf5 if number is None else _place(stored, tasks, number)}: {what}")
    return found
