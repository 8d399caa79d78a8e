"""The study's files in a checkout: its page, its figures, and the tables that other pages take over.

Such a table stands between `<!-- study SUITE -->` and `<!-- end -->`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idaq.benchmark.study.figures import curves, curves_about, forest, forest_about
from idaq.benchmark.study.page import study_page
from idaq.benchmark.study.suites import SUITES, Suite, load_suite
from idaq.benchmark.study.tables import headline_table, low_sets, published_tables
from idaq.benchmark.study.tried import read_tried
from idaq.core.config import read_toml
from idaq.core.errors import unknown_name
from idaq.core.files import read_json, write_text
from idaq.evaluate.style import standalone

PAGE, FIGURES = "docs/study.md", "docs/study"
PAGES = ("README.md", "docs/measured.md")
"""that may take over tables"""
_MARKED = re.compile(r"(<!-- study (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load_study(catalogue: Path) -> list[Suite]:
    """Every suite, as the catalogue's folder has it. Raises as `load_suite` does."""
    return [load_suite(catalogue / "study", name) for name in SUITES]


def page_of(suites: Sequence[Suite], catalogue: Path) -> str:
    """The page, with what the catalogue knows of sets and of published results."""
    published = read_toml(catalogue / "ml1" / "published.toml")
    diagnosis: Mapping[str, Any] = read_json(catalogue / "study" / "diagnosis.json")
    of_ml1 = [suite for suite in suites if suite.matrix.name in ("ml1", "ml1-held")]
    more = {
        one.matrix.name: (low_sets(one, diagnosis.get(one.matrix.name, {})), published_tables(one, published))
        for one in of_ml1
    }
    return study_page(suites, read_tried(catalogue / "study"), more)


def figures_of(suite: Suite) -> dict[str, str]:
    """The figures of a suite, as SVG by file name; none of a suite without results."""
    drawn = {"forest": (forest(suite), forest_about(suite)), "curves": (curves(suite), curves_about(suite))}
    whole = {kind: (figure, about) for kind, (figure, about) in drawn.items() if figure}
    return {f"{suite.matrix.name}-{kind}.svg": standalone(*one) for kind, one in whole.items()}


def with_study(text: str, suites: Sequence[Suite]) -> str:
    """`text` with every marked table as the results have it. Raises UnknownNameError for a suite that there is not."""
    tables = {suite.matrix.name: headline_table(suite) for suite in suites}

    def fill(found: re.Match[str]) -> str:
        if found[2] not in tables:
            raise unknown_name("suite", found[2], tables)
        return found[1] + tables[found[2]] + found[3]

    return _MARKED.sub(fill, text)


def write_study(catalogue: Path, checkout: Path) -> None:
    """Write the page, its figures and the tables of other pages."""
    suites = load_study(catalogue)
    write_text(checkout / PAGE, page_of(suites, catalogue))
    (checkout / FIGURES).mkdir(exist_ok=True)
    for suite in suites:
        for name, svg in figures_of(suite).items():
            write_text(checkout / FIGURES / name, svg)
    for path in (checkout / page for page in PAGES):
        write_text(path, with_study(path.read_text(encoding="utf-8"), suites))
