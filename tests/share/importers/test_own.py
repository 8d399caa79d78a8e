"""What we export comes back: every space, extra columns and histories, to the digest, or it is told what is missing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from idaq.core.errors import CorruptDatasetError, DatasetError, UsageError
from idaq.format.reader import open_stored
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.share.exporters import export
from idaq.share.importers import Imported, import_dataset
from idaq.share.importers.own import read_own
from idaq.testing.examples import EXAMPLES
from tests.share.everything import SPACES, source_of

WHOLE = {"npz": "x.npz", "ogbench": "x.npz", "parquet": "x.parquet", "lerobot": "x"}
"""forms that hold all of it"""


def exported(root: Path, space: str, form: str, name: str) -> Path:
    path = write_dataset(source_of(space), root, "# card\n")
    export(path, root / name, form)
    return root / name


def imported(source: Path, root: Path, **options: Any) -> Imported:
    done = import_dataset([source], "me/back/again-v0", root=root / "back", **options)
    assert verify(done.path) == []
    return done


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("space", SPACES)
def test_all_of_it_comes_back(form: str, space: str, tmp_path: Path) -> None:
    source = exported(tmp_path, space, form, WHOLE[form])
    there, back = open_stored(tmp_path / "idaq/made/everything-v0"), open_stored(imported(source, tmp_path).path)
    assert back.manifest.content_digest == there.manifest.content_digest
    assert back.manifest.columns == there.manifest.columns
    assert back.manifest.splits == there.manifest.splits
    assert [t.task_id for t in back.tasks] == [t.task_id for t in there.tasks]
    for name in ("behaviour", "seed_known", "success", "success_known", "history", "policy_step"):
        assert getattr(back.episodes, name).tolist() == getattr(there.episodes, name).tolist(), name
    for name in ("observation_space", "action_space", "env_spec"):
        assert back.metadata.get(name) == there.metadata.get(name)
    assert list(back.manifest.provenance.notes) == []


@pytest.mark.parametrize("form", [*WHOLE, "focal-npy"])
def test_what_was_compressed_is_compressed_again(form: str, tmp_path: Path) -> None:
    pictures = EXAMPLES["pictures"]()
    packed = replace(pictures, recipe=replace(pictures.recipe, compress=["observations", "actions"]))
    path = write_dataset(packed, tmp_path, "")
    export(path, tmp_path / WHOLE.get(form, "goals"), form)
    back = open_stored(imported(tmp_path / WHOLE.get(form, "goals"), tmp_path).path)
    assert back.manifest.columns == open_stored(path).manifest.columns
    assert back.chunks.keys() == {"observations", "actions"}


@pytest.mark.parametrize("form", ["focal-npy", "focal-npy-objects"])
def test_a_form_without_a_place_for_extra_columns_says_so(form: str, tmp_path: Path) -> None:
    source = (
        exported(tmp_path, "box", form, "goals")
        if "box" in SPACES
        else exported(tmp_path, next(iter(SPACES)), form, "goals")
    )
    if form.endswith("objects"):
        with pytest.raises(DatasetError, match="is a pickle"):
            imported(source, tmp_path)
    done = imported(source, tmp_path, allow_pickle=True)
    there, back = open_stored(tmp_path / "idaq/made/everything-v0"), open_stored(done.path)
    assert back.episodes.seed.tolist() == there.episodes.seed.tolist()
    assert any("columns that this form has no place for: belief, expert_action" in note for note in done.notes)


def test_numbers_that_were_changed_since_are_told(tmp_path: Path) -> None:
    source = exported(tmp_path, next(iter(SPACES)), "npz", "x.npz")
    with np.load(source) as archive:
        arrays = dict(archive)
    arrays["rewards"][0] += 1
    np.savez(source, **arrays)
    done = imported(source, tmp_path)
    assert any("as it was exported: numbers were changed since, or ends" in note for note in done.notes)


def test_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    source = exported(tmp_path, next(iter(SPACES)), "parquet", "x.parquet")
    table = pq.read_table(source)
    order = np.arange(len(table))
    step = int(np.flatnonzero(np.diff(table["episode"].to_numpy()) == 0)[0])
    order[[step, step + 1]] = [step + 1, step]
    pq.write_table(table.take(pa.array(order)), source)
    with pytest.raises(CorruptDatasetError, match=r"is not .* of the row after: rows were changed, left out, or are"):
        read_own(source)


@pytest.mark.parametrize("changed", [{"tasks": 3}, {"manifest": {}}, {"names": {"actions": []}}, {"metadata": None}])
def test_documents_that_are_none_are_refused_in_words(changed: dict[str, Any], tmp_path: Path) -> None:
    source = exported(tmp_path, next(iter(SPACES)), "lerobot", "x")
    document = json.loads((source / "meta/idaq.json").read_text())
    (source / "meta/idaq.json").write_text(json.dumps(document | changed))
    with pytest.raises(CorruptDatasetError):
        read_own(source)


def test_what_is_no_export_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is nothing that idaq dataset export wrote"):
        read_own(tmp_path)
