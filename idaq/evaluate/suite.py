"""Many sets with one recipe: what is known of each set's data and of agents learned from it, and the card of them all.

A score is a return divided by the dataset's mean return, as the literature on Meta-World ML1 reports it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from idaq.core.config import config, from_mapping, read_toml, to_mapping
from idaq.core.files import read_json, write_json, write_text
from idaq.evaluate.protocol import Summary, number
from idaq.evaluate.statistics import LEVEL
from idaq.format.documents import mean_random
from idaq.format.reader import StoredDataset

DATA, BASELINES = "data.json", "baselines.json"
STRATEGIES = ("idaq-return", "best-of-prior", "posterior", "oracle")
PUBLISHED = ("idaq", "focal", "best")


@config
class SetData:
    """What is in the dataset of one set."""

    dataset_id: str
    family: str
    settings: list[str] = Field(default_factory=list)
    """changes to the catalogue's recipe, key=value"""
    content_digest: str
    tasks: Annotated[int, Field(ge=1)]
    episodes: Annotated[int, Field(ge=1)]
    steps: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=1)]
    """bytes of its HDF5"""
    mean: float
    """of the episodes' returns"""
    std: float
    minimum: float
    maximum: float
    success: float | None
    """share of episodes that solve their task, of those of which it is known"""
    random: float | None
    """mean return of random actions, where it was measured"""


@config
class SuiteData:
    """data.json: the datasets of a suite's sets, by name."""

    suite_version: Literal[1] = 1
    sets: dict[str, SetData] = Field(default_factory=dict)


@config
class SuiteBaselines:
    """baselines.json of a suite: a summary for each set, by name."""

    suite_version: Literal[1] = 1
    sets: dict[str, Summary] = Field(default_factory=dict)


Document = TypeVar("Document", SuiteData, SuiteBaselines)


def describe(stored: StoredDataset, settings: Sequence[str] = ()) -> SetData:
    """Figures of a stored dataset, collected with `settings`."""
    returns, manifest = stored.episodes.total_reward, stored.manifest
    return SetData(
        dataset_id=manifest.dataset_id,
        family=manifest.family,
        settings=list(settings),
        content_digest=manifest.content_digest,
        tasks=manifest.counts.tasks,
        episodes=manifest.counts.episodes,
        steps=manifest.counts.steps,
        size=stored.hdf5.stat().st_size,
        mean=float(returns.mean()),
        std=float(returns.std()),
        minimum=float(returns.min()),
        maximum=float(returns.max()),
        success=stored.episodes.success_rate(),
        random=mean_random(stored.tasks),
    )


def read_suite(cls: type[Document], path: Path) -> Document:
    """A suite's document, or an empty one. Raises ConfigError for a damaged one."""
    return from_mapping(cls, read_json(path), where=str(path)) if path.exists() else cls()


def put(path: Path, cls: type[Document], name: str, value: Any) -> None:
    """Add or replace one set in a suite's document, atomically."""
    sets = {**read_suite(cls, path).sets, name: value}
    write_json(path, to_mapping(cls(sets={key: sets[key] for key in sorted(sets)})))


def write_suite_card(folder: Path, title: str) -> None:
    """card.md of a suite's quality level, from its data.json, baselines.json, diagnosis.toml and the suite's
    published.toml."""
    data = read_suite(SuiteData, folder / DATA).sets
    summaries = read_suite(SuiteBaselines, folder / BASELINES).sets
    published = folder.parent / "published.toml"
    diagnosis = folder / "diagnosis.toml"
    text = suite_card(
        title,
        data,
        summaries,
        published=read_toml(published) if published.exists() else {},
        diagnosis=read_toml(diagnosis) if diagnosis.exists() else {},
    )
    write_text(folder / "card.md", text)


def suite_card(
    title: str,
    data: Mapping[str, SetData],
    summaries: Mapping[str, Summary],
    *,
    published: Mapping[str, Any],
    diagnosis: Mapping[str, str],
) -> str:
    """Markdown: scores beside the published ones, why some are lower, then what each dataset holds."""
    parts = [f"# {title}\n"]
    learned = {name: summary for name, summary in summaries.items() if name in data}
    if learned:
        parts += [_scores_text(learned), _scores_table(learned, data, published)]
        parts += [f"- **{name}**: {diagnosis[name]}" for name in learned if name in diagnosis] + [""]
    parts += [_DATA_TEXT, _data_table(data)]
    return "\n".join(parts)


_DATA_TEXT = """## Data

Returns of the collected episodes. `idaq dataset verify` checks a copy against its content digest, whose first twelve
characters stand here. Sets of fewer episodes than others are samples: a few episodes of every task.
"""


def _scores_text(summaries: Mapping[str, Summary]) -> str:
    first = next(iter(summaries.values()))
    return f"""## Adaptation

Mean return of fresh episodes after {first.config.episodes} online episodes on each of {first.measured.tasks} test
tasks, divided by the dataset's mean return; the interval is the {LEVEL:.0%} one over training seeds and tasks. `idaq`
is `idaq-return`, `prior` is `best-of-prior`. Success is the share of fresh `idaq` episodes that solve their task.
`behaviour` is what the policy that made the data earned on these very tasks; they may pay more or less than all.
`data` is the best single episode of the dataset, of any task: what lies above it, no data shows.
Published: IDAQ, FOCAL online, and the best of ten methods, on their own data.
"""


def _scores_table(summaries: Mapping[str, Summary], data: Mapping[str, SetData], published: Mapping[str, Any]) -> str:
    head = [
        "set",
        "seeds",
        "idaq",
        "interval",
        "success",
        "prior",
        "posterior",
        "oracle",
        "behaviour",
        "data",
        "IDAQ",
        "FOCAL",
        "best",
    ]
    known = published.get("sets", {})
    rows, ours = [], []
    for name, summary in summaries.items():
        last = {strategy: summary.strategies[strategy][-1] for strategy in STRATEGIES if strategy in summary.strategies}
        score = {strategy: report.mean.value / data[name].mean for strategy, report in last.items()}
        method = last[STRATEGIES[0]]
        ours.append([score.get(strategy, np.nan) for strategy in STRATEGIES])
        low, high = method.mean.low / data[name].mean, method.mean.high / data[name].mean
        theirs = [f"{known[name][key]:.2f}" if name in known else "" for key in PUBLISHED]
        offline = [f"{value / data[name].mean:.2f}" for value in (summary.behaviour, data[name].maximum)]
        cells = [f"{score[s]:.2f}" if s in score else "" for s in STRATEGIES]
        rows.append([name, str(summary.measured.runs), cells[0], f"{low:.2f} to {high:.2f}",
                     f"{method.success.value:.0%}", *cells[1:], *offline, *theirs])  # fmt: skip
    means = [f"{value:.2f}" for value in np.array(ours).mean(0)]
    theirs = [f"{published['mean'][key]:.2f}" if "mean" in published else "" for key in PUBLISHED]
    rows.append([f"mean of {len(ours)}", "", f"**{means[0]}**", "", "", *means[1:], "", "", *theirs])
    return table(head, rows)


def _data_table(data: Mapping[str, SetData]) -> str:
    head = ["set", "episodes", "return", "std", "range", "success", "random", "digest"]
    rows = [
        [name, str(facts.episodes), number(facts.mean), number(facts.std),
         f"{number(facts.minimum)} to {number(facts.maximum)}", percent(facts.success),
         "-" if facts.random is None else number(facts.random), facts.content_digest[:12]]
        for name, facts in data.items()
    ]  # fmt: skip
    return table(head, rows)


def percent(share: float | None) -> str:
    """A share as people read it; `unknown` for None."""
    return "unknown" if share is None else f"{share:.0%}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *rows])
