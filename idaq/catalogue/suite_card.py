"""card.md of a suite: what agents reached on each set, what the literature reports of them, and what the data holds.

A score is a return divided by a dataset's mean return, as the literature on Meta-World ML1 reports it. Ours and theirs
are divided by different data: published scores stand beside both quotients, and a mean over sets takes the same sets on
either side, those whose data agree.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idaq.catalogue.suite import BASELINES, DATA, SetData, SuiteBaselines, SuiteData, read_suite
from idaq.core.config import read_toml
from idaq.core.files import write_text
from idaq.evaluate.markdown import percent, table
from idaq.evaluate.protocol import METHOD, OFFLINE, PRIOR, Summary, headline, interval, number, solved, steering_note
from idaq.evaluate.statistics import LEVEL, Estimate

CONTROLS = (PRIOR, "random-first", "posterior", OFFLINE)
PUBLISHED = ("idaq", "focal", "best")
AGREE = 0.15
"""data whose mean returns differ by more than this share are not the same data"""
_SOLVED = 0.9


def write_suite_card(folder: Path, title: str) -> None:
    """card.md of a suite's quality level, from its data.json, baselines.json and diagnosis.toml, the suite's
    published.toml and notes.md, and the data.json of its other quality levels."""
    published, diagnosis, notes = (
        folder.parent / "published.toml",
        folder / "diagnosis.toml",
        folder.parent / "notes.md",
    )
    text = suite_card(
        title,
        read_suite(SuiteData, folder / DATA).sets,
        read_suite(SuiteBaselines, folder / BASELINES).sets,
        published=read_toml(published) if published.exists() else {},
        diagnosis=read_toml(diagnosis) if diagnosis.exists() else {},
        notes=notes.read_text(encoding="utf-8") if notes.exists() else None,
        others={path.parent.name: read_suite(SuiteData, path).sets for path in sorted(folder.parent.glob(f"*/{DATA}"))},
    )
    write_text(folder / "card.md", text)


def suite_card(
    title: str,
    data: Mapping[str, SetData],
    summaries: Mapping[str, Summary],
    *,
    published: Mapping[str, Any],
    diagnosis: Mapping[str, str],
    notes: str | None = None,
    others: Mapping[str, Mapping[str, SetData]] | None = None,
) -> str:
    """Markdown: scores, published ones beside them, why some are lower, then what each dataset holds.

    `others` is the data of all quality levels, by level.
    """
    parts: list[str | None] = [f"# {title}\n"]
    learned = {name: summary for name, summary in summaries.items() if name in data}
    if learned:
        parts += [_scores_text(learned), scores_table(learned, data)]
        parts.append(_no_steering(learned))
    beside = {name: summary for name, summary in learned.items() if name in published.get("sets", {})}
    if beside:
        parts += [_PUBLISHED_TEXT, published_table(reached(beside), data, published)]
    parts += [f"- **{name}**: {diagnosis[name]}" for name in learned if name in diagnosis] + [""]
    parts += [_no_experts(data, published, others or {}), notes, _DATA_TEXT, _data_table(data)]
    return "\n".join(part for part in parts if part is not None)


def scores_table(summaries: Mapping[str, Summary], data: Mapping[str, SetData]) -> str:
    """Returns divided by our own data's mean; a mean over all sets below. Bold: ahead of best-of-prior by the paired
    interval."""
    names = {headline(summary.roles) for summary in summaries.values()}
    searching = names.pop() if len(names) == 1 else "headline"
    head = ["set", "seeds", "return", "interval", searching, f"minus {PRIOR}", "success", *CONTROLS, "behaviour"]
    rows = [_scores_row(name, summary, data[name]) for name, summary in summaries.items()]
    ours, *controls = (f"{value:.2f}" for value in mean_shares(summaries, data))
    rows.append([f"mean of {len(rows)}", "", "", "", ours, "", "", *controls, "", ""])
    return table([*head, "best episode"], rows)


def mean_shares(summaries: Mapping[str, Summary], data: Mapping[str, SetData]) -> list[float]:
    """Mean over the sets of the returns divided by our data's mean: the headline strategy's, then the controls'."""
    shares = [
        [_share(summary, key, data[name].mean) for key in (headline(summary.roles), *CONTROLS)]
        for name, summary in summaries.items()
    ]
    return np.array(shares).mean(0).tolist()


def _scores_row(name: str, summary: Summary, data: SetData) -> list[str]:
    strategy = headline(summary.roles)
    last, over = summary.strategies[strategy][-1], paired(summary, strategy)
    controls = [f"{_share(summary, key, data.mean):.2f}" if key in summary.strategies else "" for key in CONTROLS]
    return [
        name,
        str(summary.measured.runs),
        number(last.mean.value),
        interval(last.mean),
        emphasised(f"{last.mean.value / data.mean:.2f}", over),
        "unknown" if over is None else f"{number(over.value)} ({interval(over)})",
        solved(last),
        *controls,
        f"{summary.behaviour / data.mean:.2f}",
        f"{data.maximum / data.mean:.2f}",
    ]


def _share(summary: Summary, strategy: str, mean: float) -> float:
    reports = summary.strategies.get(strategy)
    return reports[-1].mean.value / mean if reports else float("nan")


def reached(summaries: Mapping[str, Summary], strategy: str = "") -> dict[str, float]:
    """Mean returns of a strategy (default: each summary's headline) at the last report, by set."""
    return {
        name: summary.strategies[strategy or headline(summary.roles)][-1].mean.value
        for name, summary in summaries.items()
    }


def published_table(returns: Mapping[str, float], data: Mapping[str, SetData], published: Mapping[str, Any]) -> str:
    """Returns of sets over either dataset's mean beside the published scores; means over the sets whose data agree."""
    head = ["set", "return", "our data", "their data", "return / ours", "return / theirs", "IDAQ", "FOCAL"]
    rows = []
    for name, value in returns.items():
        ours, theirs = data[name].mean, published.get("data", {}).get(name, float("nan"))
        scores = _beside(name, value, data, published)
        cells = [number(value), number(ours), number(theirs), *(f"{score:.2f}" for score in scores)]
        known = ["unknown" if cell == "nan" else cell for cell in cells]
        rows.append([name, *known, "" if agrees(name, data, published) else "data differ"])
    count, means = means_beside_published(returns, data, published)
    if count:
        rows.append([f"mean of the {count} whose data agree", "", "", "", *(f"{mean:.2f}" for mean in means), ""])
    return table([*head, "best of ten", ""], rows)


def means_beside_published(
    returns: Mapping[str, float], data: Mapping[str, SetData], published: Mapping[str, Any]
) -> tuple[int, list[float]]:
    """How many sets have published scores on data that agrees with ours, and means over them: the return over our
    data's mean, over theirs, and the published scores."""
    scores = [
        _beside(name, value, data, published)
        for name, value in returns.items()
        if name in published.get("sets", {}) and agrees(name, data, published)
    ]
    return len(scores), np.array(scores).mean(0).tolist() if scores else []


def _beside(name: str, value: float, data: Mapping[str, SetData], published: Mapping[str, Any]) -> list[float]:
    theirs = published.get("data", {}).get(name, float("nan"))
    return [value / data[name].mean, value / theirs, *(published["sets"][name][key] for key in PUBLISHED)]


def agrees(name: str, data: Mapping[str, SetData], published: Mapping[str, Any]) -> bool:
    """Whether a set's data and the published have about the same mean return."""
    theirs = published.get("data", {}).get(name)
    return theirs is not None and abs(data[name].mean / theirs - 1) <= AGREE


def paired(summary: Summary, strategy: str) -> Estimate | None:
    """The paired difference of returns to best-of-prior's at the last report; None where it was not kept."""
    over, lead = summary.strategies[strategy][-1].over_prior, summary.lead
    if over is None and lead is not None and (lead.strategy, lead.rival) == (strategy, PRIOR):
        return lead.difference
    return over


def emphasised(text: str, over: Estimate | None) -> str:
    """Bold where the paired interval lies above zero."""
    return f"**{text}**" if over is not None and over.low > 0 else text


def _scores_text(summaries: Mapping[str, Summary]) -> str:
    first = next(iter(summaries.values()))
    missing = "" if METHOD in first.strategies else f" `{METHOD}` has not been run on these sets yet."
    return f"""## Adaptation

Mean return of fresh episodes after {first.config.episodes} online episodes on each of {first.measured.tasks} test tasks
by the strategy named in the fifth column, and its {LEVEL:.0%} interval over training seeds and tasks. That column and
the later ones, success apart, are returns divided by our dataset's mean return. `minus {PRIOR}` is the difference of
returns, paired by run and task; bold where its interval lies above zero. Success is the share of fresh episodes that
solve their task. `{OFFLINE}` is given each test task's offline data: a reference, not a bound. `behaviour` is what the
policy that made the data earned on these very tasks; `best episode` is the best of the dataset, of any task.{missing}
"""


def _no_steering(summaries: Mapping[str, Summary]) -> str | None:
    """On which sets the belief from the test task's own data loses to a search without belief."""
    names = [name for name, summary in summaries.items() if steering_note(summary) is not None]
    if not names:
        return None
    return (
        f"**Where the latent may not steer.** On these sets `{OFFLINE}` loses to `{PRIOR}`, by the paired"
        f" interval, or by the means where no interval was kept: {', '.join(names)}.\n"
    )


_PUBLISHED_TEXT = f"""## Beside published results

The literature divides returns by the mean of its own data, which nobody here has but for its mean. Both quotients stand
here. Where the two datasets' means differ by more than {AGREE:.0%} the scores are of different data: such rows are
marked, and left out of the means, which are over the same rows on both sides. IDAQ, FOCAL online and the best of ten
methods are as published: their seeds, their networks, their Meta-World.
"""

_DATA_TEXT = """## Data

Returns of the collected episodes. `idaq dataset verify` checks a copy against its content digest, whose first twelve
characters stand here. Sets of fewer episodes than others are samples: a few episodes of every task.
"""


def _no_experts(
    data: Mapping[str, SetData], published: Mapping[str, Any], others: Mapping[str, Mapping[str, SetData]]
) -> str | None:
    """Which sets' behaviour policy solves its tasks and still earns less than the published data: it is no expert."""
    theirs = published.get("data", {})
    short = [
        f"{name} ({number(facts.mean)} of {number(theirs[name])})"
        for name, facts in data.items()
        if name in theirs and facts.mean < (1 - AGREE) * theirs[name] and (facts.success or 0) >= _SOLVED
    ]
    if not short:
        return None
    return (
        f"**Where the scripted policy is no expert.** On these sets it solves at least {_SOLVED:.0%} of its episodes"
        f" and earns less than {1 - AGREE:.0%} of the published data's mean: {', '.join(short)}. A score above 1 there"
        f" says little.{_better(data, others)}\n"
    )


def _better(data: Mapping[str, SetData], others: Mapping[str, Mapping[str, SetData]]) -> str:
    """A sentence for each quality level whose data earn more."""
    said = ""
    for quality, sets in others.items():
        more = {name: facts for name, facts in sets.items() if name in data and facts.mean > data[name].mean}
        if more:
            means = ", ".join(f"{name} ({number(facts.mean)})" for name, facts in more.items())
            said += f" The quality `{quality}` has data that earn more: {means}."
    return said


def _data_table(data: Mapping[str, SetData]) -> str:
    head = ["set", "episodes", "return", "std", "range", "success", "random", "digest"]
    rows = [
        [name, str(facts.episodes), number(facts.mean), number(facts.std),
         f"{number(facts.minimum)} to {number(facts.maximum)}", percent(facts.success),
         "unknown" if facts.random is None else number(facts.random), facts.content_digest[:12]]
        for name, facts in data.items()
    ]  # fmt: skip
    return table(head, rows)
