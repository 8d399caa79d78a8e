"""Every kind of hostile HDF5 is refused in words or harmless, in little time and memory, whatever libhdf5 does."""

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.format import layout
from idaq.format.guarded import call_guarded, require_readable
from idaq.share.importers.minari import read_minari
from tests.format.hostile_hdf5 import KINDS
from tests.format.sealing import alter_document, reseal
from tests.format.test_one_verdict import check

HARMLESS = {
    "root with an attribute",
    "bytes after the end",
    "B-tree that is its own sibling",
    "header of 65,535 messages",
}
"""what HDF5 reads as if nothing were"""
SECONDS, MEGABYTES = 2.0, 500


def processor_time() -> float:
    """Of this process and of the children it has waited for."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def test_there_are_many_kinds() -> None:
    assert len(KINDS) >= 100


@pytest.fixture
def measured() -> Iterator[None]:
    """Under two seconds of processor time; no child larger than 500 MB, unless an earlier one was.

    A child counts as large as this process was when it was forked.
    """
    before, largest = processor_time(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    yield
    assert processor_time() - before < SECONDS
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak in (largest, own) or peak < max(MEGABYTES * 1024, own)


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_hdf5_is_refused_or_harmless(damaged: Path, kind: str) -> None:
    path = damaged / "data" / layout.HDF5
    before = path.read_bytes()
    KINDS[kind](path)
    assert path.read_bytes() != before
    reseal(damaged)
    assert check(damaged) == (kind in HARMLESS)


LOOPS = ["heap with endless free blocks", "compressed bomb", "B-tree of 32**6 leaves", "column of 2**50 rows"]


@pytest.mark.parametrize("kind", LOOPS)
def test_an_import_of_hostile_hdf5_ends_in_words(damaged: Path, kind: str) -> None:
    """As another maker's dataset: nothing but Minari's reader would look at it."""
    KINDS[kind](damaged / "data" / layout.HDF5)
    alter_document(damaged / "data" / layout.METADATA, lambda metadata: metadata.pop("idaq"))
    with pytest.raises(DatasetError):
        read_minari(damaged)


@pytest.mark.parametrize(("name", "text"), [("none.hdf5", "it is no file"), ("text.hdf5", "reading it failed")])
def test_what_is_no_hdf5_is_refused_before_hdf5_reads_it_here(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(CorruptDatasetError, match=text):
        require_readable(tmp_path / name)


def test_sound_hdf5_of_any_kind_of_links_and_types_is_read(damaged: Path) -> None:
    path = damaged / "data" / layout.HDF5
    before = path.read_bytes()
    for kind in ("group that holds the root", "column of text", "column of nothing", "external column", "user block"):
        KINDS[kind](path)
        require_readable(path)
        path.write_bytes(before)


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("idaq.format.hdf5_walk:none", [], "reading it failed"),
        ("os:system", ["true"], "reading it failed"),
    ],
)
def test_a_guarded_call_ends_in_words(function: str, arguments: list[str], text: str) -> None:
    start = time.monotonic()
    with pytest.raises(CorruptDatasetError, match=text):
        call_guarded(function, *arguments, seconds=0.5, megabytes=100, where="file")
    assert time.monotonic() - start < 30
