"""metrics.csv: one row a logged step, one column a metric, for spreadsheets and pandas."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idaq.core.files import write_text

CSV = "metrics.csv"


class CsvLogger:
    """Appends a row a step; a metric that was not there before becomes a new column, empty in the rows above."""

    def __init__(self, run: Path, config: Mapping[str, Any], first: int) -> None:
        self._path = run / CSV
        self._rows: list[dict[str, str]] = []
        if self._path.exists():
            with self._path.open(encoding="utf-8", errors="replace", newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if _is_before(row, first)]
        self._columns = list(self._rows[0]) if self._rows else ["step"]
        self._write()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One row."""
        row = {"step": str(step), **{name: repr(value) for name, value in values.items()}}
        self._rows.append(row)
        new = [name for name in row if name not in self._columns]
        if new:
            self._columns += new
            self._write()
            return
        with self._path.open("a", encoding="utf-8", newline="") as file:
            self._writer(file).writerow(row)

    def close(self) -> None:
        """Every row is written when it is logged."""

    def _writer(self, file: io.TextIOBase) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns, lineterminator="\n")

    def _write(self) -> None:
        text = io.StringIO()
        writer = self._writer(text)
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, text.getvalue())


def _is_before(row: Mapping[str | None, Any], first: int) -> bool:
    """Whether a row is whole and of a step before `first`."""
    step = row.get("step")
    return isinstance(step, str) and step.isdecimal() and int(step) < first and None not in (*row, *row.values())
