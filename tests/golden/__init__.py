"""Datasets of format 1 as they were written once: every later version reads them, and plain Minari does.

`python -m tests.golden` writes those that are missing; what is there is never written again once 0.1.0 is released.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from idaq.collect.collect import collect
from idaq.format.writer import write_dataset
from idaq.testing.examples import EXAMPLES
from tests.recipes import small_recipe

FOLDER = Path(__file__).parent
TINY = ("splits.sizes.train=2", "splits.sizes.test=1", "reference.random_episodes=2")
COLLECTED = {
    "dark-room": ("dark-room", "histories"),
    "dark-room-pixels": ("dark-room-pixels", "expert"),
    "point-robot": ("point-robot", "mixed"),
}
"""family and quality of the small ones that are collected"""


def golden_id(name: str) -> str:
    """Of the golden dataset of an example or a family."""
    return f"idaq/golden/{name.replace(' ', '-')}-v0"


def golden_path(name: str) -> Path:
    """Its folder."""
    return FOLDER / golden_id(name)


def _of_example(name: str) -> None:
    source = EXAMPLES[name]()
    write_dataset(replace(source, recipe=replace(source.recipe, id=golden_id(name))), FOLDER, f"# {name}\n")


def _of_family(name: str) -> None:
    more = ['compress=["observations"]'] if "pixels" in name else []
    collect(small_recipe(*COLLECTED[name], *TINY, "episodes=4", *more, f"id={golden_id(name)}"), FOLDER)


WRITERS: dict[str, Callable[[str], None]] = dict.fromkeys(EXAMPLES, _of_example) | dict.fromkeys(COLLECTED, _of_family)
"""by name"""


def write_missing() -> list[str]:
    """Write the golden datasets that are not there; returns their names."""
    missing = [name for name in WRITERS if not golden_path(name).exists()]
    for name in missing:
        WRITERS[name](name)
    return missing
