"""idaq families"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import completion
from .output import Json, print_json, print_table, say, working

if TYPE_CHECKING:
    from idaq.catalogue.families import FamilyDetails, FamilyFacts

_NAME = "A family, or a suite such as ml1. \\[default: all]"


def families(
    name: Annotated[str | None, typer.Argument(help=_NAME, autocompletion=completion.families)] = None,
    as_json: Json = False,
) -> None:
    """List task families: what each is, what data of it can be collected, and what it needs.

    [bold]Examples[/bold]

      idaq families
      idaq families ml1                    the 50 sets of Meta-World ML1
      idaq families ml1/push               its tasks and sizes, and the commands that collect it
      idaq families my_module:maze         a family of your own
    """
    from idaq.catalogue.families import families as find
    from idaq.catalogue.families import family_details

    found = find(name)
    details = None
    if len(found) == 1 and found[0].name == name and found[0].installed is not False:
        with working(f"making {name}"):
            details = family_details(found[0].name)
    if as_json:
        from idaq.core.config import to_mapping

        more = _plain(details, to_mapping) if details else {}
        facts = [{**vars(one), "commands": one.commands, **more} for one in found]
        print_json(facts[0] if len(found) == 1 and found[0].name == name else facts)
    elif len(found) == 1 and found[0].name == name:
        _show(found[0], details)
    else:
        print_table("Task families", ["family", "tasks", "qualities", "what it is", "needs"], _rows(found, name))
        say("idaq families NAME shows one; idaq collect NAME --quality QUALITY collects it")


def _plain(details: "FamilyDetails", to_mapping: Any) -> dict[str, Any]:
    return {**vars(details), "tasks": [to_mapping(task) for task in details.tasks]}


def _rows(found: "Sequence[FamilyFacts]", name: str | None) -> list[list[str]]:
    """A row a family; a suite is one row, unless it was asked for."""
    rows, suites = list[list[str]](), dict[str, int]()
    for facts in found:
        suite, slash, _ = facts.name.partition("/")
        if slash and name is None:
            suites[suite] = suites.get(suite, 0) + 1
            if suites[suite] > 1:
                continue
        shown = f"{suite}/..." if slash and name is None else facts.name
        rows.append([shown, _or_unknown(facts.tasks), ", ".join(facts.qualities) or "-", _what(facts), _needs(facts)])
    for row in rows:
        if row[0].endswith("/..."):
            row[3] = f"{suites[row[0][:-4]]} families: idaq families {row[0][:-4]}"
    return rows


def _what(facts: "FamilyFacts") -> str:
    return facts.description or f"of {facts.source}"


def _needs(facts: "FamilyFacts") -> str:
    if facts.needs is None:
        return "-" if facts.installed else "unknown"
    return f"{facts.needs} ({'installed' if facts.installed else 'not installed'})"


def _or_unknown(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _show(facts: "FamilyFacts", details: "FamilyDetails | None") -> None:
    rows = [["what it is", _what(facts)], ["needs", _needs(facts)], ["qualities", ", ".join(facts.qualities) or "-"]]
    if details is not None:
        rows += [
            ["tasks", str(len(details.tasks))],
            ["horizon", f"{details.horizon} steps"],
            ["observation, action", f"{details.observation}, {details.action}"],
            ["the task changes", "dynamics (and rewards)" if details.task_changes_dynamics else "rewards alone"],
            ["scripted policy", "yes" if details.scripted else "no"],
        ]
    print_table(facts.name, ["", ""], rows)
    if details is not None:
        tasks = [[str(task.task_index), task.task_id, _params(task.params)] for task in details.tasks[:10]]
        more = len(details.tasks) - len(tasks)
        tasks += [["...", f"{more} more: --json shows all", ""]] if more else []
        print_table("Tasks", ["index", "id", "what differs"], tasks)
    say(*(facts.commands or [f'a recipe of your own collects it, in which family = "{facts.name}"']))


def _params(params: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return " ".join(f"{one:.3g}" for one in value[:4]) + (" ..." if len(value) > 4 else "")

    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float | int) else f"{k} {text(v)}" for k, v in params.items())[
        :100
    ]
