"""The tables of README and docs/measured.md are what the catalogue's documents say: change both, or neither."""

from pathlib import Path

import pytest

from idaq.catalogue.readme import PAGES, TABLES, main, with_tables
from idaq.core.errors import UsageError
from idaq.core.resources import resource_root

CHECKOUT = Path(__file__).parents[2]
README = CHECKOUT / "README.md"
CATALOGUE = resource_root("datasets")


@pytest.mark.parametrize("page", PAGES)
def test_every_table_is_of_the_committed_results(page: str) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    assert with_tables(text, CATALOGUE) == text, "python -m idaq.catalogue.readme writes them"
    for name in TABLES:
        assert text.count(f"<!-- table {name} -->") == 1


def test_best_of_prior_and_random_first_stand_in_every_table_of_results() -> None:
    for name in ("point-robots", "bodies", "ml1"):
        text = TABLES[name](CATALOGUE)
        assert "`best-of-prior`" in text
        assert "`random-first`" in text


def test_a_number_that_was_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| cheetah-vel/medium |"))
    page = tmp_path / "README.md"
    page.write_text(text.replace(row, "| cheetah-vel/medium | **0.00** |"), encoding="utf-8")
    main([str(page)])
    assert page.read_text(encoding="utf-8") == text


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(UsageError, match="no table 'nothing'"):
        with_tables("<!-- table nothing -->\n<!-- end -->", CATALOGUE)
