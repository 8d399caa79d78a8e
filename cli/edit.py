"""idaq dataset subset | merge | relabel | relabel-rewards | split | diff | delete"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idaq.core.errors import UsageError
from idaq.core.text import printable

from .dataset import Id
from .output import Json, Root, print_json, print_table, progress, say

if TYPE_CHECKING:
    from idaq.format.reader import StoredDataset
    from idaq.format.writer import DatasetSource

New = Annotated[str, typer.Argument(metavar="NEW", help="The id of the new dataset.")]

NewVersion = Annotated[
    str | None, typer.Option("--id", metavar="NEW", help="The new dataset's id. \\[default: the next version]")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `idaq dataset`."""
    for command in (subset, merge, relabel, relabel_rewards, split, diff, delete):
        app.command()(command)


def subset(
    dataset: Id,
    new: New,
    tasks: Annotated[str | None, typer.Option(metavar="LIST", help="Such as 0:10,12-19,task-031,40.")] = None,
    split: Annotated[str | None, typer.Option(help="Tasks of this split; train+val: of both.")] = None,
    behaviour: Annotated[str | None, typer.Option(help="Episodes of this behaviour policy.")] = None,
    quantiles: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Of the returns of each task: 0.5:1 is its better half.")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Cut a dataset: the episodes that meet every condition, as a dataset of their own.

    [bold]Examples[/bold]

      idaq dataset subset idaq/point-robot/expert-v0 idaq/point-robot/few-v0 --tasks 0:10
      idaq dataset subset idaq/point-robot/mixed-v0 idaq/point-robot/best-v0 --behaviour expert --quantiles 0.5:1
    """
    from idaq.format.edit import subset as cut
    from idaq.format.selection import Selection, parse_tasks, select

    stored = opened(dataset, root)
    selection = Selection(
        split=split,
        tasks=None if tasks is None else parse_tasks(tasks, stored.tasks),
        behaviour=behaviour,
        quantiles=None if quantiles is None else _quantiles(quantiles),
    )
    asked = {"tasks": tasks, "split": split, "behaviour": behaviour, "quantiles": quantiles}
    words = ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
    if not words:
        raise UsageError("nothing is asked of the episodes", hint="--tasks, --split, --behaviour or --quantiles")
    keep = select(stored.episodes, stored.tasks, selection)
    write(cut(stored, new, keep, f"subset: {words}"), root, as_json, int(keep.sum()))


def merge(
    new: New,
    datasets: Annotated[list[str], typer.Argument(metavar="ID ID...", help="Two datasets or more, of one family.")],
    renumber: Annotated[
        bool, typer.Option("--renumber", help="Tasks that may be others stay apart, under new indices and ids.")
    ] = False,
    same_tasks: Annotated[
        bool, typer.Option("--same-tasks", help="Tasks of unknown parameters are one where index and id agree.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing if there is anything to note.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Join datasets of one family, task by task. Episodes that stand in several are taken once.

    Numbers are cast where that changes none, bounds are joined, and all that is printed. Imported tasks of unknown
    parameters are refused until --renumber or --same-tasks says which they are.

    [bold]Examples[/bold]

      idaq dataset merge idaq/point-robot/all-v0 idaq/point-robot/expert-v0 idaq/point-robot/medium-v0
      idaq dataset merge me/goals/both-v0 me/goals/left-v0 me/goals/right-v0 --renumber
    """
    from idaq.core.notes import refuse_notes
    from idaq.format.merge import merged

    if len(datasets) < 2:
        raise UsageError("a merge needs two datasets or more", hint="idaq dataset merge NEW ID ID")
    if renumber and same_tasks:
        raise UsageError("--renumber and --same-tasks say opposite things of tasks of unknown parameters")
    parents = [opened(dataset, root) for dataset in datasets]
    source, duplicates = merged(parents, new, "renumber" if renumber else "same" if same_tasks else "refuse")
    if strict:
        refuse_notes(source.notes)
    total = sum(len(parent.episodes) for parent in parents) - duplicates
    write(source, root, as_json, total, {"duplicates": duplicates})


def relabel(
    dataset: Id,
    new: New,
    split: Annotated[
        list[str], typer.Option(metavar="NAME=LIST", help="Put tasks into a split: test=0:10. May be repeated.")
    ] = [],  # noqa: B006 - Typer copies it
    behaviour: Annotated[
        list[str], typer.Option(metavar="OLD=NEW", help="Rename a behaviour policy. May be repeated.")
    ] = [],  # noqa: B006
    description: Annotated[str | None, typer.Option(help="One sentence.")] = None,
    author: Annotated[list[str], typer.Option(help="Whose data it is. May be repeated.")] = [],  # noqa: B006
    license: Annotated[str | None, typer.Option(help="Its licence: an SPDX identifier, or words.")] = None,
    citation: Annotated[str | None, typer.Option(metavar="TEXT", help="How to cite it, BibTeX say.")] = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="Where it is from: a URL, or words.")] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Give tasks other splits, behaviours other names, or state whose data it is; the episodes stay the same.

    [bold]Examples[/bold]

      idaq dataset relabel idaq/point-robot/expert-v0 idaq/point-robot/expert-v1 --split test=0:20 --split train=20:
      idaq dataset relabel me/arm/push-v0 me/arm/push-v1 --license CC-BY-4.0 --citation "$(cat push.bib)"
    """
    from idaq.format.edit import Labels, relabelled
    from idaq.format.selection import parse_tasks

    stored = opened(dataset, root)
    splits = {name: parse_tasks(text, stored.tasks) for name, text in pairs(split, "--split").items()}
    labels = Labels(
        splits=splits,
        behaviours=pairs(behaviour, "--behaviour"),
        description=description,
        authors=author or None,
        license=license,
        citation=citation,
        source=source,
    )
    if not (splits or labels.behaviours or description or author or license or citation or source):
        hint = "--split, --behaviour, --description, --author, --license, --citation or --source"
        raise UsageError("nothing is to be relabelled", hint=hint)
    write(relabelled(stored, new, labels), root, as_json, len(stored.episodes))


def relabel_rewards(
    dataset: Id,
    new: New,
    episodes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many each task gets. \\[default: as many as it has]")
    ] = None,
    split: Annotated[str, typer.Option(help="Its tasks get episodes of its other tasks.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Which episodes.")] = 0,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="What pays. \\[default: the dataset's own family]")
    ] = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Give each task episodes of other tasks, paid as it pays: then the task cannot be told from where episodes lead.

    Their actions are played again in the task's environment. Where that leads elsewhere, start or dynamics depend on
    the task, and nothing is written.

    [bold]Example[/bold]

      idaq dataset relabel-rewards idaq/point-robot/expert-v0 idaq/point-robot/expert-relabelled-v0
    """
    from idaq.collect.relabel import Relabelling, with_relabelled
    from idaq.tasks import find_family, get_family

    stored = opened(dataset, root)
    known = find_family(stored.manifest.family) if family is None else get_family(family)
    wanted = Relabelling(split=split, episodes=episodes, seed=seed)
    count = sum(wanted.counts(stored).values())
    with progress("playing episodes again", count, "episodes") as advance:
        source = with_relabelled(stored, new, known, wanted, advance)
    write(source, root, as_json, len(stored.episodes) + count, {"relabelled": count})


def split(
    dataset: Id,
    test: Annotated[str | None, typer.Option(metavar="LIST", help="Tasks to adapt to: c or 0:2,task-031.")] = None,
    train: Annotated[str | None, typer.Option(metavar="LIST", help="Tasks to learn from: all others then too.")] = None,
    val: Annotated[str | None, typer.Option(metavar="LIST", help="Tasks to make choices by.")] = None,
    test_tasks: Annotated[
        int | None, typer.Option(metavar="N", help="So many tasks, drawn at random, as test tasks.")
    ] = None,
    new: NewVersion = None,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Choose which tasks are learned from and which are adapted to, as a new version; the episodes stay the same.

    Tasks that no list names stay in their split. idaq dataset relabel makes splits of any name.

    [bold]Examples[/bold]

      idaq dataset split me/pendulum/swings-v0 --test heavy
      idaq dataset split me/goals/all-v0 --train 0:8 --val 8 --test 9 --id me/goals/chosen-v0
    """
    from idaq.format.edit import Labels, relabelled
    from idaq.format.selection import chosen_splits
    from idaq.format.store import next_version

    stored = opened(dataset, root)
    given = {"train": train, "val": val, "test": test}
    lists = {name: text for name, text in given.items() if text is not None}
    if not lists and test_tasks is None:
        raise UsageError("no task is put into a split", hint="--test, --train, --val or --test-tasks")
    splits: dict[str, list[int | str]] = {}
    for index, name in chosen_splits(stored.tasks, lists, test_tasks).items():
        splits.setdefault(name, []).append(index)
    target = new or next_version(stored.manifest.dataset_id, root)
    write(relabelled(stored, target, Labels(splits=splits, behaviours={})), root, as_json, len(stored.episodes))


def diff(
    first: Id,
    second: Annotated[str, typer.Argument(metavar="ID", help="Another one.")],
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Show what differs between two datasets: settings, tasks, episodes, values. Exit code 1 if anything does.

    Ids, dates and versions of packages are not compared.

    [bold]Example[/bold]

      idaq dataset diff idaq/point-robot/expert-v0 idaq/point-robot/expert-v1
    """
    from idaq.format.difference import differences

    found = differences(opened(first, root), opened(second, root))
    if as_json:
        print_json([vars(difference) for difference in found])
    elif not found:
        say("both hold the same")
    else:
        rows = [[f"{d.level}: {d.what}", _short(d.first), _short(d.second)] for d in found[:50]]
        rows += [[f"... and {len(found) - 50} more (--json shows all)", "", ""]] if len(found) > 50 else []
        print_table(f"{len(found)} differences", ["", first, second], rows)
    raise typer.Exit(bool(found))


def delete(
    dataset: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Delete a dataset. The recipe in its manifest can collect it again, to the same digest.

    [bold]Example[/bold]

      idaq dataset delete idaq/point-robot/old-v0 --yes
    """
    from idaq.format.store import delete_dataset, find_dataset

    path = find_dataset(dataset, root)
    link, target = path.is_symlink(), path.resolve()
    if not yes:
        typer.confirm(printable(f"remove the link {path}?" if link else f"delete {path}?"), abort=True, err=True)
    delete_dataset(path, root)
    if as_json:
        print_json({"path": str(path), "was_link": link})
    else:
        say(f"removed the link {path}; {target} is as it was" if link else f"deleted {path}")


def opened(dataset: str, root: Path | None) -> "StoredDataset":
    """The dataset of an id or a path."""
    from idaq.format.reader import open_stored
    from idaq.format.store import find_dataset

    return open_stored(find_dataset(dataset, root))


def write(
    source: "DatasetSource", root: Path | None, as_json: bool, episodes: int, more: dict[str, Any] | None = None
) -> None:
    """Write an edited dataset and tell what came of it."""
    from idaq.adapt.uses import uses_of
    from idaq.core.config import to_mapping
    from idaq.core.ids import datasets_root
    from idaq.format.reader import open_stored
    from idaq.format.recipe import attribution_notes
    from idaq.format.writer import write_dataset

    with progress(f"writing {source.recipe.id}", episodes, "episodes") as advance:
        path = write_dataset(source, datasets_root(root), progress=advance)
    digest = open_stored(path).manifest.content_digest
    notes, known = [*source.notes, *attribution_notes(source.recipe)], uses_of(path)
    if as_json:
        facts = {"id": source.recipe.id, "path": str(path), "content_digest": digest, "episodes": episodes}
        print_json({**facts, **(more or {}), "notes": notes, "uses": to_mapping(known)})
        return
    say(*(f"note: {note}" for note in notes))
    say(f"{source.recipe.id}: {len(source.tasks)} tasks, {episodes} episodes", str(path), f"content digest {digest}")
    say(*known.lines())


def _quantiles(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise UsageError(f"{text!r} are no quantiles", hint="--quantiles LOW:HIGH, such as 0.5:1") from None
    return low, high


def pairs(texts: list[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` options by name. Raises UsageError."""
    split = [text.partition("=") for text in texts]
    pairs = {name: value for name, _, value in split}
    if len(pairs) < len(texts) or not all(pairs.values()):
        raise UsageError(f"{option} {' '.join(texts)} is not understood", hint=f"{option} NAME=..., each name once")
    return pairs


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
