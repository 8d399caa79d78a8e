"""idaq behavior train | show | compare"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import completion
from .output import (
    Json,
    Settings,
    if_interrupted,
    path_argument,
    path_option,
    print_json,
    print_table,
    progress,
    say,
    working,
)

if TYPE_CHECKING:
    from idaq.collect.policy_record import PolicyRecord

app = typer.Typer(no_args_is_help=True, help="Trained behaviour policies: those of the catalogue, and your own.")


@app.command()
def train(
    family: Annotated[
        str, typer.Argument(help="A family, for example cheetah-vel.", autocompletion=completion.families)
    ],
    out: Annotated[Path, path_option(help="Folder of the training; one that was stopped resumes.")],
    per_task: Annotated[
        bool, typer.Option("--per-task", help="One policy a task, each from its own data, in place of one for all.")
    ] = False,
    settings: Settings = [],  # noqa: B006 - Typer copies it
    as_json: Json = False,
) -> None:
    """Train one policy for all tasks of a family, conditioned on the task, and keep snapshots of it as quality levels;
    or one policy a task, all side by side, and keep the last.

    [bold]Examples[/bold]

      idaq behavior train cheetah-vel --out runs/behaviors/cheetah-vel
      idaq behavior train cheetah-vel --out runs/behaviors/v7 --set tasks=[7] --set steps=100000
      idaq behavior train ant-goal --out runs/behaviors/ant --set snapshots.medium=0.5
      idaq behavior train point-robot --per-task --out runs/behaviors/point-robot/per-task

    Needs pip install 'idaq\\[behaviors]' (Stable-Baselines3); one policy a task needs PyTorch alone. One CPU thread;
    record.json in the folder holds the learning curve, metrics.jsonl its losses too. To collect with these policies,
    name one and its sha256 in a recipe, and say where they are:

      IDAQ_BEHAVIORS=runs/behaviors idaq collect --recipe my.toml
    """
    import shlex

    from idaq.collect.policy_record import SacConfig, SacPerTaskConfig
    from idaq.collect.policy_training import train_policy
    from idaq.core.config import from_mapping, override
    from idaq.core.extras import optional
    from idaq.tasks import get_family

    optional("torch" if per_task else "stable_baselines3")
    kind = SacPerTaskConfig if per_task else SacConfig
    known = {} if per_task else {"snapshots": dict(SacConfig().snapshots)}  # --set snapshots.medium=0.4 changes one
    chosen, config = get_family(family), from_mapping(kind, override(known, settings), where="--set")
    options = ["--per-task"] * per_task + [f"--set={setting}" for setting in settings]
    command = shlex.join(["idaq", "behavior", "train", family, *options])
    kept = if_interrupted(lambda: f"{out} is kept up to its last evaluation; the same command resumes from there")
    with kept, progress(f"training {family}", config.steps, "steps") as advance:
        record = train_policy(chosen, config, out, command, advance)
    if as_json:
        from idaq.core.config import to_mapping

        print_json(to_mapping(record))
    else:
        _tell(record)


@app.command()
def show(
    family: Annotated[
        str, typer.Argument(help="A family, for example cheetah-vel.", autocompletion=completion.families)
    ],
    folder: Annotated[Path | None, path_option(help="A training's folder. \\[default: the catalogue's]")] = None,
    per_task: Annotated[bool, typer.Option("--per-task", help="Of the catalogue, those of one policy a task.")] = False,
    as_json: Json = False,
) -> None:
    """What a family's trained policies are worth, and how they were made.

    [bold]Examples[/bold]

      idaq behavior show cheetah-vel
      idaq behavior show point-robot --per-task
      idaq behavior show cheetah-vel --folder runs/behaviors/cheetah-vel
    """
    from idaq.collect.policies import policies_folder
    from idaq.collect.policy_record import PER_TASK, read_record
    from idaq.core.config import to_mapping
    from idaq.tasks import get_family

    record = read_record(folder or policies_folder(get_family(family).name, PER_TASK if per_task else ""))
    if as_json:
        print_json(to_mapping(record))
    else:
        _tell(record)


@app.command()
def compare(
    family: Annotated[
        str, typer.Argument(help="A locomotion family, for example cheetah-vel.", autocompletion=completion.families)
    ],
    singles: Annotated[list[Path], path_argument(help="Folders of trainings of one task each.")],
    snapshot: Annotated[str, typer.Option(help="Which snapshot of each.")] = "medium",
    folder: Annotated[Path | None, path_option(help="The conditioned policy. \\[default: the catalogue's]")] = None,
    as_json: Json = False,
) -> None:
    """Compare the policy that is conditioned on the task with policies trained for one task alone: returns and actions.

    [bold]Examples[/bold]

      idaq behavior train cheetah-vel --set tasks=[7] --set steps=30000 --out runs/behaviors/single7
      idaq behavior compare cheetah-vel runs/behaviors/single7
      idaq behavior compare cheetah-vel runs/behaviors/single* --json > datasets/cheetah-vel/behaviours/comparison.json

    The cards of the family's datasets show what stands in that file.
    """
    from idaq.collect.comparison import compare as run
    from idaq.collect.policies import policies_folder
    from idaq.core.config import to_mapping
    from idaq.tasks import get_family

    chosen = get_family(family)
    with working(f"playing {len(singles)} tasks"):
        comparison = run(chosen, folder or policies_folder(chosen.name), singles, snapshot)
    if as_json:
        print_json(to_mapping(comparison))
        return
    columns = ["task", "policy", "return", "std", "mean |a|", "std of a", "|a| > 0.95", "mean |change of a|"]
    cells = [
        [
            str(both.task), who, f"{c.mean:.1f}", f"{c.std:.1f}", f"{c.magnitude:.2f}", f"{c.spread:.2f}",
            f"{c.saturated:.0%}", f"{c.change:.2f}",
        ]
        for both in comparison.tasks
        for who, c in (("conditioned", both.conditioned), ("single", both.single))
    ]  # fmt: skip
    print_table(f"{family}, snapshot {snapshot}", columns, cells)


def _tell(record: "PolicyRecord") -> None:
    rows = [
        [name, str(s.steps), f"{s.mean:.1f}", f"{s.std:.1f}", f"{s.minimum:.1f} to {s.maximum:.1f}", s.sha256[:12]]
        for name, s in record.snapshots.items()
    ]
    columns = ["snapshot", "steps", "return", "std of tasks", "range", "sha256"]
    kind = f"one {record.algorithm} a task" if record.tasks else record.algorithm
    print_table(f"{record.family}: {kind}, mean action, one episode a task", columns, rows)
    say(record.command)
    rows = [
        [str(p.steps), f"{p.mean:.1f}", f"{p.minimum:.1f}", f"{p.maximum:.1f}", f"{p.seconds:.0f}"]
        for p in record.curve
    ]
    print_table("learning curve", ["steps", "return", "lowest", "highest", "seconds"], rows)
