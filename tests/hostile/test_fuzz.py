"""Any document and any setting is read or refused with an error of ours, never another one.

`IDAQ_FUZZ=10000 pytest tests/hostile/test_fuzz.py -s --timeout 0` tries that many and prints how many were refused.
"""

import copy
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from idaq.adapt.results import read_results
from idaq.adapt.strategy import adaptation_plan
from idaq.catalogue.entries import load_recipe
from idaq.core.config import override
from idaq.core.errors import IdaqError
from idaq.core.resources import resource_root
from idaq.format.card import dataset_card
from idaq.format.reader import is_idaq_dataset, open_stored
from idaq.format.store import list_datasets
from idaq.format.verify import verify
from idaq.learn.config import training_config
from idaq.learn.run import read_run
from idaq.loader import open_dataset
from tests.evaluate.factory import make_results, make_run
from tests.format.sealing import reseal
from tests.hostile.kinds import STEER

RECIPE = resource_root("datasets") / "point-robot/expert/recipe.toml"
TRIES = int(os.environ.get("IDAQ_FUZZ", "500"))
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**30, 0.5, -0.0, 1e308,
    1e-320, "", "0", "NaN", STEER, "a/b-v0", "../x-v0", "x" * 5000, "\ud800", [], {}, [[]], [None], [1, "a"], {"a": 1},
    {"": {}}, [0] * 2000, [[[[[[]]]]]], {"type": "Box"}, '{"type": "Box"}', "1e999", "2024-01-01",
)  # fmt: skip


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in nested plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, item in inner for place in places(item, (*way, key)))]


def mutate(rng: random.Random, document: Any) -> Any:
    """One to three changes: another value, one key less, one more, or a value from elsewhere in the document."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        *parents, last = rng.choice(places(document)[1:] or [("a",)])
        node = document
        for key in parents:
            node = node[key]
        change = rng.randrange(4)
        if change == 0 and isinstance(node, dict):
            node.pop(last, None)
        elif change == 1 and isinstance(node, dict):
            node[rng.choice(["", "more", STEER, "id"])] = rng.choice(ODD)
        else:
            node[last] = copy.deepcopy(rng.choice(ODD))
        if not (isinstance(document, (dict, list)) and document):
            break
    return document


def garble(rng: random.Random, content: bytes) -> bytes:
    """Bytes cut, doubled, dropped or replaced."""
    start, stop = sorted(rng.choices(range(len(content) + 1), k=2))
    piece = rng.choice(
        [b"", b"\xff", b"\0", b"[" * 3000, b"9" * 5000, content[start:stop], "\u202e".encode(), b"1e999"]
    )
    return content[:start] + piece + content[start if rng.random() < 0.5 else stop :]


@pytest.fixture
def world(made: Path, made_root: Path, tmp_path: Path) -> Path:
    """A root with a dataset, a run and a recipe, which the tries alter one at a time."""
    shutil.copytree(made, tmp_path / made.relative_to(made_root))
    make_run(tmp_path / "run", make_results(tasks=2, seeds=1))
    shutil.copy(RECIPE, tmp_path / "recipe.toml")
    return tmp_path


def use_dataset(root: Path) -> None:
    """All that reads a dataset; verify never raises, and what it calls valid opens."""
    path = root / "idaq/made/tagged-v0"
    list_datasets(root)
    found = verify(path)
    try:
        if is_idaq_dataset(path):
            dataset_card(open_stored(path))
            open_dataset(path)
    except IdaqError:
        assert found
        raise


def use_run(root: Path) -> None:
    read_run(root / "run")
    read_results(root / "run")


def use_recipe(root: Path) -> None:
    load_recipe(root / "recipe.toml")


DOCUMENTS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("idaq/made/tagged-v0/data/metadata.json", use_dataset),
    ("idaq/made/tagged-v0/data/idaq/manifest.json", use_dataset),
    ("idaq/made/tagged-v0/data/idaq/tasks.jsonl", use_dataset),
    ("idaq/made/tagged-v0/data/idaq/episodes.parquet", use_dataset),
    ("run/run.json", use_run),
    ("run/results.json", use_run),
    ("recipe.toml", use_recipe),
)


def hurt(rng: random.Random, path: Path, content: bytes) -> None:
    """Write an altered document; hashes that state it are made true where that can be done."""
    if path.suffix == ".json" and rng.random() < 0.7:
        path.write_bytes(json.dumps(mutate(rng, json.loads(content))).encode())
    elif path.suffix == ".jsonl" and rng.random() < 0.7:
        lines = mutate(rng, [json.loads(line) for line in content.splitlines()])
        path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode())
    else:
        path.write_bytes(garble(rng, content))


def test_no_document_leads_to_an_error_that_is_not_ours(world: Path) -> None:
    rng, refused = random.Random(0), 0
    sound = {name: (world / name).read_bytes() for name, _ in DOCUMENTS}
    for number in range(TRIES // 2):
        name, use = DOCUMENTS[number % len(DOCUMENTS)]
        hurt(rng, world / name, sound[name])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(Exception):  # the kit cannot seal what is no document any more
                reseal(world / "idaq/made/tagged-v0")
            try:
                use(world)
            except IdaqError:
                refused += 1
        for other, content in sound.items():
            (world / other).write_bytes(content)
    print(f"{TRIES // 2} documents, {refused} refused, 0 other errors")
    assert refused > TRIES // 8


KEYS = (
    "seed", "steps", "learner", "learner.hidden", "behaviours", "behaviours.0", "behaviours.expert.noise", "id",
    "splits.sizes", "splits.sizes.train", "train", "train.a.b", "episodes", "report_at", "", ".", "a..b", STEER,
)  # fmt: skip
VALUES = (
    "{a = " * 100, "9" * 5000, "1e999", "nan", "-inf", "2024-01-01", "0x" + "f" * 4000, '"""', "1\nb = 2", "\ud800",
    "x" * 100_000,
)  # fmt: skip


def setting(rng: random.Random) -> str:
    odd = rng.choice(ODD)
    values = (json.dumps(odd, ensure_ascii=False), str(odd), "[" * rng.randint(1, 3000), *VALUES)
    key = rng.choice(KEYS) if rng.random() < 0.9 else ".".join(rng.choices(["a", "0", "id"], k=rng.randint(1, 5000)))
    return f"{key}{rng.choice(['=', '=', '=', '= ', ''])}{rng.choice(values)}"


def test_no_setting_leads_to_an_error_that_is_not_ours() -> None:
    rng, refused = random.Random(1), 0
    for _ in range(TRIES // 2):
        settings = [setting(rng) for _ in range(rng.randint(1, 3))]
        for take in (
            lambda settings: load_recipe(RECIPE, settings),
            lambda settings: training_config(override({}, settings)),
            lambda settings: adaptation_plan(None, override({}, settings)),
        ):
            try:
                take(settings)
            except IdaqError:
                refused += 1
    print(f"{TRIES // 2} lists of settings, {refused} of {TRIES // 2 * 3} refused, 0 other errors")
    assert refused > TRIES // 2
