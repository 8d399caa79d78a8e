"""The catalogue's page says what its documents say, and how to make each dataset again."""

from dataclasses import replace
from pathlib import Path

from idaq.catalogue.entries import entries
from idaq.catalogue.page import CONFORMANCE, DIGESTS, catalogue_digests, catalogue_page, write_catalogue_page
from idaq.catalogue.suite import DATA, SuiteData, describe, put, read_suite
from idaq.collect.collect import Collected
from idaq.core.resources import resource_root
from idaq.format.reader import open_stored


def test_every_dataset_has_a_row_with_its_command(collected: Collected, tmp_path: Path) -> None:
    facts = describe(open_stored(collected.path), ["episodes=3"])
    for quality in ("expert", "medium"):
        (tmp_path / "point-robot" / quality).mkdir(parents=True)
        put(tmp_path / "point-robot" / quality / DATA, SuiteData, "point-robot", replace(facts, mean=-4.0, std=0.5))
    page = catalogue_page(tmp_path)
    assert page.count("| -4.00 ± 0.50 |") == 2
    assert "`idaq collect point-robot --set episodes=3`" in page
    assert "`idaq collect point-robot --quality medium --set episodes=3`" in page
    assert collected.content_digest[:12] in page
    (tmp_path / CONFORMANCE).write_text("## Who reads it\n")
    assert catalogue_page(tmp_path).endswith("## Who reads it\n")
    write_catalogue_page(tmp_path)
    line = f"{collected.content_digest}  idaq/point-robot/expert-v0\n"
    assert (tmp_path / DIGESTS).read_text() == 2 * line


def test_the_committed_page_is_that_of_the_committed_documents() -> None:
    folder = resource_root("datasets")
    assert (folder / "README.md").read_text(encoding="utf-8") == catalogue_page(folder)
    assert (folder / DIGESTS).read_text(encoding="utf-8") == catalogue_digests(folder)
    known = {str(entry) for entry in entries()}
    for path in folder.glob(f"*/*/{DATA}"):
        for facts in read_suite(SuiteData, path).sets.values():
            assert f"{facts.family}/{path.parent.name}" in known
