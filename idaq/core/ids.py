"""Dataset ids: `namespace/family/name-vN`, and the folders they stand for. Ids are hostile until parsed."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idaq.core.errors import UsageError

_SEGMENT = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?"
_LONGEST = 200
"""characters; a lock has the whole id in its file's name, which has 255 at most"""
_VERSION = r"0|[1-9][0-9]{0,5}"
_PATTERN = re.compile(
    rf"(?P<namespace>{_SEGMENT}(?:/{_SEGMENT}){{0,7}})/(?P<name>{_SEGMENT}?)-v(?P<version>{_VERSION})"
)


SCHEMA: dict[str, Any] = {
    "pattern": rf"^{_SEGMENT}(?:/{_SEGMENT}){{0,7}}/(?:{_SEGMENT})?-v(?:{_VERSION})$",
    "not": {"pattern": "(?:^|/)(?:data|[^/]*-v[0-9]+)/"},
    "maxLength": _LONGEST,
}
"""what JSON Schema says of an id"""


@dataclass(frozen=True, kw_only=True)
class DatasetId:
    """A parsed id; `str()` gives it back."""

    namespace: str
    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}-v{self.version}"


def parse_id(text: str) -> DatasetId:
    """Parse `namespace/family/name-vN`. Raises UsageError for anything else: no dots, no `..`, no absolute paths."""
    match = _PATTERN.fullmatch(text)
    # A folder that holds data/ is a dataset to every reader, and a dataset holds no other dataset.
    parts = match["namespace"].split("/") if match else ()
    if match is None or len(text) > _LONGEST or any(re.fullmatch(r"data|.*-v[0-9]+", part) for part in parts):
        raise UsageError(
            f"{text[:200]!r} is not a dataset id",
            hint="ids look like idaq/point-robot/expert-v0: letters, digits, - and _, a namespace (no part of it data "
            f"or ending in -v and a number), and -v with a number; {_LONGEST} characters at most",
        )
    return DatasetId(namespace=match["namespace"], name=match["name"], version=int(match["version"]))


def datasets_root(root: str | Path | None = None) -> Path:
    """Where datasets live: `root`, else $MINARI_DATASETS_PATH, else Minari's own default."""
    chosen = root or os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets"
    return Path(chosen).expanduser()


def dataset_path(dataset_id: str, root: str | Path | None = None) -> Path:
    """The folder of a dataset id, always inside the root."""
    return datasets_root(root) / str(parse_id(dataset_id))
