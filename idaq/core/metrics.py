"""metrics.jsonl: what happened along a training, one line of JSON at a step."""

import json
from pathlib import Path

from idaq.core.files import parse_json, write_text
from idaq.core.reading import LARGEST_TABLE, read_document

METRICS = "metrics.jsonl"


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
