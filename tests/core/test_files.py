import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.files import inside, parse_json, read_json, replacing, sha256_file, write_json, write_text


def test_a_file_is_replaced_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    for text in ("old", "new ü"):
        write_text(tmp_path / "a.txt", text)
    assert (tmp_path / "a.txt").read_bytes() == "new ü".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_whoever_reads_while_a_file_is_replaced_sees_the_old_content_or_the_new(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with (tmp_path / "a.txt").open() as reader:
        write_text(tmp_path / "a.txt", "new")
        assert reader.read() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_write_that_fails_midway_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    (tmp_path / f".a.txt.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("value", [float("nan"), {"a": [1.0, float("inf")]}, object()])
def test_what_is_not_json_is_never_written(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert path.read_text() == "old"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_json_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1e999}', "1e999 is too large for a number"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "a key stands twice in one object"),
        ('{"a": 1', "Expecting"),
        ("", "Expecting value"),
        ("[" * 100_000, "nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "Exceeds the limit"),
        (f'{{"a": {2**64}}}', "18446744073709551616 is too large for a number"),
        ("[" * 65 + "]" * 65, "nested more than 64 levels deep"),
        ('{"a":' * 64 + "[[]]" + "}" * 64, "nested more than 64 levels deep"),
        ("[" + "[]," * 1_000_000 + "0]", "more than 1000000 lists and objects"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        (r'{"\uDFFF": 1}', "surrogates not allowed"),
    ],
)
def test_what_json_forbids_is_refused_with_the_name_of_the_document(text: str, problem: str) -> None:
    with pytest.raises(CorruptDatasetError, match=r"^doc\.json line 3 is not valid JSON: ") as caught:
        parse_json(text, "doc.json line 3")
    assert problem in caught.value.message


def test_an_unreadable_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b'"\xff"')
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(CorruptDatasetError, match=r"none\.json is missing"):
        read_json(tmp_path / "none.json")
    with pytest.raises(CorruptDatasetError, match=r"bytes\.json cannot be read: .*0xff"):
        read_json(tmp_path / "bytes.json")
    with pytest.raises(CorruptDatasetError, match=r"folder\.json cannot be read: .*directory"):
        read_json(tmp_path / "folder.json")


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with links in it: one that stays inside, two that leave, one that runs in a circle."""
    base = tmp_path_factory.mktemp("links")
    (base / "root" / "real").mkdir(parents=True)
    (base / "root-beside").mkdir()
    (base / "root" / "stays").symlink_to("real")
    (base / "root" / "leaves").symlink_to(base)
    (base / "root" / "beside").symlink_to(base / "root-beside")
    (base / "root" / "circle").symlink_to("circle")
    return base / "root"


HOSTILE = [
    "",
    ".",
    "..",
    "../a",
    "a/../../b",
    "a/..",
    "/etc/passwd",
    "//a",
    "a\0b",
    "a\nb",
    "a\n",
    "\\a",
    "..\\a",
    "\ud800",
]


@pytest.mark.parametrize("relative", [*HOSTILE, "a/" * 300 + "b", "ü" * 200, "\u202egnp.exe"])
def test_a_hostile_path_of_a_document_is_refused(root: Path, relative: str) -> None:
    with pytest.raises(DatasetError, match="is not a path inside"):
        inside(root, relative)


@pytest.mark.parametrize("relative", ["leaves", "leaves/other", "beside/a", "stays/../leaves"])
def test_a_path_through_a_link_that_leaves_the_root_is_refused(root: Path, relative: str) -> None:
    with pytest.raises(DatasetError, match=r"leads out of .* through a link|is not a path inside"):
        inside(root, relative)


@pytest.mark.parametrize("relative", ["a", "real/a.txt", "stays/a", "ü/a b", "a/./b", "circle/a", "..a", "a..b/c."])
def test_a_path_that_stays_inside_is_joined_to_the_root(root: Path, relative: str) -> None:
    assert inside(root, relative) == root / relative


parts = ["a", "/", "..", ".", "\\", "\0", "\n", "leaves", "stays", "circle", "beside", "\ud800"]


@given(st.lists(st.sampled_from(parts)).map("".join))
def test_any_path_ends_inside_the_root_or_is_refused(root: Path, relative: str) -> None:
    try:
        path = inside(root, relative)
    except DatasetError:
        return
    assert os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


def test_readable_json_ends_in_a_newline_and_keeps_its_letters(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ü": 1})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "ü": 1\n}\n'
    assert json.loads(text) == {"ü": 1}


def test_a_replaced_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    with replacing(tmp_path / "replaced") as temporary:
        os.close(os.open(temporary, os.O_CREAT, mode=0o600))
    assert (tmp_path / "replaced").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
