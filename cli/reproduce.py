"""idaq reproduce"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import UsageError

from .output import Json, Root, print_json, print_table, progress

if TYPE_CHECKING:
    from idaq.adapt.results import Results
    from idaq.evaluate.protocol import Summary

EXPERTS = ["point-robot/expert", "point-robot-sparse/expert", "point-robot-wind/expert"]


def reproduce(
    entries: Annotated[list[str], typer.Argument(help="Catalogue entries, family/quality.")] = EXPERTS,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds for each entry.")] = 6,
    out: Annotated[Path, typer.Option(help="Folder of run directories; finished ones are not run again.")] = Path(
        "runs/reproduce"
    ),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one CPU thread each.")] = 2,
    catalogue: Annotated[Path | None, typer.Option(help="Where to write. [default: the installed catalogue]")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Run the study behind the published table: collect, train several seeds, adapt, and write down what came out.

    Writes baselines.json, card.md and returns.png into the catalogue entry. Interrupted, the same command goes on.

    [bold]Examples[/bold]

      idaq reproduce                                   all three point-robot families, six seeds
      idaq reproduce point-robot/expert --seeds 2 --catalogue /tmp/catalogue
    """
    from idaq.core.config import to_mapping
    from idaq.core.ids import datasets_root
    from idaq.core.resources import resource_root
    from idaq.evaluate.protocol import summarise, summary_columns, summary_rows

    base = datasets_root(root)
    datasets = {entry: _collect(entry, base) for entry in entries}
    results = _run_all(datasets, seeds, out, jobs, base)
    summaries = {}
    for entry, found in results.items():
        summary = summaries[entry] = summarise(found, [f"idaq reproduce {entry} --seeds {seeds}"])
        _write(catalogue or resource_root("datasets"), entry, datasets[entry], summary, base)
        if not as_json:
            print_table(f"{entry}: {seeds} training seeds", summary_columns(summary), summary_rows(summary))
    if as_json:
        print_json({entry: to_mapping(summary) for entry, summary in summaries.items()})


def _collect(entry: str, root: Path) -> str:
    """Collect the entry's dataset unless it is there; returns its id."""
    from idaq.collect.catalogue import catalogue_recipe
    from idaq.collect.collect import collect, episode_count

    family, slash, quality = entry.rpartition("/")
    if not slash:
        raise UsageError(f"{entry!r} is not a catalogue entry", hint="family/quality, for example point-robot/expert")
    recipe = catalogue_recipe(family, quality)
    with progress(f"collecting {recipe.id}", episode_count(recipe), "episodes") as advance:
        collect(recipe, root, progress=advance)
    return recipe.id


def _run_all(datasets: dict[str, str], seeds: int, out: Path, jobs: int, root: Path) -> dict[str, list["Results"]]:
    import joblib

    work = [(entry, seed) for entry in datasets for seed in range(seeds)]
    calls = (
        joblib.delayed(_run_one)(datasets[entry], seed, out / f"{entry.replace('/', '-')}-seed{seed}", root)
        for entry, seed in work
    )
    results: dict[str, list[Results]] = {entry: [] for entry in datasets}
    with progress("training and adapting", len(work), "runs") as advance:
        done = joblib.Parallel(n_jobs=min(jobs, len(work)), return_as="generator")(calls)
        for (entry, _), result in zip(work, done, strict=True):
            assert result is not None  # joblib's own type allows for it
            results[entry].append(result)
            advance(1)
    return results


def _run_one(dataset_id: str, seed: int, run: Path, root: Path) -> "Results":
    """Train and adapt one seed; what is finished is read back."""
    from idaq.adapt.adapt import adapt
    from idaq.adapt.config import AdaptConfig
    from idaq.adapt.results import RESULTS, read_results, write_results
    from idaq.adapt.trace import write_trace
    from idaq.core.config import from_mapping
    from idaq.learn.config import TrainConfig
    from idaq.learn.loop import train
    from idaq.loader import open_dataset

    dataset = open_dataset(dataset_id, root)
    assert dataset.manifest is not None  # collected by us
    recipe = dataset.manifest.recipe
    config = from_mapping(TrainConfig, {**recipe.train, "seed": seed, "threads": 1}, where=dataset_id)
    trained = train(dataset, config, run)
    protocol = from_mapping(AdaptConfig, recipe.adapt, where=dataset_id)
    if (run / RESULTS).exists():
        results = read_results(run)
        if results.config == protocol and results.content_digest == dataset.manifest.content_digest:
            return results
    adapted = adapt(trained.agent, dataset, protocol)
    write_results(run, adapted.results)
    write_trace(run, adapted)
    return adapted.results


def _write(catalogue: Path, entry: str, dataset_id: str, summary: "Summary", root: Path) -> None:
    """baselines.json, card.md and returns.png of a catalogue entry."""
    from idaq.core.config import to_mapping
    from idaq.core.files import write_json, write_text
    from idaq.core.ids import dataset_path
    from idaq.evaluate.figures import adaptation_curves
    from idaq.evaluate.protocol import markdown_table
    from idaq.evaluate.style import save

    folder = catalogue / entry
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "baselines.json", to_mapping(summary))
    save(adaptation_curves(summary), folder / "returns.png")
    card = (dataset_path(dataset_id, root) / "README.md").read_text(encoding="utf-8")
    command = f"`idaq reproduce {entry}` prints and writes this table."
    write_text(folder / "card.md", f"{card}\n## Baselines\n\n{command}\n\n{markdown_table(summary)}\n")
