"""Adapt to a user's own environment into a folder: a session, resumed where it was stopped, and what came of it.

The folder holds `adaptation.session`, `system.json`, and, once it is finished, `policy/`.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import gymnasium as gym
import numpy as np
from filelock import FileLock, Timeout
from pydantic import Field

from idaq.adapt.live import misfit
from idaq.adapt.session import Session
from idaq.adapt.strategy import Strategy
from idaq.core.config import config, from_mapping, to_mapping
from idaq.core.errors import ConfigError, CorruptDatasetError, DeployError, PluginError, RunError, UsageError
from idaq.core.files import read_json, write_json
from idaq.core.outside import raised_as
from idaq.core.seeds import episode_seed
from idaq.core.types import AtLeastOne, Doubles, PlainData, Sha256, VersionOne
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import weights_digest
from idaq.learn.run import differences
from idaq.tasks.systems import Env, PlayedEpisode, make_env, run_episode

SESSION, SYSTEM, POLICY_FOLDER, LOCK = "adaptation.session", "system.json", "policy", ".system.lock"
_FRESH = 1_000_000  # fresh episodes take their seeds from beyond the adaptation episodes
_AMONG_TASKS = (0, 0)  # a system is one task with one seed


@config
class SystemSettings:
    """What is adapted to, and how."""

    env: str
    """a Gymnasium id, or `package.module:thing`"""
    env_settings: PlainData = Field(default_factory=dict[str, Any])
    """its keyword arguments"""
    max_steps: AtLeastOne | None = None
    """an episode is cut (truncated) here; None leaves it to the environment"""
    strategy: str
    settings: PlainData
    """of the strategy"""
    episodes: AtLeastOne
    """the budget"""
    fresh: Annotated[int, Field(ge=0)] = 3
    """episodes of the deployed policy, from which nothing is learned"""
    seed: Annotated[int, Field(ge=0)] = 0


@config
class Outcome:
    """One episode."""

    total_reward: float
    """its return, undiscounted"""
    steps: AtLeastOne
    terminated: bool
    success: bool | None
    """None where the environment never says"""
    seed: int | None


@config
class SystemRecord:
    """system.json: the adaptation of one system."""

    system_version: VersionOne = 1
    agent_digest: Sha256
    algorithm: str
    settings: SystemSettings
    reference: Annotated[int, Field(ge=0)]
    """episodes at the beginning that draw from the prior alone"""
    notes: list[str]
    """what was assumed"""
    episodes: list[Outcome]
    """adaptation, in order"""
    fresh: list[Outcome]
    """of the deployed policy"""


@dataclass(kw_only=True)
class SystemRun:
    """One environment, one session, one folder, which is locked until it has run."""

    out: Path
    env: Env
    session: Session
    settings: SystemSettings
    notes: list[str]
    fresh: list[Outcome]
    """of the deployed policy, so far"""
    lock: FileLock

    def run(self, each: Callable[[str, PlayedEpisode], object]) -> SystemRecord:
        """Play what is left of the budget, then fresh episodes; `each` is told a stage (adapt, fresh) and its episode.

        Every episode is kept as soon as it ends, and the environment is closed. Raises RunError for an environment that
        fails, NonFiniteError for NaN.
        """
        with self.lock:
            self.lock.release()  # that of `start_system`
            try:
                with raised_as(RunError, f"the environment {self.settings.env}"):
                    self._adapt(each)
                    self._save_policy()
                    self._play_fresh(each)
            finally:
                _close(self.env, self.notes)
            return self.write()

    def write(self) -> SystemRecord:
        """What is known so far, into system.json."""
        record = self.record()
        write_json(self.out / SYSTEM, to_mapping(record))
        return record

    def _adapt(self, each: Callable[[str, PlayedEpisode], object]) -> None:
        while not self.session.done:
            policy = self.session.next_policy()
            episode = self._play(policy, len(self.session.episodes))
            self.session.record(episode)
            self.session.save(self.out / SESSION)
            each("adapt", episode)

    def _play_fresh(self, each: Callable[[str, PlayedEpisode], object]) -> None:
        while len(self.fresh) < self.settings.fresh:
            episode = self._play(self.session.deploy(), _FRESH + len(self.fresh))
            self.fresh.append(_outcome(episode))
            self.write()
            each("fresh", episode)

    def record(self) -> SystemRecord:
        """What is known so far."""
        return SystemRecord(
            agent_digest=weights_digest(self.session.agent),
            algorithm=self.session.agent.config.algorithm,
            settings=self.settings,
            reference=self.session.strategy.reference_stage(self.session.budget),
            notes=[*self.notes, *(note for note in self.session.notes if note not in self.notes)],
            episodes=[_outcome(episode) for episode in self.session.episodes],
            fresh=self.fresh,
        )

    def _save_policy(self) -> None:
        """The deployed policy, where it can leave; why it cannot is noted."""
        try:
            self.session.deploy().save(self.out / POLICY_FOLDER, force=True)
        except DeployError as error:
            self.notes.append(f"no policy folder is written: {error.message}")

    def _play(self, policy: Any, number: int) -> PlayedEpisode:
        seed = episode_seed(self.settings.seed, *_AMONG_TASKS, number) % 2**32  # what many simulators take
        return run_episode(self.env, policy, seed=seed, max_steps=self.settings.max_steps)


def start_system(
    out: Path, agent: Agent, strategy: Strategy, settings: SystemSettings, *, force: bool = False
) -> SystemRun:
    """Begin an adaptation in `out`, or resume the one that is there.

    Raises UsageError or PluginError for an environment that cannot be made or that the agent does not fit, RunError
    where `out` holds one with other settings or of another agent, unless `force`, which begins anew; and where another
    process adapts into it.
    """
    with ExitStack() as if_it_fails:
        env = make_env(settings.env, settings.env_settings)
        if_it_fails.callback(_close, env, [])
        notes = _check_fits(env, agent, settings.env)
        out.mkdir(parents=True, exist_ok=True)
        lock = _locked(out)
        if_it_fails.callback(lock.release)
        session, fresh = _there(out, agent, strategy, settings, force)
        run = SystemRun(out=out, env=env, session=session, settings=settings, notes=notes, fresh=fresh, lock=lock)
        run.write()
        if_it_fails.pop_all()
    return run


def _there(
    out: Path, agent: Agent, strategy: Strategy, settings: SystemSettings, force: bool
) -> tuple[Session, list[Outcome]]:
    """The session of a folder, or a new one, and the fresh episodes that were played after it."""
    if force:
        for name in (SESSION, SYSTEM):
            (out / name).unlink(missing_ok=True)
    there = read_system(out) if (out / SYSTEM).exists() else None
    if there is not None:
        _check_same(out, there.settings, settings)
    if (out / SESSION).exists():
        session = Session.load(out / SESSION, agent, allow=_trusted(settings))
        return session, there.fresh if there is not None and session.done else []
    session = Session(agent, strategy, settings.episodes, seed=settings.seed)
    session.name = settings.strategy
    return session, []


def _locked(out: Path) -> FileLock:
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"another process adapts into {out}", hint="wait for it, or choose another --out") from None
    return lock


def _close(env: Env, notes: list[str]) -> None:
    """An environment that fails in closing is noted: the episodes are there."""
    try:
        env.close()
    except Exception as error:
        notes.append(f"closing the environment raised {type(error).__name__}: {error}"[:200])


def read_system(out: Path) -> SystemRecord:
    """system.json of a folder. Raises RunError."""
    try:
        return from_mapping(SystemRecord, read_json(out / SYSTEM), where=str(out / SYSTEM), strict=True)
    except (ConfigError, CorruptDatasetError) as error:
        raise RunError(error.message, hint="--force begins anew") from None


def _check_same(out: Path, there: SystemSettings, asked: SystemSettings) -> None:
    old, new = to_mapping(replace(there, fresh=0)), to_mapping(replace(asked, fresh=0))
    if differing := differences(old, new):
        raise RunError(
            f"{out} holds an adaptation with other settings: {', '.join(differing)}",
            hint="give the same settings to resume it, choose another --out, or --force",
        )


def _trusted(settings: SystemSettings) -> list[str]:
    """What the user has named in this very command."""
    words: list[Mapping[str, Any]] = [settings.settings]
    return [settings.strategy, *(value for table in words for value in table.values() if isinstance(value, str))]


def _check_fits(env: Env, agent: Agent, name: str) -> list[str]:
    """Notes on spaces that differ a little. Raises UsageError where the agent cannot act in the environment."""
    with raised_as(PluginError, f"the spaces of {name}"):
        seen, acts = env.observation_space, env.action_space
    if fault := misfit(agent, seen, acts):
        raise UsageError(f"{name} has {fault}", hint="train on data of this system: idaq record, idaq dataset import")
    spec = agent.spec
    if not isinstance(acts, gym.spaces.Box):
        return []
    centre, scale = np.array(spec.action_centre), np.array(spec.action_scale)
    mine = np.stack([centre - scale, centre + scale])
    theirs = np.stack([bound.ravel() for bound in (cast(Doubles, acts.low), cast(Doubles, acts.high))])
    if np.allclose(mine, theirs, atol=1e-5):
        return []
    (low, high), (least, most) = np.round(mine, 4).tolist(), theirs.tolist()
    return [f"the agent's actions lie in {low} to {high}; {name} takes {least} to {most}"]


def _outcome(episode: PlayedEpisode) -> Outcome:
    return Outcome(
        total_reward=episode.total_reward,
        steps=len(episode),
        terminated=bool(episode.terminated[-1]),
        success=episode.success,
        seed=episode.seed,
    )
