"""Any order of collect, subset, merge, relabel, delete, push and pull does what it does to a twin in memory.

`IDAQ_FUZZ=2000 pytest tests/test_state_machine.py --timeout 0` tries that many orders.
"""

import functools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from idaq.collect.collect import collect
from idaq.core.errors import DatasetExistsError, DatasetNotFoundError, UsageError
from idaq.core.types import Advance
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.merge import merged
from idaq.format.reader import Identity, StoredDataset, identity_of, open_stored
from idaq.format.recipe import Recipe
from idaq.format.store import delete_dataset, find_dataset, list_datasets
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.hub.lookup import list_remote, look_up, open_remote
from idaq.hub.pull import pull
from idaq.hub.push import push
from idaq.hub.tasks import pull_tasks
from idaq.testing.examples import EXAMPLES
from tests.recipes import small_recipe
from tests.twin import Refused, Row, Twin, columns_of, joined, rows_of

ORDERS = int(os.environ.get("IDAQ_FUZZ", "30"))
NAMES = [f"idaq/twin/{name}-v0" for name in ("a", "b", "deeper/c", "d", "e", "f", "g", "h")]
TAKEN = st.sampled_from([False, False, False, True])
"""whether the name of what is made has been given already"""
ONE = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 3, None])
"""which of the datasets that there are; None for one that there is not"""
RECIPES = {
    "expert": ("point-robot", "expert"),
    "other seed": ("point-robot", "expert", "seed=101"),
    "mixed": ("point-robot", "mixed"),
    "wind": ("point-robot-wind", "expert"),
}
ONCE = tempfile.TemporaryDirectory()
ALIKE = ["expert", "other seed", "mixed"]
TINY = ("episodes=1", "splits.sizes.train=2", "splits.sizes.test=1", "reference.random_episodes=2")


def recipe_of(name: str, dataset_id: str) -> Recipe:
    family, quality, *more = RECIPES[name]
    return small_recipe(family, quality, *TINY, *more, f"id={dataset_id}")


@functools.cache
def collected(name: str) -> tuple[StoredDataset, Twin]:
    """What a recipe gives, whatever the dataset is called."""
    if name not in RECIPES:
        recipe = replace(EXAMPLES[name]().recipe, id=f"idaq/once/{name}-v0")
        path = write_dataset(replace(EXAMPLES[name](), recipe=recipe), Path(ONCE.name), "")
    else:
        path = collect(recipe_of(name, f"idaq/once/{name.replace(' ', '-')}-v0"), Path(ONCE.name)).path
    stored = open_stored(path)
    twin = Twin(
        family=stored.manifest.family,
        columns=columns_of(stored),
        rows=rows_of(stored),
        splits={task.task_index: task.split for task in stored.tasks},
        behaviours={b.name: replace(b, name="any", episodes=1) for b in stored.manifest.recipe.behaviours},
        recipe=name,
    )
    return stored, twin


@contextmanager
def stopping(after: int, _label: str, _total: int, unit: str) -> Iterator[Advance]:
    """A progress display that ends the command at the `after`-th report of bytes, as Ctrl-C would."""
    reports = 0

    def advance(_count: int) -> None:
        nonlocal reports
        reports += unit == "bytes"
        if unit == "bytes" and reports == after:
            raise KeyboardInterrupt

    yield advance


class Datasets(RuleBasedStateMachine):
    """A root and a hub beside what they must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root, self.hub = self.folder / "root", self.folder / "hub"
        self.hub.mkdir()
        self.here: dict[str, Twin] = {}
        self.there: dict[str, Twin] = {}
        self.checked: dict[Path, tuple[Identity | None, Twin]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(recipes=st.permutations(ALIKE))
    def begin_with_three(self, recipes: list[str]) -> None:
        """As edited copies, which take less time than collections; the first is on the hub alone."""
        for name, recipe in zip(NAMES, recipes, strict=False):
            stored, twin = collected(recipe)
            self.put(subset(stored, name, np.ones(len(stored.episodes), bool), "all"))
            self.here[name] = replace(twin, recipe=None)
        self.push(0)
        self.delete(0)

    # -- what is done --------------------------------------------------------------------------------------------------

    @rule(taken=TAKEN, recipe=st.sampled_from(list(RECIPES)))
    def collect(self, taken: bool, recipe: str) -> None:
        name = self.name(taken)

        def twin() -> Twin:
            if name in self.here and self.here[name].recipe != recipe:
                raise Refused(DatasetExistsError)
            return collected(recipe)[1]

        self.agree(self.here, name, twin, lambda: collect(recipe_of(recipe, name), self.root))

    @rule(taken=TAKEN, example=st.sampled_from(["discrete", "dictionary"]))
    def write(self, taken: bool, example: str) -> None:
        """A dataset of other spaces, with extra columns or learning histories."""
        name, (stored, twin) = self.name(taken), collected(example)
        everything = np.ones(len(stored.episodes), bool)
        self.agree(
            self.here,
            name,
            lambda: self.fresh(name, replace(twin, recipe=None)),
            lambda: self.put(subset(stored, name, everything, "all")),
        )

    @rule(one=ONE, taken=TAKEN, task=st.integers(0, 2), better=st.booleans())
    def subset(self, one: int | None, taken: bool, task: int, better: bool) -> None:
        """All tasks but one, or of every task what is at least as good as the median of all."""
        name, new = self.pick(self.here, one), self.name(taken)

        def twin() -> Twin:
            wanted = self.condition(self.known(name), task, better)
            return self.fresh(new, self.known(name).keep(wanted))

        def real() -> None:
            stored = self.stored(name)
            wanted = self.condition(self.known(name), task, better)
            self.put(subset(stored, new, np.array([wanted(row) for row in rows_of(stored)]), "subset"))

        self.agree(self.here, new, twin, real)

    @rule(some=st.lists(ONE, min_size=2, max_size=3), taken=TAKEN)
    def merge(self, some: list[int | None], taken: bool) -> None:
        names, new = [self.pick(self.here, one) for one in some], self.name(taken)
        self.agree(
            self.here,
            new,
            lambda: self.fresh(new, joined([self.known(name) for name in names])),
            lambda: self.put(merged([self.stored(name) for name in names], new)[0]),
        )

    @rule(
        one=ONE, taken=TAKEN, task=st.integers(0, 2), behaviour=st.sampled_from(["expert"] * 4 + ["random", "nobody"])
    )
    def relabel(self, one: int | None, taken: bool, task: int, behaviour: str) -> None:
        """One task goes to another split, one behaviour gets another name."""
        name, new = self.pick(self.here, one), self.name(taken)

        def twin() -> Twin:
            known = self.known(name)
            if behaviour not in known.behaviours or "renamed" in known.behaviours:
                raise Refused(UsageError)
            renamed = lambda old: "renamed" if old == behaviour else old  # noqa: E731
            return self.fresh(
                new,
                replace(
                    known,
                    rows=tuple(replace(row, behaviour=renamed(row.behaviour)) for row in known.rows),
                    splits=known.splits | {self.task(known, task): "held-out"},
                    behaviours={renamed(old): made for old, made in known.behaviours.items()},
                    recipe=None,
                ),
            )

        def real() -> None:
            stored = self.stored(name)
            index = self.task(self.known(name), task)
            self.put(relabelled(stored, new, Labels(splits={"held-out": [index]}, behaviours={behaviour: "renamed"})))

        self.agree(self.here, new, twin, real)

    @rule(one=ONE)
    def delete(self, one: int | None) -> None:
        name = self.pick(self.here, one)
        if name in self.here:
            delete_dataset(find_dataset(name, self.root), self.root)
            del self.here[name]
        else:
            with pytest.raises(DatasetNotFoundError):
                find_dataset(name, self.root)

    @rule(one=ONE)
    def push(self, one: int | None) -> None:
        name = self.pick(self.here, one)
        self.agree(self.there, name, lambda: self.moved(name, self.known(name), self.there), lambda: self.send(name))

    @rule(one=ONE)
    def pull(self, one: int | None) -> None:
        name = self.pick(self.there, one)
        self.agree(self.here, name, lambda: self.moved(name, self.on_hub(name), self.here), lambda: self.fetch(name))

    @rule(one=ONE, taken=TAKEN, task=st.integers(0, 2))
    def pull_one_task(self, one: int | None, taken: bool, task: int) -> None:
        name, new = self.pick(self.there, one), self.name(taken)

        def twin() -> Twin:
            index = self.task(self.on_hub(name), task)
            return self.moved(new, self.on_hub(name).keep(lambda row: row.task == index), self.here)

        def real() -> None:
            with open_remote(f"file://{self.hub}") as remote:
                found = look_up(remote, name)
                index = self.task(self.on_hub(name), task)
                pull_tasks(found, range(index, index + 1), self.root, new)

        self.agree(self.here, new, twin, real)

    @rule(one=ONE, taken=TAKEN, after=st.integers(0, 3))
    def interrupted_subset(self, one: int | None, taken: bool, after: int) -> None:
        name, new = self.pick(self.here, one), self.name(taken)
        if name not in self.here or new in self.here:
            return

        def broken(entries: Iterator[EpisodeEntry]) -> Iterator[EpisodeEntry]:
            for _, entry in zip(range(after), entries, strict=False):
                yield entry
            raise KeyboardInterrupt

        stored = self.stored(name)
        source = subset(stored, new, np.ones(len(stored.episodes), bool), "subset")
        with pytest.raises(KeyboardInterrupt):
            self.put(replace(source, entries=broken(iter(source.entries))))

    @rule(one=ONE, after=st.integers(1, 5))
    def interrupted_push(self, one: int | None, after: int) -> None:
        name = self.pick(self.here, one)
        if name in self.here and name not in self.there:
            with pytest.raises(KeyboardInterrupt):
                self.send(name, after)

    @rule(one=ONE, after=st.integers(1, 4))
    def interrupted_pull(self, one: int | None, after: int) -> None:
        name = self.pick(self.there, one)
        if name in self.there and name not in self.here:
            with pytest.raises(KeyboardInterrupt):
                self.fetch(name, after)

    # -- what must be so -----------------------------------------------------------------------------------------------

    @invariant()
    def the_root_and_the_hub_hold_what_their_twins_do(self) -> None:
        for root, twins in ((self.root, self.here), (self.hub, self.there)):
            with warnings.catch_warnings():
                warnings.simplefilter("error" if root == self.root else "ignore")  # an interrupted push is skipped
                listings = list_datasets(root)
            assert [listing.dataset_id for listing in listings] == sorted(twins)
            assert sum(".idaq" not in path.parts for path in root.rglob("metadata.json")) == len(twins)
            for listing in listings:
                self.check(listing.path, twins[listing.dataset_id])
        with open_remote(f"file://{self.hub}") as remote:
            assert [listing.dataset_id for listing in list_remote(remote)] == sorted(self.there)

    def check(self, path: Path, twin: Twin) -> None:
        """It verifies, and holds what its twin does; once for each file that takes its name."""
        seen = identity_of(path / "data/main_data.hdf5"), twin
        if self.checked.get(path) == seen:
            return
        assert verify(path) == []
        stored = open_stored(path)
        assert (rows_of(stored), columns_of(stored)) == (twin.rows, twin.columns)
        assert {task.task_index: task.split for task in stored.tasks} == twin.splits
        assert {b.name for b in stored.manifest.recipe.behaviours} == set(twin.behaviours)
        assert (stored.manifest.family, stored.manifest.content_digest) == (twin.family, twin.digest)
        self.checked[path] = seen

    # -- help ----------------------------------------------------------------------------------------------------------

    def agree(self, place: dict[str, Twin], name: str, twin: Callable[[], Twin], real: Callable[[], object]) -> None:
        """Do it to the twin, then to the real thing: both give the same, or refuse it."""
        try:
            expected = twin()
        except Refused as refused:
            with pytest.raises(refused.kind):
                real()
            return
        real()
        place[name] = expected

    def pick(self, place: dict[str, Twin], one: int | None) -> str:
        return "idaq/twin/none-v0" if one is None or not place else sorted(place)[one % len(place)]

    def name(self, taken: bool) -> str:
        """The name of what is to be made: a fresh one while there are any, unless it shall be taken."""
        return next((name for name in NAMES if (name in self.here) == taken), NAMES[0])

    def known(self, name: str) -> Twin:
        if name not in self.here:
            raise Refused(DatasetNotFoundError)
        return self.here[name]

    def on_hub(self, name: str) -> Twin:
        if name not in self.there:
            raise Refused(DatasetNotFoundError)
        return self.there[name]

    def fresh(self, name: str, twin: Twin) -> Twin:
        """An edit never takes the place of a dataset."""
        if name in self.here:
            raise Refused(DatasetExistsError)
        return twin

    def moved(self, name: str, twin: Twin, place: dict[str, Twin]) -> Twin:
        """What is there already with this content stays as it is; what is there with another is never replaced."""
        if name not in place:
            return twin
        if place[name].digest != twin.digest:
            raise Refused(DatasetExistsError)
        return place[name]

    def task(self, twin: Twin, position: int) -> int:
        return sorted(twin.splits)[position % len(twin.splits)]

    def condition(self, twin: Twin, task: int, better: bool) -> Callable[[Row], bool]:
        median, left_out = sorted(row.total for row in twin.rows)[len(twin.rows) // 2], self.task(twin, task)
        return lambda row: row.total >= median if better else row.task != left_out

    def stored(self, name: str) -> StoredDataset:
        return open_stored(find_dataset(name, self.root))

    def put(self, source: DatasetSource) -> None:
        write_dataset(source, self.root, "# a card\n")

    def send(self, name: str, after: int = 0) -> None:
        with open_remote(f"file://{self.hub}") as remote:
            push(find_dataset(name, self.root), remote, functools.partial(stopping, after))

    def fetch(self, name: str, after: int = 0) -> None:
        with open_remote(f"file://{self.hub}") as remote:
            pull(look_up(remote, name), self.root, functools.partial(stopping, after))


TestDatasets = Datasets.TestCase
TestDatasets.settings = settings(max_examples=ORDERS, stateful_step_count=15)
