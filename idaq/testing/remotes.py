"""What every Remote must do: hold datasets, give any range of their bytes, and never show half of one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from idaq.core.errors import (
    CorruptDatasetError,
    DatasetExistsError,
    DatasetNotFoundError,
    ShareError,
    TransferError,
)
from idaq.core.files import sha256_file
from idaq.core.types import ignore_progress
from idaq.format import layout
from idaq.format.published import with_configs
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.hub.lookup import look_up
from idaq.hub.pull import pull
from idaq.hub.push import push
from idaq.hub.remote import METADATA_PATH, Remote, Upload, hide_credentials
from idaq.hub.tasks import pull_tasks
from idaq.testing.examples import PLANS, entries_of, example_recipe, example_source

ID, DEEPER = "idaq/examples/tagged-v0", "idaq/examples/more/nested-v12"
DATA = f"{ID}/data/{layout.HDF5}"


class ReadOnlyRemoteContract:
    """Subclass it for a place that cannot be pushed to: give `remote` and `publish`."""

    @pytest.fixture
    def remote(self) -> Iterator[Remote]:
        """A remote that is open, of a place that is empty; closed when the test is done."""
        raise NotImplementedError

    def publish(self, dataset: Path, remote: Remote) -> None:
        """Put the dataset in a folder to where `remote` reads from."""
        raise NotImplementedError

    def interrupt(self, remote: Remote) -> None:
        """Let the next read of main_data.hdf5 fail as a network does. Optional."""
        pytest.skip("this remote's suite does not say how a read may fail")

    @pytest.fixture(autouse=True)
    def retry_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No waiting between tries."""
        monkeypatch.setattr("idaq.hub.fetch.PAUSES", (0.01, 0.01))

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        """A dataset to publish."""
        return write_dataset(example_source(), tmp_path / "here", with_configs("# tagged values\n"))

    @pytest.fixture
    def published(self, remote: Remote, dataset: Path) -> Remote:
        """The hub, with the dataset on it."""
        self.publish(dataset, remote)
        return remote

    def test_it_is_named_without_secrets_and_says_how_to_log_in(self, remote: Remote) -> None:
        assert remote.url == hide_credentials(remote.url)
        assert remote.login

    def test_what_was_published_is_listed_and_found(self, published: Remote, dataset: Path) -> None:
        assert published.dataset_ids() == [ID]
        assert look_up(published, ID).manifest == open_stored(dataset).manifest

    def test_sizes_are_those_of_the_files_and_none_for_what_is_not_there(
        self, published: Remote, dataset: Path
    ) -> None:
        for file in _files(dataset):
            assert published.size(file.path) == file.size
        for missing in (f"{ID}/data/none", f"{ID}/none/none", f"idaq/examples/none-v0/{METADATA_PATH}"):
            assert published.size(missing) is None

    @pytest.mark.parametrize("ends", [(0, 1.0), (0, 0.001), (0.5, 0.501), (0.999, 1.0), (0.1, 0.9)])
    def test_a_range_is_exactly_the_bytes_asked_for(
        self, published: Remote, dataset: Path, ends: tuple[float, float]
    ) -> None:
        content = (dataset / "data" / layout.HDF5).read_bytes()
        start, stop = (int(end * len(content)) for end in ends)
        assert b"".join(published.read(DATA, start, stop)) == content[start:stop]

    def test_what_is_not_there_is_refused_and_never_short(self, published: Remote, dataset: Path) -> None:
        size = (dataset / "data" / layout.HDF5).stat().st_size
        for path, start, stop in [(f"{ID}/data/none", 0, 1), (DATA, size - 1, size + 1), (DATA, size, size + 1)]:
            with pytest.raises(ShareError):
                list(published.read(path, start, stop))

    def test_several_threads_may_ask_at_once(self, published: Remote, dataset: Path) -> None:
        content = (dataset / "data" / layout.HDF5).read_bytes()
        starts = range(0, len(content) - 64, len(content) // 20)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda start: b"".join(published.read(DATA, start, start + 64)), starts))
        assert found == [content[start : start + 64] for start in starts]

    def test_a_dataset_comes_whole(self, published: Remote, dataset: Path, tmp_path: Path) -> None:
        done = pull(look_up(published, ID), tmp_path / "there")
        assert verify(done.path) == []
        for file in _files(dataset):
            assert (tmp_path / "there" / file.path).read_bytes() == file.source.read_bytes()

    def test_some_tasks_come_alone(self, published: Remote, tmp_path: Path) -> None:
        done = pull_tasks(look_up(published, ID), range(5, 9), tmp_path / "there")
        assert verify(done.path) == []
        assert [task.task_index for task in open_stored(done.path).tasks] == [5]

    def test_a_read_that_breaks_is_told_as_one_to_retry(self, published: Remote, dataset: Path) -> None:
        content = (dataset / "data" / layout.HDF5).read_bytes()
        self.interrupt(published)
        came: list[bytes] = []
        with pytest.raises(TransferError) as caught:
            came.extend(published.read(DATA, 0, len(content)))
        assert caught.value.hint
        assert content.startswith(b"".join(came))
        assert b"".join(published.read(DATA, 0, len(content))) == content

    def test_a_pull_survives_a_read_that_breaks(self, published: Remote, tmp_path: Path) -> None:
        found = look_up(published, ID)
        self.interrupt(published)
        assert verify(pull(found, tmp_path / "there").path) == []

    def test_it_may_be_closed_again(self, remote: Remote) -> None:
        remote.close()
        remote.close()


class RemoteContract(ReadOnlyRemoteContract):
    """Subclass it for a place that can be pushed to: give `remote`."""

    def publish(self, dataset: Path, remote: Remote) -> None:
        push(dataset, remote)

    def test_an_empty_place_lists_nothing(self, remote: Remote) -> None:
        assert remote.dataset_ids() == []
        with pytest.raises(DatasetNotFoundError):
            look_up(remote, ID)

    def test_datasets_stand_side_by_side(self, published: Remote, tmp_path: Path) -> None:
        second = write_dataset(example_source(recipe=example_recipe(DEEPER)), tmp_path / "second", "# second\n")
        push(second, published)
        assert sorted(published.dataset_ids()) == sorted([DEEPER, ID])
        for name in (ID, DEEPER):
            assert verify(pull(look_up(published, name), tmp_path / "there").path) == []

    def test_what_is_there_is_not_sent_again_and_never_overwritten(
        self, published: Remote, dataset: Path, tmp_path: Path
    ) -> None:
        assert push(dataset, published).existed
        other = write_dataset(example_source(entries_of(PLANS[:5])), tmp_path / "other", "# other\n")
        with pytest.raises(DatasetExistsError):
            push(other, published)
        assert look_up(published, ID).manifest == open_stored(dataset).manifest

    def test_an_interrupted_upload_shows_nothing_and_the_same_one_completes_it(
        self, remote: Remote, dataset: Path, tmp_path: Path
    ) -> None:
        def stop(_bytes: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            remote.upload(ID, _files(dataset), stop)
        assert remote.dataset_ids() == []
        with pytest.raises(DatasetNotFoundError):
            look_up(remote, ID)
        assert not push(dataset, remote).existed
        assert verify(pull(look_up(remote, ID), tmp_path / "there").path) == []

    def test_progress_counts_every_byte_sent_or_there_already(self, remote: Remote, dataset: Path) -> None:
        for _ in range(2):
            counted: list[int] = []
            remote.upload(ID, _files(dataset), counted.append)
            assert sum(counted) == sum(file.size for file in _files(dataset))

    @pytest.mark.parametrize("damage", ["cut short", "one byte changed", "under another id"])
    def test_what_is_damaged_there_is_never_taken_for_the_dataset(
        self, remote: Remote, dataset: Path, tmp_path: Path, damage: str
    ) -> None:
        files, name = _files(dataset), ID
        data = next(file for file in files if file.path == DATA)
        content = data.source.read_bytes()
        if damage == "cut short":
            data.source.write_bytes(content[: len(content) // 2])
        elif damage == "one byte changed":
            data.source.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
        else:
            files, name = [replace(file, path=file.path.replace(ID, DEEPER)) for file in files], DEEPER
        remote.upload(name, [_upload(file.source, file.path) for file in files], ignore_progress)
        with pytest.raises(CorruptDatasetError):
            pull(look_up(remote, name), tmp_path / "there")
        assert not (tmp_path / "there" / name).exists()

    def test_a_push_may_be_alone(self, remote: Remote) -> None:
        for _ in range(2):
            with remote.alone(ID), remote.alone(DEEPER):
                pass


def _files(dataset: Path) -> list[Upload]:
    """All files of a dataset as a push sends them: metadata.json last."""
    names = [*(f"data/{name}" for name in (*layout.hashed_files({}), layout.MANIFEST)), METADATA_PATH]
    return [_upload(dataset / name, f"{ID}/{name}") for name in (layout.CARD, *names)]


def _upload(source: Path, path: str) -> Upload:
    return Upload(source=source, path=path, size=source.stat().st_size, sha256=sha256_file(source))
