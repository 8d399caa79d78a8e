"""Our reader and writer, and a reader and a writer written after FORMAT.md alone, pass the exported suites."""

from pathlib import Path

from minari.serialization import serialize_space

from idaq.core.config import to_mapping
from idaq.core.types import Episode
from idaq.format.reader import open_stored
from idaq.format.verify import check_valid
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of, write_dataset
from idaq.loader import open_dataset
from idaq.testing import Contents, FormatReaderContract, FormatWriterContract
from tests.format import second_reader, second_writer


class TestReader(FormatReaderContract):
    def read(self, path: Path) -> Contents:
        check_valid(path, "it is damaged")
        stored, dataset = open_stored(path), open_dataset(path)
        return Contents(
            dataset_id=dataset.dataset_id,
            tasks=[to_mapping(task) for task in stored.tasks],
            episodes=[entry_of(stored.episodes, number, episode) for number, episode in enumerate(dataset)],
        )


class TestSecondReader(FormatReaderContract):
    def read(self, path: Path) -> Contents:
        name, tasks, rows = second_reader.read(path)
        entries = [
            EpisodeEntry(
                episode=Episode.from_columns(row["columns"]),
                **{key: row[key] for key in second_writer.TOLD},
            )
            for row in rows
        ]
        return Contents(dataset_id=name, tasks=tasks, episodes=entries)


class TestWriter(FormatWriterContract):
    def write(self, source: DatasetSource, root: Path) -> Path:
        return write_dataset(source, root, "# made by hand\n")


class TestSecondWriter(FormatWriterContract):
    def write(self, source: DatasetSource, root: Path) -> Path:
        minari = {
            "observation_space": serialize_space(source.observation_space),
            "action_space": serialize_space(source.action_space),
            **({} if source.env_spec_json is None else {"env_spec": source.env_spec_json}),
        }
        episodes = [
            {"columns": entry.episode.columns} | {key: getattr(entry, key) for key in second_writer.TOLD}
            for entry in source.entries
        ]
        tasks = [to_mapping(task) for task in source.tasks]
        about = {name: to_mapping(said) for name, said in source.about.items()}
        second_writer.write(root / source.recipe.id, to_mapping(source.recipe), tasks, episodes, minari, about)
        return root / source.recipe.id
