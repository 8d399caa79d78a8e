"""Markdown tables, and what stands in their cells."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned. Cells stay cells, whatever is in them."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    lines = [[_cell(text) for text in head], rule, *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def percent(share: float | None) -> str:
    """A share as people read it; `unknown` for None."""
    return "unknown" if share is None else f"{share:.0%}"


def _cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
