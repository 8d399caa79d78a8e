"""The tables of README.md and docs/measured.md: `python -m idaq.catalogue.readme` writes them from the catalogue.

A table stands between `<!-- table NAME -->` and `<!-- end -->`. A strategy is bold where its paired 95% interval over
best-of-prior lies above zero, and marked where it was still in its reference stage.
"""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from idaq.catalogue.suite import BASELINES, DATA, SuiteBaselines, SuiteData, read_suite
from idaq.catalogue.suite_card import CONTROLS, emphasised, mean_shares, means_beside_published, paired, reached
from idaq.core.config import from_mapping, read_toml
from idaq.core.errors import UsageError
from idaq.core.files import read_json, write_text
from idaq.core.resources import resource_root
from idaq.evaluate.markdown import table
from idaq.evaluate.protocol import OFFLINE, REFERENCE_MARK, Report, Summary, headline, interval, number

PAGES = ("README.md", "docs/measured.md")
"""of a checkout: both hold every table"""
POINTS = ("point-robot", "point-robot-sparse", "point-robot-wind")
BODIES = tuple(
    f"{body}/{quality}"
    for body in ("cheetah-vel", "walker-rand-params", "ant-goal")
    for quality in ("medium", "expert")
)
FAMILIES = (
    "cheetah-vel",
    "cheetah-dir",
    "ant-dir",
    "ant-goal",
    "humanoid-dir",
    "walker-rand-params",
    "hopper-rand-params",
)
_EARLY = 5
_MARKED = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def point_robots(catalogue: Path) -> str:
    """Returns at the last budget on the three point robots, strategy by strategy."""
    summaries = [_summary(catalogue, f"{name}/expert") for name in POINTS]
    rows = [[f"`{name}`", *(_cell(summary, name) for summary in summaries)] for name in summaries[0].strategies]
    rows.append(["behaviour policies, same tasks", *(number(summary.behaviour) for summary in summaries)])
    rows.append(["random actions", *(number(summary.random) for summary in summaries)])
    return table(["strategy", *POINTS], rows)


def bodies(catalogue: Path) -> str:
    """Returns early and at the last budget on bodies that run, data set by data set."""
    summaries = {entry: _summary(catalogue, entry) for entry in BODIES}
    names = {headline(summary.roles) for summary in summaries.values()}
    assert len(names) == 1, names
    strategies = [*names, *(name for name in CONTROLS if name != OFFLINE)]
    last = next(iter(summaries.values())).config.episodes
    head = ["data", *(f"`{name}`, {_EARLY} / {last}" for name in strategies), f"`{OFFLINE}`", "behaviour"]
    rows = [
        [
            entry,
            *(_early_and_last(summary, name) for name in strategies),
            _last(summary, OFFLINE),
            number(summary.behaviour),
        ]
        for entry, summary in summaries.items()
    ]
    return table(head, rows)


def ml1(catalogue: Path) -> str:
    """Mean scores over sets: on our data, and beside published scores over the sets whose data agree."""
    folder = catalogue / "ml1" / "expert"
    data, learned = read_suite(SuiteData, folder / DATA).sets, read_suite(SuiteBaselines, folder / BASELINES).sets
    published = read_toml(folder.parent / "published.toml")
    names = {headline(summary.roles) for summary in learned.values()}
    assert len(names) == 1, names
    (name,) = names
    count, (_, _, *scores) = means_beside_published(reached(learned, name), data, published)
    rows = []
    for key, share in zip((name, *CONTROLS), mean_shares(learned, data), strict=True):
        ours, theirs, *_ = means_beside_published(reached(learned, key), data, published)[1]
        rows.append([f"`{key}`", *(f"{score:.2f}" for score in (share, ours, theirs))])
    for what, score in zip(("IDAQ", "FOCAL", "best of ten"), scores, strict=True):
        rows.append([f"published {what}", "", "", f"{score:.2f}"])
    head = [
        f"{len(learned)} sets, over our data's mean",
        f"{count} sets, over our data's",
        f"{count} sets, over theirs",
    ]
    return table(["strategy", *head], rows)


def families(catalogue: Path) -> str:
    """What the data of bodies that run holds, by quality, and the size of the policies that collect it."""
    rows = []
    for family in FAMILIES:
        facts = {
            quality: next(iter(read_suite(SuiteData, catalogue / family / quality / DATA).sets.values()))
            for quality in ("expert", "medium", "mixed")
        }
        weights = sum(path.stat().st_size for path in (catalogue / family / "behaviours").glob("*.safetensors"))
        expert = facts["expert"]
        returns = [number(fact.mean) for fact in facts.values()]
        rows.append(
            [f"`{family}`", str(expert.tasks), *returns, f"{expert.size / 1e6:.0f} MB", f"{weights / 1e6:.2f} MB"]
        )
    return table(["family", "tasks", "expert data", "medium", "mixed", "size of expert data", "weights"], rows)


TABLES: dict[str, Callable[[Path], str]] = {
    "point-robots": point_robots,
    "bodies": bodies,
    "ml1": ml1,
    "families": families,
}


def with_tables(text: str, catalogue: Path) -> str:
    """`text` with every marked table as the catalogue has it. Raises UsageError for a table that there is not."""

    def fill(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise UsageError(f"there is no table {found[2]!r}", hint=f"one of {', '.join(TABLES)}")
        return found[1] + TABLES[found[2]](catalogue) + found[3]

    return _MARKED.sub(fill, text)


def _summary(catalogue: Path, entry: str) -> Summary:
    path = catalogue / entry / BASELINES
    return from_mapping(Summary, read_json(path), where=str(path))


def _cell(summary: Summary, name: str) -> str:
    report = summary.strategies[name][-1]
    return f"{emphasised(_marked(report), paired(summary, name))} ({interval(report.mean)})"


def _early_and_last(summary: Summary, name: str) -> str:
    early = next(report for report in summary.strategies[name] if report.episodes == _EARLY)
    return f"{_marked(early)} / {_cell(summary, name)}"


def _last(summary: Summary, name: str) -> str:
    return number(summary.strategies[name][-1].mean.value)


def _marked(report: Report) -> str:
    return number(report.mean.value) + (REFERENCE_MARK if report.reference_stage else "")


def main(paths: Sequence[str]) -> None:
    """Write the tables into each of `paths`."""
    for path in map(Path, paths):
        write_text(path, with_tables(path.read_text(encoding="utf-8"), resource_root("datasets")))


if __name__ == "__main__":
    main(sys.argv[1:] or PAGES)
