"""Cutting, joining, relabelling, comparing and deleting datasets, as a user types it."""

import json
from pathlib import Path

import pytest

from idaq.format.writer import write_dataset
from tests.cli.conftest import SMALL, Idaq
from tests.share.everything import source_of, without_document

ID, MEDIUM = "idaq/point-robot/expert-v0", "idaq/point-robot/medium-v0"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idaq: Idaq) -> Path:
    """A root with an expert and a medium dataset of the same 8 tasks."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    for quality in ("expert", "medium"):
        assert idaq("collect", "point-robot", "--quality", quality, "--workers", "1", *SMALL).code == 0
    return tmp_path


def test_the_life_of_derived_datasets(idaq: Idaq, root: Path) -> None:
    few = "idaq/point-robot/few-v0"
    cut = json.loads(idaq("dataset", "subset", ID, few, "--split", "train", "--quantiles", "0.5:1", "--json").out)
    assert 6 <= cut["episodes"] < 18
    assert idaq("dataset", "verify", few).code == 0
    assert "subset: split train, quantiles 0.5:1" in (root / few / "README.md").read_text()

    joined = idaq("dataset", "merge", "idaq/point-robot/all-v0", ID, MEDIUM, few)
    assert joined.code == 0, joined.err
    assert "8 tasks, 48 episodes\n" in joined.out
    assert f"{few}: {cut['episodes']} episodes are left out: an earlier dataset has them" in joined.out
    assert idaq("dataset", "verify", "idaq/point-robot/all-v0").code == 0

    new = "idaq/point-robot/expert-v1"
    assert idaq("dataset", "relabel", ID, new, "--split", "test=:", "--behaviour", "expert=pro").code == 0
    shown = idaq("dataset", "diff", ID, new)
    assert shown.code == 1
    assert "behaviours: pro" in shown.out
    assert idaq("dataset", "diff", ID, ID).out == "both hold the same\n"

    assert idaq("dataset", "delete", new, "--yes").code == 0
    assert new not in idaq("dataset", "list").out
    assert idaq("dataset", "delete", new, "--yes").code == 1


def test_imported_goals_merge_as_the_user_says(idaq: Idaq, root: Path) -> None:
    both = ("dataset", "merge", "me/point/both-v0", "me/point/a-v0", "me/point/b-v0")
    for name in ("a", "b"):
        (root / name).mkdir()
        assert idaq("dataset", "export", ID if name == "a" else MEDIUM, root / name / "goals.npz").code == 0
        whose = ("--author", "Ada", "--license", "CC0-1.0") if name == "a" else ()
        goals = without_document(root / name / "goals.npz")
        assert idaq("dataset", "import", goals, "--id", f"me/point/{name}-v0", *whose).code == 0
    refused = idaq(*both)
    assert refused.code == 1
    assert "unknown parameters" in refused.err
    assert "--renumber" in refused.err
    strict = idaq(*both, "--renumber", "--strict")
    assert strict.code == 1
    assert "8 tasks get a new index or id" in strict.err
    assert idaq(*both, "--renumber", "--same-tasks").code == 2
    assert not (root / "me/point/both-v0").exists()
    done = json.loads(idaq(*both, "--renumber", "--json").out)
    assert (done["episodes"], done["duplicates"]) == (48, 0)
    assert "me/point/b-v0: authors unknown: the others alone are named" in done["notes"]
    assert "me/point/b-v0: licence unknown, hence of the whole (the rest: CC0-1.0)" in done["notes"]
    shown = idaq("dataset", "show", "me/point/both-v0").out
    assert "unknown" in shown
    assert "0%" not in shown
    assert idaq("dataset", "verify", "me/point/both-v0").code == 0
    new = ("dataset", "relabel", "me/point/b-v0", "me/point/b-v1", "--author", "Bob", "--license", "MIT")
    assert "note:" not in idaq(*new).out
    assert (root / "me/point/b-v1/README.md").read_text().startswith("---\nlicense: mit\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("subset", ID, "idaq/point-robot/x-v0"), "nothing is asked"),
        (("subset", ID, "idaq/point-robot/x-v0", "--quantiles", "high"), "LOW:HIGH"),
        (("subset", ID, "../x-v0", "--split", "train"), "not a dataset id"),
        (("subset", ID, "idaq/point-robot/x-v0", "--split", "tran"), "'train'"),
        (("merge", "idaq/point-robot/x-v0", ID), "two datasets"),
        (("relabel", ID, "idaq/point-robot/x-v0"), "nothing is to be relabelled"),
        (("relabel", ID, "idaq/point-robot/x-v0", "--split", "test"), "--split"),
    ],
)
def test_what_is_not_understood(idaq: Idaq, root: Path, arguments: tuple[str, ...], said: str) -> None:
    done = idaq("dataset", *arguments)
    assert done.code == 2
    assert said in done.err
    assert not (root / "idaq/point-robot/x-v0").exists()


def test_an_id_that_is_taken_is_refused(idaq: Idaq, root: Path) -> None:
    done = idaq("dataset", "subset", ID, MEDIUM, "--split", "train")
    assert done.code == 1
    assert "exists already" in done.err


def test_import_and_what_cannot_be(idaq: Idaq, root: Path) -> None:
    assert idaq("dataset", "export", ID, root / "all.npz").code == 0
    done = idaq("dataset", "import", root / "all.npz", "--id", "me/point/back-v0", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["notes"] == []
    assert (json.loads(done.out)["tasks"], json.loads(done.out)["episodes"]) == (8, 24)
    assert idaq("dataset", "import", f"minari:{ID}", f"minari:{MEDIUM}", "--id", "me/point/two-v0").code == 0
    assert idaq("dataset", "show", "me/point/two-v0").code == 0
    for source, said in [
        ("x.csv", "nothing that can be imported"),
        ("x.npz", "no file"),
        ("minari:me/no-v0", "no dataset"),
    ]:
        refused = idaq("dataset", "import", source, "--id", "me/point/x-v0")
        assert refused.code in (1, 2)
        assert said in refused.err


@pytest.mark.parametrize(
    "out", ["x.npz", "x.parquet", "x.zarr", "minari-per-task", "focal-npy", "focal-npy-objects", "lerobot", "ogbench"]
)
def test_export(idaq: Idaq, root: Path, out: str) -> None:
    to = () if out.startswith("x.") else ("--to", out)
    done = idaq("dataset", "export", ID, root / out, *to)
    assert done.code == 0, done.err
    assert "480 transitions of 24 episodes" in done.out
    assert (root / out).exists()
    again = idaq("dataset", "export", ID, root / out, *to)
    assert again.code == 1
    assert "exists" in again.err


def test_an_export_says_what_its_form_cannot_hold(idaq: Idaq, tmp_path: Path) -> None:
    made = write_dataset(source_of("dict"), tmp_path, "# everything\n")
    done = idaq("dataset", "export", made, tmp_path / "goals", "--to", "focal-npy")
    said = "belief and 6 more: 525 rows of the column are left out: this layout has s, a, r and s' alone"
    assert f"note: {said}" in " ".join(done.out.split())
    told = idaq("dataset", "export", made, tmp_path / "again", "--to", "focal-npy", "--json")
    assert json.loads(told.out)["notes"] == [said]


def test_zarr_there_and_back(idaq: Idaq, root: Path) -> None:
    assert idaq("dataset", "export", ID, root / "x.zarr").code == 0
    back = json.loads(idaq("dataset", "import", root / "x.zarr", "--root", root / "other", "--json").out)
    assert back["content_digest"] == json.loads(idaq("dataset", "show", ID, "--json").out)["content_digest"]


@pytest.mark.parametrize("arguments", [("plain",), ("s3://bucket/x.npz",), ("s3://bucket/x", "--to", "parquet")])
def test_exports_that_are_not_understood(idaq: Idaq, root: Path, arguments: tuple[str, ...]) -> None:
    assert idaq("dataset", "export", ID, *arguments).code == 2
