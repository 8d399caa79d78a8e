"""What a shell completes: names of datasets, families and strategies, looked up when Tab is pressed."""

from collections.abc import Callable

from typer import Context


def datasets(context: Context, incomplete: str) -> list[str]:
    """Ids below the root of this very command."""
    from idaq.format.store import list_datasets

    found = [listing.dataset_id for listing in list_datasets(context.params.get("root"))]
    return [name for name in found if name.startswith(incomplete)]


def families(incomplete: str) -> list[str]:
    """Task families, built in and installed."""
    from idaq.tasks import FAMILIES

    return [name for name in FAMILIES.names() if name.startswith(incomplete)]


def entries(incomplete: str) -> list[str]:
    """Entries of the catalogue."""
    from idaq.catalogue.entries import entries as known

    return [str(entry) for entry in known() if str(entry).startswith(incomplete)]


def strategies(incomplete: str) -> list[str]:
    """Strategies, the last one of a list with commas."""
    from idaq.adapt.strategy import STRATEGIES

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in STRATEGIES.names() if name.startswith(last)]


def matrices(incomplete: str) -> list[str]:
    """Matrices of benchmarks that ship."""
    from idaq.benchmark.matrix import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def words(*known: str) -> Callable[[str], list[str]]:
    """A few fixed words."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]
