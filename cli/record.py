"""idaq record"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .output import EnvArg, Json, Root, if_interrupted, path_option, print_json, progress, say
from .own import MaxSteps


def record(
    env: Annotated[str, typer.Option(help="Environment: a Gymnasium id or package.module:function.")],
    task: Annotated[str, typer.Option(metavar="NAME", help="Its id in a dataset: letters, digits, - and _.")],
    out: Annotated[Path, path_option(help="Folder of the recording, one for each task.")],
    policy: Annotated[str, typer.Option(help="random, human, or package.module:thing: a function or what has act.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that the folder shall hold.")] = 10,
    env_arg: EnvArg = [],  # noqa: B006 - Typer copies it
    param: Annotated[
        list[str], typer.Option(metavar="KEY=NUMBERS", help="Parameter of the task: an argument of --env. Repeatable.")
    ] = [],  # noqa: B006
    behaviour: Annotated[str | None, typer.Option(help="Its name in the dataset. \\[default: the policy's]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the episodes' seeds.")] = 0,
    max_steps: MaxSteps = None,
    new: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Make a dataset of the folder at the end.")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Record demonstrations on your environment. Each episode is durable when it ends; the same command resumes.

    human reads keys from the terminal: a and d (or left and right) move the first number of an action, s and w (or down
    and up) the second, j and l the third, k and i the fourth. Where there is a display and the environment can, it
    draws itself. A kill loses the episode under way, and no other.

    [bold]Examples[/bold]

      idaq record --env Pendulum-v1 --policy random --task normal --episodes 20 --out recorded/normal
      idaq record --env my_envs:pendulum --param mass=2 --policy my_envs:swing_up --task heavy --out recorded/heavy
      idaq record --env my_envs:arm --policy human --task reach --out recorded/reach --id me/arm/reach-v0
      idaq dataset import recorded/normal recorded/heavy --id me/pendulum/swings-v0 --split test=heavy
    """
    from idaq.collect.record import record as run
    from idaq.core.config import override
    from idaq.core.ids import datasets_root, parse_id
    from idaq.format.writer import refuse_taken
    from idaq.share.importers import import_dataset
    from idaq.share.sources import parse_params

    if new is not None:  # now, and not after an hour of demonstrations
        refuse_taken(datasets_root(root) / str(parse_id(new)))
    kept = if_interrupted(lambda: _kept(out, episodes))
    with kept, progress(f"recording {out}", episodes, "episodes") as advance:
        done = run(
            out,
            env=env,
            policy=policy,
            task=task,
            episodes=episodes,
            settings=override({}, env_arg),
            params=parse_params(param),
            seed=seed,
            max_steps=max_steps,
            behaviour=behaviour,
            progress=advance,
        )
    made = None if new is None else import_dataset([out], new, root=root, show=progress)
    notes = [f"{done.clipped} actions of {policy} clipped to the action space"] if done.clipped else []
    notes += made.notes if made else []
    if as_json:
        facts = {**vars(done), "path": str(done.path), "notes": notes}
        print_json({**facts, "dataset": None if made is None else made.dataset_id})
        return
    say(*(f"note: {note}" for note in notes))
    say(f"{done.path}: {done.episodes} episodes of {task}, {done.new} of them recorded now")
    if made is None:
        folder = shlex.quote(str(done.path))
        say(f"idaq dataset import {folder} --id me/family/name-v0 makes a dataset of it, with others a task each")
    else:
        say(f"{made.dataset_id}: {made.tasks} tasks, {made.episodes} episodes", str(made.path))


def _kept(out: Path, episodes: int) -> str:
    from idaq.format.recording import Folder

    there = len(Folder(out).numbers()) if out.is_dir() else 0
    command = shlex.join(["idaq", *sys.argv[1:]])
    return f"{out} holds {there} of {episodes} episodes; this records the others: {command}"
