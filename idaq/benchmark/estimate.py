"""What runs will take: of a row with finished runs what these took, of another what a small one takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from idaq.adapt.run_job import RunJob
from idaq.benchmark.rows import Row
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import IdaqError
from idaq.core.files import read_json, write_json
from idaq.core.types import PlainData
from idaq.learn.loop import use_threads

STEPS = 60
"""of a probe; the second half of them is measured, for the first ones take longer"""


@config
class Probe:
    """What a small run took, in seconds of processor time: these do not depend on what else the machine does."""

    asked: PlainData
    """of which settings it was"""
    setup: float
    """all but the steps and the episodes"""
    step: float
    episode: float
    """one adaptation episode of one problem, among as many at once as a run has"""
    strategies: list[str]
    """that the agent can run, by name"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of processor time that one run takes."""

    setup: float
    step: float
    episode: float
    steps: int
    episodes: int
    measured: bool
    """whether by finished runs"""

    @property
    def total(self) -> float:
        """Of the whole run."""
        return self.after(self.steps, self.episodes) + self.setup

    def after(self, steps: int, episodes: int) -> float:
        """Of so much of it."""
        return min(steps, self.steps) * self.step + min(episodes, self.episodes) * self.episode


def probe(job: RunJob, path: Path) -> None:
    """In a worker: a few training steps and one adaptation episode, which leave nothing but times in `path`."""
    start, steps = time.process_time(), _Marks()
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        settings = {**job.train.settings, "steps": STEPS}
        replace(job.train, settings=settings, out=out).open().run(steps)
        brief = {**job.adapt.settings, "episodes": 1, "report_at": [1]}
        planned = replace(job.adapt, run=out, out=out, settings=brief).plan()
        use_threads(1)
        episodes, names = _Marks(), planned.to_run
        first = tuple(name for name in names if not planned.plan.strategies[name].uses_cross_returns)[:1]
        episodes(0)
        if first:  # one for which no training task is played
            replace(planned, to_run=first).run(episodes)
    measured = Probe(
        asked=job.asked,
        setup=time.process_time() - start - steps.spent - episodes.spent,
        step=steps.each(),
        episode=episodes.spent / max(1, sum(episodes.counts)),
        strategies=list(planned.to_run),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, to_mapping(measured))


def read_probe(job: RunJob, path: Path) -> Probe | None:
    """What a probe of this job took; None where there was none of the same settings."""
    try:
        there = from_mapping(Probe, read_json(path), where=str(path))
    except (OSError, IdaqError):
        return None
    return there if there.asked == job.asked else None


def cost(row: Row, probed: Probe | None) -> Cost | None:
    """Of a run of a row; None where nothing is known."""
    records = [record for job in row.jobs.values() if (record := job.finished()) and record.state == "finished"]
    if records:
        episodes = max(record.adapt.count for record in records)
        return Cost(
            setup=_mean([r.train.cpu + r.adapt.cpu - r.train.counting - r.adapt.counting for r in records]),
            step=_mean([r.train.counting / max(1, row.config.steps) for r in records]),
            episode=_mean([r.adapt.counting / max(1, episodes) for r in records]),
            steps=row.config.steps,
            episodes=episodes,
            measured=True,
        )
    if probed is None:
        return None
    return Cost(
        setup=probed.setup,
        step=probed.step,
        episode=probed.episode,
        steps=row.config.steps,
        episodes=row.episodes(probed.strategies),
        measured=False,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class _Marks:
    """An `Advance` that notes when it was called; the first call says what was there before."""

    def __init__(self) -> None:
        self.times, self.counts = list[float](), list[int]()

    def __call__(self, count: int) -> None:
        self.times.append(time.process_time())
        self.counts.append(count if len(self.times) > 1 else 0)

    @property
    def spent(self) -> float:
        """Seconds between the first call and the last."""
        return self.times[-1] - self.times[0]

    def each(self) -> float:
        """Seconds between two calls, by the second half of them."""
        half = len(self.times) // 2
        return (self.times[-1] - self.times[half]) / max(1, len(self.times) - 1 - half)
