"""idaq collect"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idaq.core.errors import UsageError
from idaq.core.machine import cores

from . import completion
from .output import Executor, Json, Root, Settings, if_interrupted, path_option, print_json, progress, say

if TYPE_CHECKING:
    from idaq.collect.collect import Collected


def collect(
    family: Annotated[
        str | None,
        typer.Argument(
            help="A task family of the catalogue, for example point-robot or ml1/reach.",
            autocompletion=completion.families,
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option(
            help="expert, medium, mixed, held, random or histories; idaq families NAME shows which there are.",
            autocompletion=completion.words("expert", "medium", "mixed", "held", "paper", "random", "histories"),
        ),
    ] = "expert",
    recipe: Annotated[Path | None, path_option(help="A recipe file of your own instead of the catalogue's.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = cores(),
    executor: Executor = "joblib",
    settings: Settings = [],  # noqa: B006 - Typer copies it
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Collect a dataset from its recipe. Interrupted, the same command resumes.

    [bold]Examples[/bold]

      idaq collect point-robot                        makes idaq/point-robot/expert-v0
      idaq collect point-robot-wind --quality mixed
      idaq collect ml1/reach                          one of the 50 sets of Meta-World ML1
      idaq collect ml1/handle-press --quality held    a script of ours, where Meta-World's loses what it has solved
      idaq collect ml10                               Meta-World ML10: 10 environments to train on, 5 to test on
      idaq collect cheetah-vel --quality medium       a running body, with trained behaviour policies
      idaq collect dark-room --quality histories      a grid of choices, and Q-learning from first episode to last
      idaq collect point-robot --set episodes=2       two episodes of every behaviour on every task
      idaq collect point-robot --set id=idaq/point-robot/noisy-v0 --set behaviours.expert.noise=1
      idaq collect --recipe my.toml --workers 8       its family or behaviours may be yours: family = "my_module:maze"
      idaq collect ml1/push --executor ray            needs pip install 'idaq\\[ray]' and a folder all machines see

    The same recipe gives the same content digest, whatever the workers or interruptions.
    """
    from idaq.catalogue.entries import catalogue_recipe, load_recipe
    from idaq.collect.collect import collect as run
    from idaq.collect.collect import episode_count, reference_count
    from idaq.core.ids import datasets_root

    if (family is None) == (recipe is None):
        raise UsageError("give either a family or --recipe", hint="idaq collect point-robot")
    chosen = load_recipe(recipe, settings) if recipe else catalogue_recipe(str(family), quality, settings)
    kept = if_interrupted(lambda: "finished cells are kept; the same command resumes from there")
    with kept, progress(f"collecting {chosen.id}", episode_count(chosen), "episodes") as counted:
        counted.tell(f"and {reference_count(chosen):,} of random actions, to score against")
        done = run(chosen, datasets_root(root), workers=workers, executor=executor, progress=counted)
    if as_json:
        keys = ("content_digest", "cells", "resumed", "existed", "unstable", "notes")
        print_json({"id": chosen.id, "path": str(done.path), **{key: getattr(done, key) for key in keys}})
    else:
        _tell(chosen.id, done)


def _tell(dataset_id: str, done: "Collected") -> None:
    if done.existed:
        say(f"{dataset_id} is already there, with this very content")
    elif done.resumed:
        say(f"{dataset_id}: resumed, {done.resumed} of {done.cells} cells were already collected")
    if done.unstable:
        say(f"{done.unstable} episodes were left out: their simulation became unstable")
    say(*(f"note: {note}" for note in done.notes))
    say(str(done.path), f"content digest {done.content_digest}")
