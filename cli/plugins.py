"""idaq plugins"""

from typing import Annotated

import typer

from .output import Json, print_json, print_table, say


def plugins(
    kind: Annotated[str | None, typer.Argument(help="One kind alone, for example 'task family'.")] = None,
    as_json: Json = False,
) -> None:
    """List what can be named: what ships, and what installed packages add; and what of it cannot be used, and why.

    [bold]Examples[/bold]

      idaq plugins
      idaq plugins "task family"

    Wherever a name is taken (recipe, --set, option, Python), package.module:thing does too, installed or in the current
    folder.
    """
    from dataclasses import asdict

    from idaq.plugins import plugins as find

    found = find(kind)
    if as_json:
        print_json([asdict(plugin) for plugin in found])
        return
    rows = [[p.kind, p.name, "built in" if p.source == "idaq" else p.source, p.reference, p.problem] for p in found]
    print_table("what can be named", ["kind", "name", "from", "leads to", "problem"], rows)
    broken = sum(bool(plugin.problem) for plugin in found)
    if broken:
        say(f"{broken} of {len(found)} cannot be used")
