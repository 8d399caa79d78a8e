"""The steps of `idaq reproduce`: each looks for what an earlier run of the command has left, and goes on from there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idaq.adapt.jobs import AdaptJob
from idaq.adapt.results import Results, read_results
from idaq.adapt.run_job import RunJob
from idaq.adapt.training import TrainJob
from idaq.catalogue import suite
from idaq.catalogue.entries import Entry, catalogue_recipe
from idaq.catalogue.entry_card import write_entry_card
from idaq.catalogue.page import write_catalogue_page
from idaq.catalogue.suite_card import write_suite_card
from idaq.collect.collect import collect, episode_count
from idaq.core.config import to_mapping
from idaq.core.executors import ExecutorName
from idaq.core.files import write_json
from idaq.core.ids import dataset_path
from idaq.core.jobs import run_jobs
from idaq.core.registry import references_in
from idaq.core.types import ShowProgress, show_nothing
from idaq.evaluate.figures import adaptation_curves
from idaq.evaluate.protocol import Summary, summarise
from idaq.evaluate.style import save
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.recipe import Recipe

KEPT = "what is finished is kept, and of each training its last checkpoint: run the same command again to resume"


@dataclass(frozen=True, kw_only=True)
class Study:
    """Where a study keeps its runs, and where it writes what came out."""

    seeds: int
    """training seeds for each entry"""
    out: Path
    """run directories"""
    jobs: int
    """runs at the same time"""
    catalogue: Path
    root: Path
    """of the datasets"""
    settings: Sequence[str] = ()
    """changes to every recipe, key=value"""
    executor: ExecutorName = "joblib"
    recipes: Mapping[Entry, Recipe] = field(default_factory=dict)
    """of entries that are not the catalogue's"""
    progress: ShowProgress = show_nothing

    def run(self, entries: Sequence[Entry]) -> Iterator[tuple[Entry, Summary]]:
        """Collect, train, adapt and write; as many entries together as runs, so that no lane waits for the others."""
        chosen = list(dict.fromkeys(entries))
        for first in range(0, len(chosen), self.jobs):
            recipes = {entry: self._collect(entry) for entry in chosen[first : first + self.jobs]}
            for entry, results in self._run_all(recipes).items():
                summary = summarise(results, [f"idaq reproduce {self._named(entry)} --seeds {self.seeds}"])
                write_baselines(self.catalogue, entry, self.root, recipes[entry], summary)
                yield entry, summary

    def _named(self, entry: Entry) -> str:
        return "--recipe recipe.toml" if entry in self.recipes else str(entry)

    def _collect(self, entry: Entry) -> Recipe:
        """Collect the entry's dataset unless it is there; returns its recipe."""
        recipe = self.recipes.get(entry) or catalogue_recipe(entry.family, entry.quality, self.settings)
        with self.progress(f"collecting {recipe.id}", episode_count(recipe), "episodes") as advance:
            collect(recipe, self.root, workers=self.jobs, executor=self.executor, progress=advance)
        write_data(self.catalogue, entry, open_stored(dataset_path(recipe.id, self.root)), self.settings)
        return recipe

    def _run_all(self, recipes: dict[Entry, Recipe]) -> dict[Entry, list[Results]]:
        """Train and adapt every (entry, seed)."""
        jobs = {
            entry: [self._job(entry, recipe, seed) for seed in range(self.seeds)] for entry, recipe in recipes.items()
        }
        calls = {str(job.out): (job,) for of_entry in jobs.values() for job in of_entry}
        with self.progress(", ".join(map(str, recipes)), len(calls), "runs") as advance:
            for _ in run_jobs(RunJob.results, calls, workers=self.jobs, executor=self.executor, kept=KEPT):
                advance(1)
        return {entry: [read_results(job.out) for job in of_entry] for entry, of_entry in jobs.items() if of_entry}

    def _job(self, entry: Entry, recipe: Recipe, seed: int) -> RunJob:
        """One seed with the recipe's settings, whose code outside installed packages the user has named."""
        run = self.out / f"{str(entry).replace('/', '-')}-seed{seed}"
        allow = (recipe.family, *references_in([recipe.train, recipe.adapt]))
        settings = {**recipe.train, "seed": seed, "threads": 1}
        return RunJob(
            train=TrainJob(dataset=recipe.id, settings=settings, out=run, root=self.root, allow=allow),
            adapt=AdaptJob(run=run, out=run, settings=recipe.adapt, root=self.root, allow=allow),
            content_digest=open_stored(dataset_path(recipe.id, self.root)).manifest.content_digest,
        )


def write_data(catalogue: Path, entry: Entry, stored: StoredDataset, settings: Sequence[str]) -> None:
    """What the dataset holds: data.json, the catalogue's page, and the card."""
    folder = _folder(catalogue, entry)
    suite.put(folder / suite.DATA, suite.SuiteData, entry.name or entry.family, suite.describe(stored, settings))
    write_catalogue_page(catalogue)
    _write_card(folder, entry, stored.path)


def write_baselines(catalogue: Path, entry: Entry, root: Path, recipe: Recipe, summary: Summary) -> None:
    """baselines.json, card.md and, for an entry of its own, returns.png."""
    folder = _folder(catalogue, entry)
    if entry.name is not None:
        suite.put(folder / suite.BASELINES, suite.SuiteBaselines, entry.name, summary)
    else:
        write_json(folder / suite.BASELINES, to_mapping(summary))
        save(adaptation_curves(summary), folder / "returns.png")
    _write_card(folder, entry, dataset_path(recipe.id, root))


def _write_card(folder: Path, entry: Entry, dataset: Path) -> None:
    if entry.name is None:
        write_entry_card(folder, str(entry), dataset)
    else:
        write_suite_card(folder, f"idaq/{entry.suite}-*/{entry.quality}-v0")


def _folder(catalogue: Path, entry: Entry) -> Path:
    folder = catalogue / entry.suite / entry.quality
    folder.mkdir(parents=True, exist_ok=True)
    return folder
