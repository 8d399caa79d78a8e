"""metrics.jsonl: what happened along a training, one line of JSON at a step."""

import json
from pathlib import Path

from idaq.core.files import parse_json, write_text
from idaq.core.reading import LARGEST_TABLE, read_document

METRICS = "metrics.jsonl"
_TAIL = 1 << 16
"""bytes that hold at least one line"""


def truncate_metrics(out: Path, step: int) -> None:
    """Keep the lines before `step`: what a resumed run will not write again."""
    path = out / METRICS
    kept = list[str]()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            if json.loads(line)["step"] < step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            break  # torn by a kill; nothing whole follows it
    write_text(path, "".join(kept))


def append_metrics(out: Path, step: int, values: dict[str, float]) -> None:
    """One line of JSON. Raises ValueError for a value that is not finite."""
    with (out / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")


def read_metrics(out: Path) -> list[dict[str, int | float]]:
    """All lines of metrics.jsonl. Raises CorruptDatasetError for a file or line that cannot be read."""
    text = read_document(out / METRICS, LARGEST_TABLE).decode("utf-8", errors="replace")
    return [parse_json(line, str(out / METRICS)) for line in text.splitlines()]


def steps_logged(out: Path) -> int:
    """Steps that metrics.jsonl tells of, from its end alone; 0 without one. Another process may be writing it."""
    try:
        with (out / METRICS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            lines = file.read().split(b"\n")[:-1]  # what follows the last line's end is being written
        return int(json.loads(lines[-1])["step"]) + 1
    except (OSError, IndexError, ValueError, KeyError, TypeError):
        return 0
