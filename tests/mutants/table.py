"""tests/mutants.md: how many mutants of each module the tests noticed, and every one that they did not."""

from collections import Counter
from pathlib import Path

from tests.mutants.changes import Change

_HEAD = """# Mutants

`make mutants` changes the code in one place and runs the tests that reach it; a change that no test notices survives.
Every line below is a test that could be written. Equivalent mutants do what the code does, and count for neither side.

| module | mutants | killed | timeout | survived | equivalent | share |
|---|---:|---:|---:|---:|---:|---:|
"""


def write_table(
    path: Path,
    judged: list[tuple[Change, str | None]],
    equivalent: list[dict[str, str]],
    by_hand: dict[str, str | None],
) -> None:
    """Write the tables. `judged`: each mutant and its verdict; `by_hand`: verdicts of changes made by hand, by name."""
    reasons = {(known["module"], known["was"], known["now"]): known["why"] for known in equivalent}
    verdicts: dict[str, Counter[str]] = {}
    survivors: dict[str, list[tuple[int, str]]] = {}
    for change, verdict in judged:
        why = reasons.get((change.module, change.was, change.now))
        alive = verdict in ("survived", "not covered")
        counted = "equivalent" if alive and why else "survived" if alive else verdict or "not judged"
        verdicts.setdefault(change.module, Counter())[counted] += 1
        if alive:
            note = f" ({why})" if why else " (no test comes here)" if verdict == "not covered" else ""
            text = f"{change.line}: `{change.was}` → `{change.now}`{note}"
            survivors.setdefault(change.module, []).append((change.line, text))
    rows = [_row(module, verdicts[module]) for module in sorted(verdicts)]
    rows.append(_row("all", sum(verdicts.values(), Counter())))
    text = _HEAD + "\n".join(rows) + "\n\n## Changes made by hand\n\n"
    text += "".join(f"- {name}: {verdict or 'not judged'}\n" for name, verdict in by_hand.items())
    for module in sorted(survivors):
        text += f"\n## {module}\n\n" + "".join(f"- {line}\n" for _, line in sorted(survivors[module]))
    path.write_text(text)


def _row(module: str, counts: Counter[str]) -> str:
    noticed, missed = counts["killed"] + counts["timeout"], counts["survived"]
    share = f"{noticed / (noticed + missed):.1%}" if noticed + missed else ""
    judged = noticed + missed + counts["equivalent"]
    of = f"{judged} of {counts.total()}" if counts["not judged"] else f"{judged}"
    return (
        f"| {module} | {of} | {counts['killed']} | {counts['timeout']} | {missed} | {counts['equivalent']} | {share} |"
    )
