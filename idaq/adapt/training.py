"""A training as a user asks for it, by names, so that it can be sent to another process; it validates by adapting."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from idaq.adapt.uses import uses_of_opened
from idaq.adapt.validation import validator
from idaq.core.errors import UsageError
from idaq.core.metrics import read_metrics, steps_logged
from idaq.core.types import Advance, ignore_progress
from idaq.learn.checkpoint import checkpoints, step_of
from idaq.learn.config import TrainConfig, algorithm_of, settings_for, training_config
from idaq.learn.loggers import OnMetrics
from idaq.learn.loop import train
from idaq.learn.validation import Validate, Validations
from idaq.loader import Dataset, open_dataset


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What there is to tell of a run."""

    run: Path
    steps: int
    """behind the last checkpoint"""
    resumed_at: int
    best_at: int | None
    """steps behind the agent, that of the best validation; None without validation"""
    best_return: float | None
    """of that validation"""
    early: bool
    """whether patience ran out before all steps were done"""


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What to train."""

    dataset: str
    """id, path or URL"""
    settings: Mapping[str, Any]
    """the user's; the others are those of the dataset's recipe"""
    out: Path | None = None
    """run directory; None = runs/<dataset>-seed<seed>"""
    root: Path | None = None
    device: str | None = None
    log: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def open(self) -> "Training":
        """Open the dataset, and check settings and validation. Raises what these raise."""
        dataset = open_dataset(self.dataset, self.root)
        defaults = dataset.manifest.recipe.train if dataset.manifest else {}
        config = training_config(self.settings, defaults, allow=self.allow)
        notes = list[str]()
        kept = settings_for(config.algorithm, defaults)
        if left_out := [name for name in defaults if name not in kept and name != "algorithm"]:
            said = f"{config.algorithm} takes {', '.join(kept) or 'none of them'}, and not {', '.join(left_out)}"
            notes.append(f"the recipe's training settings are of {algorithm_of(defaults)}: {said}")
        known = uses_of_opened(dataset)
        notes += [f"{dataset.dataset_id} {known.adapt_line()}"] if known.adapt else []
        return Training(
            job=self,
            out=self.out or Path("runs") / f"{dataset.dataset_id.replace('/', '-')}-seed{config.seed}",
            dataset=dataset,
            config=config,
            validate=validator(dataset, config, allow=self.allow),
            notes=tuple(notes),
        )

    def run(self) -> TrainedRun:
        """The whole of it, in a worker."""
        return self.open().run()


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training whose dataset is open."""

    job: TrainJob
    out: Path
    dataset: Dataset
    config: TrainConfig
    validate: Validate | None
    notes: tuple[str, ...]
    """what of the recipe is not taken, and what the agent cannot be used for"""

    def run(
        self, progress: Advance = ignore_progress, on_metrics: OnMetrics = lambda _step, _values: None
    ) -> TrainedRun:
        """Train, or resume; raises as `train`."""
        done = train(
            self.dataset,
            self.config,
            self.out,
            progress=progress,
            on_metrics=on_metrics,
            device=self.job.device,
            log=self.job.log,
            validate=self.validate,
        )
        return TrainedRun(
            run=self.out,
            steps=done.stopped_at,
            resumed_at=done.resumed_at,
            best_at=done.best_at,
            best_return=dict(Validations.read(self.config, read_metrics(self.out)).returns).get(done.best_at or 0),
            early=done.stopped_at < self.config.steps,
        )

    def steps_done(self) -> int:
        """As the run directory tells, whichever process is training into it."""
        return max([steps_logged(self.out), *map(step_of, checkpoints(self.out))])


@dataclass(frozen=True, kw_only=True)
class Combination:
    """One value of each setting that is varied."""

    settings: tuple[str, ...]
    """key=value, as `--set` takes them"""

    @property
    def name(self) -> str:
        """As a folder is named."""
        return re.sub("[^A-Za-z0-9._=+-]+", "-", "-".join(self.settings))


def combinations(vary: Iterable[str]) -> list[Combination]:
    """Every value of each `key=a,b,c` with every value of the others; commas in brackets and quotes are the value's.

    Raises UsageError for what is not of that form, a key given twice, or two combinations of one name.
    """
    columns = dict[str, list[str]]()
    for text in vary:
        key, _, values = text.partition("=")
        pieces = [piece.strip() for piece in re.findall(r"""(?:[^,\["]|\[[^]]*\]|"[^"]*")+""", values)]
        if not (key.strip() and all(pieces) and pieces) or key in columns:
            raise UsageError(f"--vary {text!r} is not understood", hint="--vary learner.alpha=1,2,4, each key once")
        columns[key] = [f"{key}={piece}" for piece in pieces]
    found = [Combination(settings=chosen) for chosen in product(*columns.values())]
    if len({one.name for one in found}) < len(found):
        raise UsageError("two combinations would have one folder", hint="give each value once")
    return found
