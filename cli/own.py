"""idaq dataset reference | append"""

from typing import Annotated

import typer

from . import completion
from .dataset import Id
from .edit import NewVersion, opened, write
from .output import EnvArg, EnvName, Json, Root, if_interrupted, print_json, progress, say

MaxSteps = Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps after which an episode ends, at most.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    app.command()(reference)
    app.command()(append)


def reference(
    dataset: Id,
    env: EnvName = None,
    env_arg: EnvArg = [],  # noqa: B006 - Typer copies it
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A task family. \\[default: the dataset's, if it is installed]",
            autocompletion=completion.families,
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each task.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of actions and environment.")] = 0,
    max_steps: MaxSteps = None,
    new: NewVersion = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Measure what random actions return on every task, which adaptation is scored against; as a new version.

    Actions are uniform in the action space. An environment of your own (--env) is told its task by its keyword
    arguments, one for each parameter of the task. The same command measures the same to the bit; interrupted, it
    resumes with the tasks that are left.

    [bold]Examples[/bold]

      idaq dataset reference me/point/mine-v0 --family point-robot
      idaq dataset reference me/pendulum/swings-v1 --env my_envs:pendulum --episodes 20
    """
    from idaq.collect.reference import measure_random, systems_of, with_random
    from idaq.core.config import override
    from idaq.core.ids import dataset_path
    from idaq.format.store import next_version
    from idaq.format.writer import refuse_taken

    stored = opened(dataset, root)
    target = new or next_version(stored.manifest.dataset_id, root)
    refuse_taken(dataset_path(target, root))
    systems = systems_of(stored, family=family, env=env, settings=override({}, env_arg))
    total = episodes * len(stored.tasks)
    kept = if_interrupted(lambda: "finished tasks are kept: the same command resumes")
    with kept, progress(f"random actions in {systems.name}", total, "episodes") as advance:
        measured = measure_random(
            stored, systems, episodes=episodes, seed=seed, max_steps=max_steps, root=root, progress=advance
        )
    write(with_random(stored, systems, measured, target), root, as_json, len(stored.episodes))


def append(
    dataset: Id,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="What an importer reads, folders of idaq record, datasets.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="The task of all sources: one that is there, or a new one.")
    ] = None,
    param: Annotated[list[str], typer.Option(metavar="KEY=NUMBERS", help="Parameter of a new task. Repeatable.")] = [],  # noqa: B006 - Typer copies it
    split: Annotated[str | None, typer.Option(help="The split of new tasks. \\[default: train]")] = None,
    importer: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="An importer. \\[default: by the kind of the source]")
    ] = None,
    author: Annotated[list[str], typer.Option(help="Whose data it is. \\[default: the dataset's]")] = [],  # noqa: B006
    license: Annotated[str | None, typer.Option(help="Its licence. \\[default: the dataset's]")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Unpickle object arrays. A pickle can run any code: trust its maker.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if there is anything to note.")] = False,
    new: NewVersion = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Add episodes to a dataset, to tasks that it has or as new ones, as a new version; the old one stays as it is.

    A task of the name of one that is there is that one. Episodes that are there already are left out, and counted.

    [bold]Examples[/bold]

      idaq dataset append me/pendulum/swings-v0 recorded/heavy
      idaq dataset append me/pendulum/swings-v0 monday.npz tuesday.npz --task light
      idaq dataset append me/pendulum/swings-v0 more.npz --task massive --param mass=5 --split test
    """
    from idaq.adapt.uses import uses_of
    from idaq.core.config import to_mapping
    from idaq.share.appending import append_episodes as run
    from idaq.share.sources import parse_params

    done = run(
        dataset,
        sources,
        new,
        task=task,
        params=parse_params(param),
        split=split,
        importer=importer,
        authors=author,
        license=license,
        allow_pickle=allow_pickle,
        strict=strict,
        root=root,
        show=progress,
    )
    known = uses_of(done.path)
    if as_json:
        print_json({"id": done.dataset_id, **vars(done), "path": str(done.path), "uses": to_mapping(known)})
        return
    say(*(f"note: {note}" for note in done.notes))
    say(f"{done.dataset_id}: {done.episodes} episodes, {done.new} of them new, {done.duplicates} were there already")
    say(str(done.path), f"content digest {done.content_digest}", *known.lines())
