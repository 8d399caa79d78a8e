"""Try every kind of the table on copies of a valid world, in a process that may not take more than 500 MB on top.

Prints one line of JSON a kind: its name, the word expected, what came (refused, harmless or a traceback), CPU seconds.
"""

import json
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from idaq.adapt.results import read_results
from idaq.adapt.strategy import adaptation_plan
from idaq.adapt.trace import read_trace
from idaq.catalogue.entries import catalogue_recipe, load_recipe
from idaq.core.config import override
from idaq.core.errors import CorruptDatasetError, DatasetError, IdaqError
from idaq.core.resources import resource_root
from idaq.format.card import dataset_card, read_card
from idaq.format.reader import open_stored
from idaq.format.store import find_dataset, list_datasets
from idaq.format.verify import verify
from idaq.hub.lookup import list_remote, look_up, open_remote
from idaq.hub.pull import pull
from idaq.hub.push import push
from idaq.learn.checkpoint import load_agent
from idaq.learn.config import training_config
from idaq.learn.run import read_run
from idaq.loader import open_dataset
from tests.hostile import kinds

MEMORY, PATIENCE = 500 << 20, 30
GOOD, BAD = "idaq/made/second-v0", "idaq/made/tagged-v0"


def try_listing(root: Path) -> None:
    """The other dataset is listed and found; the hostile one is skipped with a warning, or listed."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = [listing.dataset_id for listing in list_datasets(root)]
        with open_remote(f"file://{root}") as remote:
            there = [listing.dataset_id for listing in list_remote(remote)]
    assert found in ([GOOD], [GOOD, BAD]), found
    assert GOOD in there, there
    open_stored(find_dataset(GOOD, root))
    if told:
        raise DatasetError(" ".join(str(warning.message) for warning in told))


def try_dataset(root: Path) -> None:
    """Verify finds what opening refuses, and what verify calls valid opens and is pushed."""
    found = verify(root / BAD)
    try:
        stored = open_stored(root / BAD)
        dataset_card(stored)
        read_card(root / BAD)
        open_dataset(root / BAD)
        with open_remote(f"file://{root}/hub") as remote:
            push(root / BAD, remote)
    except DatasetError:
        if not found:
            raise AssertionError("verify calls valid what cannot be used") from None
    if found:
        raise CorruptDatasetError("; ".join(map(str, found)))


def try_run(root: Path) -> None:
    """All that is read of a run directory."""
    run = root / "run"
    read_run(run)
    read_results(run)
    read_trace(run)
    load_agent(run)


def try_hub(root: Path) -> None:
    """Listing skips it, and nothing of it is pulled."""
    with open_remote(f"file://{root}") as remote:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = [listing.dataset_id for listing in list_remote(remote)]
        try:
            pull(look_up(remote, BAD), root / "pulled")
        except IdaqError as error:
            refused = error
    if GOOD not in found or list((root / "pulled").glob("idaq/**/metadata.json")):
        raise AssertionError(found)
    raise DatasetError(" ".join([refused.message, *(str(warning.message) for warning in told)]))


def try_setting(setting: str) -> None:
    """Every configuration that takes settings; the last refusal counts."""
    refused: IdaqError | None = None
    for take in (
        lambda: catalogue_recipe("point-robot", "expert", [setting, setting]),
        lambda: training_config(override({}, [setting, setting])),
        lambda: adaptation_plan(None, override({}, [setting, setting])),
    ):
        try:
            take()
        except IdaqError as error:
            refused = error
    if refused is not None:
        assert len(str(refused)) < 2000, len(str(refused))
        raise refused


def outcome(name: str, expected: str | None, action: Callable[[], None]) -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    started = time.process_time()
    signal.alarm(PATIENCE)
    try:
        action()
        came = ""
    except IdaqError as error:
        came = f"refused: {error.message}"
    except BaseException:
        came = f"TRACEBACK {traceback.format_exc()[-1500:]}"
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    seconds = time.process_time() - started
    print(json.dumps({"kind": name, "expected": expected, "came": came[:3000], "seconds": seconds}), flush=True)


def main(world: Path, scratch: Path) -> None:
    shutil.copy(resource_root("datasets") / "point-robot/expert/recipe.toml", world / "recipe.toml")
    tables: list[tuple[kinds.Kinds, str, Callable[[Path], None]]] = [
        (kinds.LISTING, BAD, try_listing),
        (kinds.DATASET, BAD, try_dataset),
        (kinds.RUN, "run", try_run),
        (kinds.RECIPE, ".", lambda root: load_recipe(root / "recipe.toml") and None),
        (kinds.HUB, BAD, try_hub),
    ]
    for table, place, action in tables:
        for number, (name, (hurt, expected)) in enumerate(table.items()):
            root = Path(shutil.copytree(world, scratch / f"{action.__name__}{number}"))
            hurt(root / place)
            outcome(name, expected, lambda root=root, action=action: action(root))
            shutil.rmtree(root)
    for name, setting in kinds.SETTINGS.items():
        outcome(f"setting: {name}", None, lambda setting=setting: try_setting(setting))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
