"""idaq adapt --env: one environment of the user's own, stepped from outside."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idaq.core.errors import UsageError

from .output import if_interrupted, print_json, print_table, progress, say

if TYPE_CHECKING:
    from idaq.adapt.system_run import SystemRecord, SystemRun
    from idaq.tasks.systems import PlayedEpisode

_COLUMNS = ["stage", "episode", "return", "steps", "end", "success"]


@dataclass(frozen=True, kw_only=True)
class EnvAsked:
    """What the options ask for."""

    env: str
    env_args: Sequence[str]
    max_steps: int | None
    fresh: int
    names: list[str] | None
    settings: Sequence[str]
    force: bool
    video: bool
    trusted: Sequence[str]
    device: str


def adapt_env(run: Path, out: Path | None, asked: EnvAsked, as_json: bool) -> None:
    """Adapt a run's agent to an environment; print returns, write the policy and the report."""
    from idaq.adapt.system_run import POLICY_FOLDER
    from idaq.core.config import to_mapping
    from idaq.evaluate.system_report import episode_rows, system_verdict, write_system_report

    target = out or run / f"env-{re.sub('[^a-z0-9]+', '-', asked.env.lower()).strip('-')}"
    planned = _planned(run, target, asked)
    kept = len(planned.session.episodes)
    say(
        f"{target}: {kept} of {planned.session.budget} episodes are recorded" if kept else f"{target}: begins", err=True
    )
    with if_interrupted(lambda: _kept(planned)):
        record = _played(planned, asked.env)
        written = [path for path in (target / POLICY_FOLDER,) if path.is_dir()]
        written.append(write_system_report(record, target / "report.html", _command()))
        if asked.video:
            written.append(_film(planned, target))
    if as_json:
        print_json({**to_mapping(record), "out": str(target), "written": [str(path) for path in written]})
        return
    print_table(f"Episodes on {asked.env}", _COLUMNS, episode_rows(record))
    say(*(f"note: {note}" for note in record.notes), system_verdict(record), *map(str, written))


def _planned(run: Path, target: Path, asked: EnvAsked) -> "SystemRun":
    from idaq.adapt.config import AdaptConfig
    from idaq.adapt.strategy import adaptation_plan, default_strategy
    from idaq.adapt.system_run import SystemSettings, start_system
    from idaq.core.config import override, to_mapping
    from idaq.learn.checkpoint import load_agent
    from idaq.learn.run import run_tasks

    agent, tasks = load_agent(run, asked.device, allow=asked.trusted), run_tasks(run)
    names = asked.names or [default_strategy(agent)]
    if len(names) > 1:
        raise UsageError("one system is adapted to by one strategy", hint=f"--strategies {names[0]}")
    if not asked.names:
        say(f"strategy {names[0]}; --strategies names another", err=True)
    given: Mapping[str, Any] = override({}, asked.settings)
    defaults: Mapping[str, Any] = tasks.adapt if tasks is not None else {}
    budget = {"episodes": AdaptConfig().episodes, **defaults, **given}["episodes"]
    plan = adaptation_plan(names, given, {**defaults, "report_at": [budget]}, allow=asked.trusted)
    strategy = plan.strategies[names[0]]
    settings = SystemSettings(
        env=asked.env,
        env_settings=override({}, asked.env_args),
        max_steps=asked.max_steps,
        strategy=names[0],
        settings=to_mapping(strategy),
        episodes=plan.config.episodes,
        fresh=asked.fresh,
        seed=plan.config.seed,
    )
    return start_system(target, agent, strategy, settings, force=asked.force)


def _played(planned: "SystemRun", env: str) -> "SystemRecord":
    fresh = max(0, planned.settings.fresh - len(planned.fresh))
    left = planned.session.budget - len(planned.session.episodes) + fresh
    with progress(f"adapting to {env}", left, "episodes") as advance:

        def each(stage: str, episode: "PlayedEpisode") -> None:
            advance(1)
            number = len(planned.session.episodes) if stage == "adapt" else f"fresh {len(planned.fresh)}"
            say(f"episode {number}: return {episode.total_reward:.3f}, {len(episode)} steps", err=True)

        return planned.run(each)


def _film(planned: "SystemRun", out: Path) -> Path:
    from idaq.evaluate.video import VIDEO_FILE, film_system, write_video
    from idaq.tasks.systems import make_env

    settings = planned.settings
    env = make_env(settings.env, settings.env_settings, render_mode="rgb_array")
    write_video([film_system(env, planned.session.deploy(), settings.max_steps)], out / VIDEO_FILE)
    return out / VIDEO_FILE


def _kept(planned: "SystemRun") -> str:
    there = f"{len(planned.session.episodes)} of {planned.session.budget} episodes are kept in {planned.out}"
    return f"{there}; this resumes: {_command()}"


def _command() -> str:
    return shlex.join(["idaq", *sys.argv[1:]])
