"""What was cut, cast, dropped or assumed of a user's data: counted where it happens, one line a kind."""

from collections.abc import Collection, Iterator

from idaq.core.errors import DatasetError
from idaq.core.text import printable


class Notes:
    """Counted notes. Iterating gives lines such as `hopper.hdf5: 12 last steps left out: ...`, each kind once."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, int | None]] = {}

    def add(self, where: str, what: str, count: int | None = None) -> None:
        """Note `what` of `where`, `count` times; a count of 0 adds nothing. Counts of one place add up."""
        if count == 0:
            return
        places = self._kinds.setdefault(what, {})
        places[where] = None if count is None else (places.get(where) or 0) + count

    def extend(self, other: "Notes") -> None:
        """Take over the notes of `other`."""
        for what, places in other._kinds.items():
            for where, count in places.items():
                self.add(where, what, count)

    def __iter__(self) -> Iterator[str]:
        for what, places in self._kinds.items():
            first, *more = places
            counts = [count for count in places.values() if count is not None]
            where = f"{first} and {len(more)} more" if more else first
            yield printable(f"{where}: {sum(counts)} {what}" if counts else f"{where}: {what}")

    def __len__(self) -> int:
        return len(self._kinds)


def refuse_notes(notes: Collection[str]) -> None:
    """For `--strict`: raise DatasetError that lists every note, if there is any."""
    if len(notes):
        raise DatasetError(
            f"not written, for --strict allows no cut, cast, drop or assumption, and there are {len(notes)}",
            details=notes,
            hint="without --strict they are printed, and the data are written",
        )
