"""What a second reader and a second writer of the dataset format must do: all that FORMAT.md says, and no more."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minari import MinariDataset

from idaq.core.config import to_mapping
from idaq.core.digest import dataset_digest, episode_digest
from idaq.core.types import FIXED_COLUMNS, leaves_of
from idaq.format import layout
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of, write_dataset
from idaq.loader import open_dataset
from idaq.testing.comparing import assert_same_bits
from idaq.testing.damage import DAMAGES
from idaq.testing.examples import EXAMPLES


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a dataset holds, in plain types."""

    dataset_id: str
    tasks: Sequence[dict[str, Any]]
    """the lines of tasks.jsonl"""
    episodes: Sequence[EpisodeEntry]
    """in order, each with its columns in the dtype they are stored in"""


class FormatReaderContract:
    """Subclass it and give `read`."""

    def read(self, path: Path) -> Contents:
        """All that the dataset in a folder holds. Raises anything where it is not as the format has it."""
        raise NotImplementedError

    @pytest.fixture(params=EXAMPLES)
    def source(self, request: pytest.FixtureRequest) -> DatasetSource:
        """What the dataset was written of."""
        return EXAMPLES[request.param]()

    def test_it_reads_what_was_written(self, source: DatasetSource, tmp_path: Path) -> None:
        found = self.read(write_dataset(source, tmp_path, ""))
        assert found.dataset_id == source.recipe.id
        assert list(found.tasks) == [to_mapping(task) for task in source.tasks]
        assert_same_entries(found.episodes, list(source.entries))

    def test_below_another_root_and_under_another_card_it_is_the_same(self, tmp_path: Path) -> None:
        path = write_dataset(EXAMPLES["mixed"](), tmp_path / "root", "")
        moved = Path(shutil.copytree(path, tmp_path / "elsewhere" / path.relative_to(tmp_path / "root")))
        (moved / "README.md").write_text("another card: it is not hashed")
        assert_same_entries(self.read(moved).episodes, self.read(path).episodes)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_what_is_damaged_is_refused(self, tmp_path: Path, damage: str) -> None:
        path = write_dataset(EXAMPLES["mixed"](), tmp_path / "root", "")
        DAMAGES[damage](path)
        try:
            self.read(path)
        except Exception:
            return
        pytest.fail(f"{damage}, and it was read all the same")


class FormatWriterContract:
    """Subclass it and give `write`."""

    def write(self, source: DatasetSource, root: Path) -> Path:
        """Write a dataset below an empty root; returns its folder."""
        raise NotImplementedError

    @pytest.fixture(params=EXAMPLES)
    def source(self, request: pytest.FixtureRequest) -> DatasetSource:
        """What to write."""
        return EXAMPLES[request.param]()

    @pytest.fixture
    def written(self, source: DatasetSource, tmp_path: Path) -> Path:
        """The dataset that your writer made."""
        return self.write(source, tmp_path)

    def test_it_lies_below_the_root_under_its_id_and_nothing_else_does(
        self, source: DatasetSource, written: Path, tmp_path: Path
    ) -> None:
        assert written == tmp_path / source.recipe.id
        files = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
        names = (layout.METADATA, layout.MANIFEST, *layout.hashed_files(open_stored(written).manifest.columns))
        assert files - {layout.CARD} == {f"data/{name}" for name in names}

    def test_it_verifies(self, written: Path) -> None:
        assert verify(written) == []

    def test_it_is_read_as_it_was_meant(self, source: DatasetSource, written: Path) -> None:
        stored, dataset = open_stored(written), open_dataset(written)
        assert [to_mapping(task) for task in stored.tasks] == [to_mapping(task) for task in source.tasks]
        found = [entry_of(stored.episodes, number, episode) for number, episode in enumerate(dataset)]
        assert_same_entries(found, list(source.entries))
        assert stored.manifest.recipe == source.recipe

    def test_its_digest_is_that_of_its_values(self, source: DatasetSource, written: Path) -> None:
        digests = [episode_digest(e.episode, task_index=e.task_index, seed=e.seed) for e in source.entries]
        assert open_stored(written).manifest.content_digest == dataset_digest(digests)

    def test_plain_minari_reads_it(self, source: DatasetSource, written: Path) -> None:
        dataset, entries = MinariDataset(written / "data"), list(source.entries)
        assert dataset.id == source.recipe.id
        assert (dataset.observation_space, dataset.action_space) == (source.observation_space, source.action_space)
        tasks = {task.task_index: task for task in source.tasks}
        for episode, entry in zip(dataset.iterate_episodes(), entries, strict=True):
            found = minari_columns(episode)
            for name, column in entry.episode.columns.items():
                if name in found or not layout.is_extra(name):  # Minari reads no extra column but infos
                    assert_same_bits(np.asarray(found[name]), column)
        for stated, entry in zip(dataset.storage.get_episode_metadata(range(len(entries))), entries, strict=True):
            assert (stated["task_index"], stated["task_id"]) == (entry.task_index, tasks[entry.task_index].task_id)
            assert stated["options"]["task"] == layout.task_option(tasks[entry.task_index])
            assert (None if stated.get("seed") is None else int(stated["seed"])) == entry.seed


def minari_columns(episode: Any) -> dict[str, Any]:
    """The columns that plain Minari gives of an episode, by name."""
    flags = {name: getattr(episode, name) for name in FIXED_COLUMNS}
    return leaves_of(episode.observations) | flags | leaves_of(episode.infos or {}, layout.INFOS)


def assert_same_entries(found: Sequence[EpisodeEntry], expected: Sequence[EpisodeEntry]) -> None:
    """The same episodes to the bit, and the same said of each."""
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("task_index", "behaviour", "seed", "success", "history", "policy_step"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert_same_bits(ours.episode, theirs.episode)
