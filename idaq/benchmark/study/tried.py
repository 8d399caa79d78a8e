"""tried.json: what was tried and kept out, with its figures; filled by hand."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from idaq.core.config import config, from_mapping
from idaq.core.files import read_json

TRIED = "tried.json"


@config
class Try:
    """One thing that was tried."""

    what: str
    data: str
    """datasets, training and adaptation seeds"""
    split: str
    """of the tasks that it was judged on"""
    figures: str
    """what came out, beside what it was compared with"""
    command: str
    """what makes these figures again; empty where nothing that is kept does"""


@config
class Tried:
    """The document."""

    tried_version: Literal[1] = 1
    tried: list[Try] = Field(default_factory=list)


def read_tried(folder: Path) -> Tried:
    """tried.json of a study's folder, or an empty one. Raises ConfigError or CorruptDatasetError for a damaged one."""
    path = folder / TRIED
    return from_mapping(Tried, read_json(path), where=str(path)) if path.exists() else Tried()
