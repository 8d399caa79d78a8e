"""Out into every form and back: the same content digest, or the export says what the form cannot hold.

A new form is a row of FORMS.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from idaq.core.digest import dataset_digest, episode_digest
from idaq.format.layout import is_extra
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, write_dataset
from idaq.share.exporters import BUILT_IN, export
from idaq.share.importers import import_dataset
from tests.share.everything import SPACES, source_of


@dataclass(frozen=True, kw_only=True)
class Form:
    """Where an export goes, and what it takes to read it back."""

    out: str
    has_extras: bool = True
    is_pickle: bool = False
    notes_a_dict: bool = False
    """whether it says how it joins the parts of a Dict"""


FORMS = {
    "npz": Form(out="out.npz"),
    "parquet": Form(out="out.parquet"),
    "ogbench": Form(out="out.npz", notes_a_dict=True),
    "lerobot": Form(out="out"),
    "zarr": Form(out="out.zarr"),
    "focal-npy": Form(out="out", has_extras=False),
    "focal-npy-objects": Form(out="out", has_extras=False, is_pickle=True),
}
ONE_WAY = {"rlds": "needs TensorFlow Datasets, here and back", "minari-per-task": "several datasets"}
"""exporters whose form is not read back"""
_LAYOUT = "this layout has s, a, r and s' alone"


def without_extras(source: DatasetSource) -> DatasetSource:
    entries = [replace(entry, episode=replace(entry.episode, extras={})) for entry in source.entries]
    return replace(source, entries=entries, about={})


@pytest.fixture(scope="module", params=[*SPACES])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, StoredDataset]:
    root = tmp_path_factory.mktemp("root")
    return request.param, open_stored(write_dataset(source_of(request.param), root, "# everything\n"))


@pytest.fixture(scope="module")
def bare(written: tuple[str, StoredDataset], tmp_path_factory: pytest.TempPathFactory) -> StoredDataset:
    source = without_extras(source_of(written[0]))
    return open_stored(write_dataset(source, tmp_path_factory.mktemp("bare"), "# without extra columns\n"))


def back(stored: StoredDataset, form: str, folder: Path) -> tuple[StoredDataset, list[str], tuple[str, ...]]:
    """The dataset that comes back, and what was noted on the way out and on the way in."""
    its = FORMS[form]
    done = export(stored, folder / its.out, form)
    new_id = None if form == "zarr" else "me/made/back-v0"
    found = import_dataset([done.out], new_id, root=folder / "root", allow_pickle=its.is_pickle)
    return open_stored(found.path), done.notes, found.notes


def test_every_exporter_comes_back_or_says_why_not() -> None:
    assert FORMS.keys() | ONE_WAY.keys() == BUILT_IN.keys()


def test_the_hdf5_holds_what_was_written(written: tuple[str, StoredDataset]) -> None:
    name, stored = written
    assert verify(stored.path) == []
    digests = [
        episode_digest(entry.episode, task_index=entry.task_index, seed=entry.seed) for entry in source_of(name).entries
    ]
    assert stored.manifest.content_digest == dataset_digest(digests)


@pytest.mark.parametrize("form", [*FORMS])
def test_what_went_out_comes_back(
    form: str, written: tuple[str, StoredDataset], bare: StoredDataset, tmp_path: Path
) -> None:
    name, stored = written
    there = stored if FORMS[form].has_extras else bare
    again, said, told = back(there, form, tmp_path)
    assert again.manifest.content_digest == there.manifest.content_digest
    assert (again.manifest.columns, again.manifest.splits) == (there.manifest.columns, there.manifest.splits)
    assert [task.params for task in again.tasks] == [task.params for task in there.tasks]
    for column in ("behaviour", "history", "policy_step", "seed_known", "success", "success_known"):
        assert (getattr(again.episodes, column) == getattr(there.episodes, column)).all(), column
    for space in ("observation_space", "action_space", "env_spec"):
        assert again.metadata[space] == there.metadata[space]
    assert verify(again.path) == []
    renamed = [note for note in said if "means something else there" in note]
    assert len(said) - len(renamed) == (name == "dict" and FORMS[form].notes_a_dict)
    assert not told


@pytest.mark.parametrize("form", [name for name, form in FORMS.items() if not form.has_extras])
def test_what_a_form_cannot_hold_is_said_when_it_is_written(
    form: str, written: tuple[str, StoredDataset], bare: StoredDataset, tmp_path: Path
) -> None:
    _, stored = written
    extras = list(filter(is_extra, stored.manifest.columns))
    again, said, told = back(stored, form, tmp_path)
    steps = stored.manifest.counts.steps
    first, others = extras[0], len(extras) - 1
    assert said == [f"{first} and {others} more: {len(extras) * steps} rows of the column are left out: {_LAYOUT}"]
    assert any(f"has no place for: {', '.join(extras)[:20]}" in note for note in told)
    assert again.manifest.content_digest == bare.manifest.content_digest
