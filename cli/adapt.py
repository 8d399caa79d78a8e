"""idaq adapt"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import UsageError

from .output import Json, Root, Settings, print_json, print_table, progress, say

if TYPE_CHECKING:
    from idaq.adapt.results import Results
    from idaq.loader import Dataset


def adapt(
    runs: Annotated[list[Path], typer.Argument(help="Run directories of one dataset.")],
    strategies: Annotated[str, typer.Option(help="Comma-separated names, or all.")] = "all",
    settings: Settings = [],  # noqa: B006 - Typer copies it
    video: Annotated[bool, typer.Option("--video", help="Film one task's adaptation: video.gif, stills.png.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Adapt online to the test tasks with every strategy, and score fresh episodes after 1, 2, 5, 10, 20 of them.

    Writes results.json (and trace.safetensors, for the figures) into each run directory.

    [bold]Examples[/bold]

      idaq adapt runs/point
      idaq adapt runs/push --video
      idaq adapt runs/point-seed* --strategies idaq-return,posterior --set seeds=8
      idaq adapt runs/point --set episodes=10 --set reference=5 --set "report_at=[1, 2, 5, 10]"
    """
    from idaq.adapt.strategies import STRATEGIES
    from idaq.evaluate.protocol import summarise, summary_columns, summary_rows

    names = (
        list(STRATEGIES) if strategies == "all" else [name.strip() for name in strategies.split(",") if name.strip()]
    )
    if not names:
        raise UsageError("no strategy is named", hint=f"some of {', '.join(STRATEGIES)}, or all")
    results = [adapt_run(run, names, settings, root) for run in runs]
    for run in runs if video else []:
        film_run(run, root)
    summary = summarise(results)
    if as_json:
        from idaq.core.config import to_mapping

        print_json(to_mapping(summary))
        return
    print_table(f"Return of fresh episodes on {results[0].dataset_id}", summary_columns(summary), summary_rows(summary))


def adapt_run(run: Path, names: list[str], settings: list[str], root: Path | None) -> "Results":
    """Adapt one run and write its results."""
    from idaq.adapt.adapt import adapt as adapt_agent
    from idaq.adapt.adapt import episodes_to_run
    from idaq.adapt.config import AdaptConfig
    from idaq.adapt.results import write_results
    from idaq.adapt.trace import write_trace
    from idaq.core.config import from_mapping, override
    from idaq.learn.checkpoint import load_agent
    from idaq.learn.loop import use_threads

    dataset = run_dataset(run, root)
    recipe = dataset.manifest.recipe.adapt if dataset.manifest else {}
    config = from_mapping(AdaptConfig, override(recipe, settings), where="adaptation settings")
    use_threads(config.threads)
    with progress(f"adapting {run}", episodes_to_run(config, len(names)), "lock-step episodes") as advance:
        adapted = adapt_agent(load_agent(run), dataset, config, strategies=names, progress=advance)
    write_results(run, adapted.results)
    write_trace(run, adapted)
    return adapted.results


def film_run(run: Path, root: Path | None) -> None:
    """Film the adaptation of `idaq-return` to the test task of median return."""
    from idaq.adapt.trace import read_trace
    from idaq.evaluate.report import median_task
    from idaq.evaluate.video import STILLS_FILE, VIDEO_FILE, film, write_stills, write_video
    from idaq.learn.checkpoint import load_agent
    from idaq.tasks import get_family

    dataset, trace = run_dataset(run, root), read_trace(run)
    assert dataset.manifest is not None  # it has been adapted to
    with progress(f"filming {run}", 3, "episodes") as advance:
        scenes = film(load_agent(run), get_family(dataset.manifest.family), trace, median_task(trace), advance)
    write_video(scenes, run / VIDEO_FILE)
    write_stills(scenes, run / STILLS_FILE)
    say(str(run / VIDEO_FILE), str(run / STILLS_FILE))


def run_dataset(run: Path, root: Path | None) -> "Dataset":
    """The dataset that a run was trained on, by id below `root` or where it was then. Raises RunError if it changed."""
    from idaq.core.errors import DatasetNotFoundError, RunError
    from idaq.learn.run import read_run
    from idaq.loader import open_dataset

    record = read_run(run)
    try:
        dataset = open_dataset(record.dataset_id, root)
    except DatasetNotFoundError:
        if root is not None:
            raise
        there = record.dataset_path
        dataset = open_dataset(there if "://" in there else Path(there))
    digest = dataset.manifest.content_digest if dataset.manifest else ""
    if digest != record.content_digest:
        raise RunError(
            f"{run} was trained on {record.dataset_id} with content {record.content_digest[:12]}, found {digest[:12]}",
            hint="give the right --root, or train again",
        )
    return dataset
