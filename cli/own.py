"""idaq dataset reference"""

from typing import Annotated

import typer

from .dataset import Id
from .edit import NewVersion, opened, write
from .output import EnvArg, EnvName, Json, Root, if_interrupted, progress

MaxSteps = Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps after which an episode ends, at most.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    app.command()(reference)


def reference(
    dataset: Id,
    env: EnvName = None,
    env_arg: EnvArg = [],  # noqa: B006 - Typer copies it
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="A task family. \\[default: the dataset's, if it is installed]")
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
