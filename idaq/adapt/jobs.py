"""An adaptation as a user asks for it, by names: it can be sent to another process or machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idaq.adapt.results import RESULTS, Results, read_results
from idaq.adapt.run import Adaptation, load_run, resume_adaptation
from idaq.adapt.strategy import adaptation_plan
from idaq.adapt.trace import STRATEGY, has_trace
from idaq.core.config import merge, to_mapping
from idaq.learn.loop import use_threads
from idaq.tasks import find_family


@dataclass(frozen=True, kw_only=True)
class AdaptJob:
    """What to adapt, and with what."""

    run: Path
    out: Path
    """where results are written; the run itself as a rule"""
    names: tuple[str, ...] | None = None
    """of strategies; None = all built-in ones that can"""
    able: bool = False
    """whether of those named, too, what the agent cannot run is left out"""
    settings: Mapping[str, Any]
    """the user's; the others are those of the dataset's recipe"""
    root: Path | None = None
    device: str = "cpu"
    traced: bool = False
    """whether it will be filmed: settings are those of what is there, and the filmed strategy is traced"""
    force: bool = False
    allow: tuple[str, ...] = ()

    def plan(self, tell: Callable[[str], object] = lambda _note: None) -> Adaptation:
        """What is there and what is to be run; `tell` is given what is missing or left out. Raises as `load_run`."""
        trained = load_run(self.run, self.root, allow=self.allow, device=self.device)
        defaults = trained.defaults
        for note in trained.notes:
            tell(note)
        if self.traced and not self.settings and not self.force and (self.out / RESULTS).exists():
            there = read_results(self.out)
            own = {STRATEGY: there.strategies[STRATEGY].settings} if STRATEGY in there.strategies else {}
            defaults = merge(defaults, {**to_mapping(there.config), **own})
        chosen = adaptation_plan(self.names, self.settings, defaults, allow=self.allow)
        if self.names is None or self.able:
            chosen, left_out = trained.able(chosen)
            for note in left_out:
                tell(note)
        again = set(chosen.strategies) if self.force else {STRATEGY} if self.traced and not has_trace(self.out) else ()
        planned = resume_adaptation(
            self.out, trained.agent, trained.data, chosen, run=self.run, again=again, force=self.force, allow=self.allow
        )
        if planned.to_run:
            find_family(planned.family, self.allow)  # said before anything is started
        return planned

    def adapt(self) -> Results:
        """The whole of it, in a worker."""
        planned = self.plan()
        use_threads(planned.plan.config.threads)
        return planned.run()
