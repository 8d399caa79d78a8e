"""`python -m tests.mutants STATE [--only PATH ...] [--by-hand]`: change one thing; does a test notice?

Which modules, judged by which tests, and of how many of their mutants a sample is drawn, stands in pyproject.toml
under [tool.mutants]. Verdicts are kept below STATE: the same command goes on where it was stopped, judges survivors
anew when their tests have changed, and writes tests/mutants.md.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.changes import Change, changes_of
from tests.mutants.judge import Survey, judge, load, survey
from tests.mutants.table import write_table

BY_HAND = Path("tests/mutants/by_hand.toml")
EQUIVALENT = Path("tests/mutants/equivalent.toml")
TABLE = Path("tests/mutants.md")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Modules that the same tests judge."""

    modules: list[str]
    tests: list[str]
    sample: int
    """of all their mutants, how many are judged; 0 is all"""
    leave_out: list[str]
    """tests that are too slow to run even once"""

    def changes(self) -> list[Change]:
        """In an order that is as good as random, so that the first of them are a sample."""
        found = [change for module in self.modules for change in changes_of(module, Path(module).read_text())]
        return sorted(found, key=lambda change: change.key)[: self.sample or None]


def changes_by_hand() -> dict[str, Change]:
    """What by_hand.toml asks for, by name. Raises ValueError where its text does not stand in the module once."""
    found = {}
    for entry in tomllib.loads(BY_HAND.read_text())["change"]:
        name, module, was = entry["name"], entry["module"], entry["was"]
        source = Path(module).read_text()
        if source.count(was) != 1:
            raise ValueError(f"{BY_HAND}, {name!r}: this stands {source.count(was)} times in {module}: {was}")
        first = source[: source.index(was)].count("\n") + 1
        found[name] = Change(
            module=module,
            line=first,
            lines=(first, first + was.rstrip("\n").count("\n")),
            was=was,
            now=entry["now"],
            source=source.replace(was, entry["now"]),
        )
    return found


def groups() -> list[Group]:
    """What pyproject.toml asks for."""
    settings = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]["groups"]
    return [
        Group(
            modules=sorted({str(path) for pattern in group["modules"] for path in Path().glob(pattern)}),
            tests=group["tests"],
            sample=group.get("sample", 0),
            leave_out=group.get("leave_out", []),
        )
        for group in settings
    ]


class Verdicts:
    """What has been judged: one JSON line a verdict, the last one counts."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.state = state
        self._file = state / "verdicts.jsonl"
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self._known = {record["key"]: record for record in map(json.loads, lines)}

    def modules(self) -> set[str]:
        """Those of which something has been judged."""
        return {record["module"] for record in self._known.values()}

    def get(self, change: Change) -> str | None:
        found = self._known.get(change.key)
        return found["verdict"] if found else None

    def is_final(self, change: Change, tests: str) -> bool:
        """Tests are added, not taken away: what they killed they kill, what survived may do so no longer."""
        found = self._known.get(change.key)
        return found is not None and (found["verdict"] in ("killed", "timeout") or found["tests"] == tests)

    def add(self, change: Change, verdict: str, tests: str) -> None:
        record = {"key": change.key, "verdict": verdict, "tests": tests, "module": change.module, "line": change.line}
        self._known[change.key] = record
        with self._file.open("a") as file:
            file.write(json.dumps(record) + "\n")


def digest_of(tests: Iterable[str]) -> str:
    """Of all test files that judge."""
    found = hashlib.sha256()
    files = {file for test in map(Path, tests) for file in (test.rglob("*.py") if test.is_dir() else [test])}
    for path in sorted(files):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def judge_group(group: Group, only: list[str], verdicts: Verdicts, *, by_hand_alone: bool) -> None:
    """Judge what is not yet judged of a group, or of those of its modules that begin with one of `only`."""
    if only and not any(module.startswith(tuple(only)) for module in group.modules):
        return
    tests = digest_of(group.tests)
    by_hand = [change for change in changes_by_hand().values() if change.module in group.modules]
    waiting = [
        change
        for change in [*by_hand, *([] if by_hand_alone else group.changes())]
        if (not only or change.module.startswith(tuple(only))) and not verdicts.is_final(change, tests)
    ]
    if not waiting:
        return
    waiting.sort(key=lambda change: verdicts.get(change) is None)  # what once survived comes first
    place = verdicts.state / f"survey-{digest_of([*group.modules, *group.tests])}.json"
    known = survey(group.modules, [*group.tests, *(f"--deselect={test}" for test in group.leave_out)], place)
    load(known.loaded)
    check_control(waiting[0].module, known)
    for number, change in enumerate(waiting, 1):
        begin = time.monotonic()
        verdict = judge(change, known)
        verdicts.add(change, verdict, tests)
        spent = time.monotonic() - begin
        print(f"{number}/{len(waiting)} {change.module}:{change.line} {verdict} {spent:.1f} s", flush=True)
        if verdict in ("survived", "not covered"):
            print(f"    - {change.was}\n    + {change.now}", flush=True)


def check_control(module: str, known: Survey) -> None:
    """A module put in its own place must survive. Raises RuntimeError."""
    source = Path(module).read_text()
    same = Change(module=module, line=1, lines=(1, source.count("\n")), was="", now="", source=source)
    if judge(same, known) != "survived":
        raise RuntimeError(f"{module}: tests fail in a fork where nothing is changed")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.mutants")
    arguments.add_argument("state", type=Path)
    arguments.add_argument("--only", nargs="*", default=[])
    arguments.add_argument("--by-hand", action="store_true", help="only the changes of by_hand.toml")
    asked = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    verdicts = Verdicts(asked.state)
    try:
        for group in groups():
            judge_group(group, asked.only, verdicts, by_hand_alone=asked.by_hand)
    finally:
        begun = [group for group in groups() if verdicts.modules() & set(group.modules)]
        write_table(
            TABLE,
            [(change, verdicts.get(change)) for group in begun for change in group.changes()],
            tomllib.loads(EQUIVALENT.read_text()).get("equivalent", []),
            {name: verdicts.get(change) for name, change in changes_by_hand().items()},
        )


if __name__ == "__main__":
    sys.exit(main())
