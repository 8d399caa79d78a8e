"""What an explorer's page holds, read without a browser."""

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.types import Floats


def index_of(file: Path) -> dict[str, Any]:
    """The index that the page's script reads."""
    return json.loads(_block(file.read_text(encoding="utf-8"), "index"))


def curves_in(file: Path) -> list[int]:
    """The episodes that the page can draw."""
    return [int(number) for number in re.findall(r'id="curves-(\d+)"', file.read_text(encoding="utf-8"))]


def numbers_of(file: Path, episode: int) -> Floats:
    """The numbers of an episode, flat: courses of observations, of actions, and rewards."""
    deflated = base64.b64decode(_block(file.read_text(encoding="utf-8"), f"curves-{episode}"))
    by_weight = np.frombuffer(zlib.decompress(deflated), np.uint8).reshape(4, -1)
    return by_weight.T.copy().view("<f4").ravel()


def _block(text: str, name: str) -> str:
    found = re.search(rf'<script [^>]*id="{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None, name
    return found[1]
