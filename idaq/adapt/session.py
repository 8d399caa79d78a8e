"""Adapt one system that is stepped from outside: a robot, a simulator of one's own, another process.

The strategies are those of the lock-step protocol, and act on the same history: with the same seeds the episodes are
the same, to the bit.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex, cast

import numpy as np

from idaq.adapt.adapt import checked_policy, why_not
from idaq.adapt.history import HOW_TO_MEASURE, NOT_MEASURED, AdaptationHistory
from idaq.adapt.lockstep import EpisodeBatch
from idaq.adapt.policy import BeliefPolicy, Policy
from idaq.adapt.session_file import SessionRecord, StoredSession, read_session, write_session
from idaq.adapt.strategy import STRATEGIES, Strategy, default_strategy
from idaq.adapt.system import SystemPolicy, as_batch, as_episode, row_of
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import NonFiniteError, PluginError, RunError, UsageError
from idaq.core.outside import raised_as
from idaq.core.registry import check_document, missing_members
from idaq.core.seeds import generator, rng_state, set_rng_state
from idaq.core.text import printable
from idaq.core.types import TaskParams
from idaq.deploy.document import PolicySource
from idaq.format.additions import Written, write_episodes
from idaq.format.reader import open_stored
from idaq.format.store import find_dataset
from idaq.learn.algorithm import Agent
from idaq.learn.checkpoint import weights_digest
from idaq.learn.run import differences
from idaq.tasks.systems import PlayedEpisode


class Session:
    """The adaptation of one system: gives the next episode's policy, takes the episode, and deploys at the end.

        session = idaq.Session(idaq.load_agent("runs/push"), budget=10)
        while not session.done:
            policy = session.next_policy()
            session.record(idaq.run_episode(env, policy))
            session.save("push.session")
        session.deploy().save("policy")

    `strategy` is a name of `idaq.adapt.strategy.STRATEGIES`, `package.module:thing`, or a Strategy; None takes
    `policy-reuse` for an agent whose cross returns were measured (`idaq adapt RUN` does that), else `gaussian-process`.
    `settings` are its settings. `budget` is told to the strategy, and is the number of episodes that the session takes.
    Raises UnknownNameError, PluginError, ConfigError, and RunError for a strategy that cannot run with the agent.
    """

    def __init__(
        self,
        agent: Agent,
        strategy: str | Strategy | None = None,
        budget: int = 10,
        *,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if missing_members(Agent, agent):
            raise UsageError(f"{agent!r:.80} is no agent", hint='idaq.load_agent("runs/push")')
        strategy = default_strategy(agent) if strategy is None else strategy
        if not isinstance(cast(object, strategy), str | Strategy):
            raise UsageError(
                f"{strategy!r:.80} is no strategy", hint="a name, or Mine() of a class Mine(idaq.Strategy)"
            )
        self.agent = agent
        self.budget, self.seed = _whole("a budget", budget, 1), _whole("a seed", seed, 0)
        self.name = strategy if isinstance(strategy, str) else _reference(strategy)
        chosen = STRATEGIES.get(strategy) if isinstance(strategy, str) else strategy
        self.strategy: Strategy = from_mapping(
            type(chosen), {**to_mapping(chosen), **(settings or {})}, where=f"settings of strategy {self.name}"
        )
        if reason := why_not(self.strategy, agent, has_data=False, simulated=False):
            hint = HOW_TO_MEASURE if reason == NOT_MEASURED else "choose another strategy"
            raise RunError(f"strategy {self.name} cannot run: {reason}", hint=hint)
        self.notes: list[str] = []
        """what was assumed of the episodes"""
        self._played: list[PlayedEpisode] = []
        self._before: list[str] = []
        """the generator's state before each episode's policy was chosen"""
        self._history = self._new_history()
        self._pending: SystemPolicy | None = None
        self._files: dict[Path, str] = {}
        """where the session was saved, and the digest of what was written"""

    def __repr__(self) -> str:
        return f"Session({self.name}, {len(self._played)} of {self.budget} episodes)"

    @property
    def episodes(self) -> tuple[PlayedEpisode, ...]:
        """The recorded ones, in their order."""
        return tuple(self._played)

    @property
    def returns(self) -> list[float]:
        """Of each recorded episode, undiscounted."""
        return [episode.total_reward for episode in self._played]

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return len(self._played) >= self.budget

    def next_policy(self) -> SystemPolicy:
        """The policy of the next episode; the same one until that episode is recorded.

        Raises RunError when the budget is spent, or code from outside fails; PluginError for a policy that is none.
        """
        if self._pending is None:
            if self.done:
                raise RunError(f"all {self.budget} episodes are recorded", hint="session.deploy() gives the policy")
            self._note_reference_stage()
            state = rng_state(self._history.rng)
            try:
                self._pending = SystemPolicy(self._explore(self._history), self.agent)
            except BaseException:  # the next try draws the same numbers
                set_rng_state(self._history.rng, state)
                raise
            self._before.append(state)
        return self._pending

    def record(self, episode: object) -> None:
        """Take the episode that `next_policy` has played: its policy, its transitions and its return are learned from.

        `idaq.adapt.system.as_episode` says what an episode may be, and what it raises. Nothing is recorded of an
        episode that is refused. A warning tells what was assumed: an end without a flag is a time limit; actions other
        than the policy's were taken.
        """
        if self._pending is None:
            raise RunError("no policy was asked for", hint="session.next_policy() comes before each session.record()")
        given = as_episode(episode, self.agent.spec)
        ended = _ended(given)
        batch = as_batch(ended, self.agent.spec)
        notes = [f"episode {len(self._played)}: {note}" for note in _assumptions(given, batch, self._pending)]
        self._history.add(self._pending.policy, batch)
        self._played.append(ended)
        self._pending = None
        self._tell(notes)

    def discard(self) -> None:
        """Forget the episode that is under way, as if it had not begun: `next_policy` gives the same policy again."""
        if self._pending is None:
            return
        remembers = not isinstance(self._pending.policy, BeliefPolicy)
        set_rng_state(self._history.rng, self._before.pop())
        self._pending = None
        if remembers:  # what it saw of the aborted episode
            self._relive(rng_state(self._history.rng))

    def deploy(self) -> SystemPolicy:
        """The policy to use from now on. The session may go on. Raises RunError before the first episode."""
        if not self._played:
            raise RunError("nothing to deploy: no episode is recorded", hint="session.record() takes an episode")
        state = rng_state(self._history.rng)
        try:
            with raised_as(RunError, f"strategy {self.name}"):
                policy = checked_policy(self.strategy.deploy(self._history), f"deploy of strategy {self.name}", 1)
        finally:
            set_rng_state(self._history.rng, state)
        words = f"that {self.name} deploys after {len(self._played)} episodes on one system"
        return SystemPolicy(policy, self.agent, PolicySource(belief=words))

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write everything to one file, whole or not at all; an episode that is under way is not part of it.

        Raises RunError where the file holds what this session has not written or loaded, unless `force`.
        """
        target = Path(path).expanduser()
        place = target.resolve()
        self._files[place] = write_session(target, self._stored(), self._files.get(place), force=force)

    def to_dataset(
        self,
        new_id: str,
        *,
        task: str,
        params: TaskParams | None = None,
        like: str | Path | None = None,
        split: str = "train",
        root: str | Path | None = None,
    ) -> Written:
        """Write the recorded episodes as a verified dataset of one task, with its name and what is known of it.

        `like` is the training set, by id below `root` or by path: the dataset then has its family and spaces, and
        `idaq dataset merge` makes one of both. Raises as `idaq.format.additions.write_episodes`.
        """
        stored = None if like is None else open_stored(find_dataset(like, root))
        return write_episodes(
            new_id,
            self._played,
            task=task,
            params=params,
            like=stored,
            split=split,
            behaviour="adaptation",
            description=f"Episodes of {task}, played by {printable(self.name)} while it adapted.",
            root=root,
        )

    @classmethod
    def load(cls, path: str | Path, agent: Agent, *, allow: Collection[str] = ()) -> "Session":
        """The session of a file, as it was saved. `allow` names a strategy outside installed packages that it may use.

        Raises RunError for a file that is damaged or of another agent, PluginError for a strategy that is not trusted.
        """
        source = Path(path).expanduser()
        stored, digest = read_session(source)
        record = stored.record
        if record.agent_digest != weights_digest(agent):
            raise RunError(
                f"{source} is of another agent than the one given", hint="load the run that it was made with"
            )
        episodes = [_as_recorded(source, number, one, agent) for number, one in enumerate(stored.episodes)]
        check_document(record.settings, f"the settings in {source}", allow)
        session = cls(
            agent,
            STRATEGIES.find(record.strategy, allow),
            record.budget,
            seed=record.seed,
            settings=record.settings,
        )
        session.name, session.notes, session._played = record.strategy, list(record.notes), episodes
        session._before = [*record.generator_states[:-1]]
        session._relive(record.generator_states[-1], stored.beliefs)
        session._files[source.resolve()] = digest
        return session

    def _stored(self) -> StoredSession:
        states = [*self._before, *([] if self._pending is not None else [rng_state(self._history.rng)])]
        record = SessionRecord(
            strategy=self.name,
            settings=to_mapping(self.strategy),
            budget=self.budget,
            seed=self.seed,
            algorithm=self.agent.config.algorithm,
            agent_digest=weights_digest(self.agent),
            generator_states=states,
            notes=self.notes,
        )
        played = self._history.policies
        beliefs = [p.beliefs if isinstance(p, BeliefPolicy) else np.zeros((1, 0), np.float32) for p in played]
        return StoredSession(record=record, episodes=self._played, beliefs=beliefs)

    def _new_history(self) -> AdaptationHistory:
        return AdaptationHistory(agent=self.agent, problems=1, budget=self.budget, rng=generator(self.seed))

    def _explore(self, history: AdaptationHistory) -> Policy:
        settings = to_mapping(self.strategy)
        with raised_as(RunError, f"strategy {self.name}"):
            policy = checked_policy(self.strategy.explore(history), f"explore of strategy {self.name}", 1)
        if changed := differences(settings, to_mapping(self.strategy)):
            raise PluginError(
                f"strategy {self.name} changed its own settings: {', '.join(changed)}",
                hint="all that a strategy may remember is in the history",
            )
        return policy

    def _relive(self, state: str, beliefs: list[Any] | None = None) -> None:
        """The history anew from the recorded episodes: a strategy's choices follow from it, and so does a memory.

        `beliefs` are those that were played: another machine may infer others in the last digit.
        """
        history = self._new_history()
        for number, episode in enumerate(self._played):
            set_rng_state(history.rng, self._before[number])
            policy = self._explore(history)
            if isinstance(policy, BeliefPolicy):
                policy = policy if beliefs is None else _as_played(policy, beliefs[number], number)
            else:
                _act_again(SystemPolicy(policy, self.agent), episode)
            history.add(policy, as_batch(episode, self.agent.spec))
        set_rng_state(history.rng, state)
        self._history = history

    def _note_reference_stage(self) -> None:
        stage = self.strategy.reference_stage(self.budget)
        if stage >= self.budget > 1 and not self._played:
            said = (
                f"{self.name} draws from the prior alone for its first {stage} episodes, and {self.budget} are planned"
            )
            self._tell([f"{said}: it infers no belief; settings={{'reference': 'half'}} changes that"])

    def _tell(self, notes: list[str]) -> None:
        for note in notes:
            if note not in self.notes:
                self.notes.append(note)
                warnings.warn(note, stacklevel=3)


def _reference(strategy: Strategy) -> str:
    """By which it is found again: a built-in one by its name, as no file leads to an import."""
    reference = f"{type(strategy).__module__}:{type(strategy).__qualname__}"
    return next((name for name, thing in STRATEGIES.builtin.items() if thing == reference), reference)


def _whole(what: str, value: object, least: int) -> int:
    """A whole number that a session file can hold. Raises UsageError."""
    number = index(value) if isinstance(value, SupportsIndex) else -1
    if not least <= number < 2**64:
        raise UsageError(f"{what} of {value!r:.40} was asked for", hint=f"a whole number, {least} or more, below 2**64")
    return number


def _as_recorded(source: Path, number: int, episode: PlayedEpisode, agent: Agent) -> PlayedEpisode:
    """An episode of a file. Raises RunError for what `record` would not have taken."""
    try:
        return as_episode(episode, agent.spec)
    except (UsageError, NonFiniteError) as error:
        raise RunError(
            f"{source} is damaged: episode {number}: {error.message}", hint="take an older copy of it"
        ) from None


def _assumptions(episode: PlayedEpisode, batch: EpisodeBatch, policy: SystemPolicy) -> list[str]:
    """What is taken for granted of an episode that a policy has played."""
    found = list[str]()
    if not (episode.terminated[-1] or episode.truncated[-1]):
        found.append("it has no end: taken as a time limit (truncated)")
    acted, saw = policy.acted, policy.saw
    if len(acted) == len(episode):
        if others := _others(acted, episode.actions):
            found.append(f"{others} of {len(episode)} actions are not those that the policy gave")
        if others := _others(saw, batch.transitions.observations[0]):
            found.append(
                f"{others} of {len(episode)} observations are not those that the policy acted on;"
                " one array, changed in place, must be copied for each step"
            )
    elif acted:
        found.append(f"the policy acted {len(acted)} times in an episode of {len(episode)} steps")
    if policy.begun > 1 and not isinstance(policy.policy, BeliefPolicy):
        found.append("the policy has a memory, and had begun an episode before: session.discard() wipes that out")
    return found


def _others(given: list[Any], recorded: Any) -> int:
    """Rows that are not the same but for rounding."""
    close = np.isclose(np.stack(given), recorded, rtol=1e-4, atol=1e-6)
    return int((~close.reshape(len(given), -1)).any(1).sum())


def _ended(episode: PlayedEpisode) -> PlayedEpisode:
    if episode.terminated[-1] or episode.truncated[-1]:
        return episode
    truncated = episode.truncated.copy()
    truncated[-1] = True
    return replace(episode, truncated=truncated)


def _as_played(policy: BeliefPolicy, belief: Any, number: int) -> BeliefPolicy:
    """The policy under the belief that was played. Raises RunError where it is another one than is inferred now."""
    if belief.shape != policy.beliefs.shape or not np.allclose(belief, policy.beliefs, rtol=1e-2, atol=1e-3):
        raise RunError(
            f"episode {number} was played under another belief than the strategy gives now",
            hint="load the session with the version of the strategy that made it",
        )
    return replace(policy, beliefs=belief)


def _act_again(policy: SystemPolicy, episode: PlayedEpisode) -> None:
    """Let a policy with a memory go through an episode once more."""
    policy.reset()
    ended = episode.terminated | episode.truncated
    for step in range(len(episode)):
        policy.act(row_of(episode.observations, step))
        following = row_of(episode.observations, step + 1)
        policy.observe(episode.actions[step], float(episode.rewards[step]), following, bool(ended[step]))
