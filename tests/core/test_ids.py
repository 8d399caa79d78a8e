import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from idaq.core.errors import UsageError
from idaq.core.ids import DatasetId, dataset_path, datasets_root, parse_id

HOSTILE = [
    "",
    "expert-v0",
    "point/expert",
    "../point/expert-v0",
    "a/../b-v0",
    "a/./b-v0",
    "/etc/passwd-v0",
    "//a/b-v0",
    "a//b-v0",
    "a/b-v0/",
    "a/b-v0\n",
    "\na/b-v0",
    "a/b\0-v0",
    "a\\b/c-v0",
    "~/a-v0",
    ".idaq/a-v0",
    "a/.b-v0",
    "-a/b-v0",
    "a/-b-v0",
    "a-/b-v0",
    "ü/b-v0",
    "a/b-v\uff10",
    "a/b-v٣",
    "a/b-v01",
    "a/b-v1000000",
    "a/b-v-1",
    "a/b-v",
    "a/b.c-v0",
    "a b/c-v0",
    "a/" * 9 + "b-v0",
    "a/" + "b" * 65 + "-v0",
    "a" * 65 + "/b-v0",
    "a" * 100_000,
    "/".join(["a" * 64, "b" * 64, "c" * 64, "ddd-v10"]),
    "data/b-v0",
    "a/data/b-v0",
    "a/expert-v0/b-v0",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_id_is_refused_with_the_form_of_a_good_one(text: str) -> None:
    with pytest.raises(UsageError, match="is not a dataset id") as caught:
        parse_id(text)
    assert "ids look like idaq/point-robot/expert-v0" in str(caught.value)
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a/b-v0", DatasetId(namespace="a", name="b", version=0)),
        ("idaq/point-robot/expert-v12", DatasetId(namespace="idaq/point-robot", name="expert", version=12)),
        ("a_b/C-d_e-v3", DatasetId(namespace="a_b", name="C-d_e", version=3)),
        ("a/b-v1-v2", DatasetId(namespace="a", name="b-v1", version=2)),
        ("a/data-v2", DatasetId(namespace="a", name="data", version=2)),
        ("a" * 64 + "/" + "b" * 64 + "-v999999", DatasetId(namespace="a" * 64, name="b" * 64, version=999_999)),
    ],
)
def test_a_good_id_is_parsed_and_printed_back(text: str, parsed: DatasetId) -> None:
    assert parse_id(text) == parsed
    assert str(parsed) == text


parts = ["a", "Z", "9", "-", "_", "/", "/", ".", "..", "~", "\\", "\0", "\n", " ", "ü", "-v0", "-v0", "data"]


@example("a/b-v0")
@given(st.lists(st.sampled_from(parts), max_size=8).map("".join) | st.text())
def test_any_text_is_an_id_below_the_root_or_is_refused(text: str) -> None:
    try:
        path = dataset_path(text, "/shelf")
    except UsageError:
        return
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to("/shelf")
    assert len(path.parts) >= 4
    assert text == str(parse_id(text)) == path.relative_to("/shelf").as_posix()
    assert "data" not in path.parts


def test_the_root_is_the_one_given_else_that_of_the_environment_else_minaris(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/from/environment")
    assert datasets_root("/given") == Path("/given")
    assert datasets_root() == Path("/from/environment")
    assert dataset_path("a/b-v0") == Path("/from/environment/a/b-v0")
    monkeypatch.setenv("HOME", "/home/someone")
    assert datasets_root("~/sets") == Path("/home/someone/sets")
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    assert datasets_root() == Path("/home/someone/.minari/datasets")
