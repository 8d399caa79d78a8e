"""Parts with one fault each, and the test of a suite that must find it. `test_suites` runs this file."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from idaq.adapt.history import AdaptationHistory
from idaq.adapt.strategy import Strategy
from idaq.core.config import config
from idaq.core.errors import ShareError
from idaq.core.policy import Policy
from idaq.core.types import Advance, Array, Episode
from idaq.format.columns import Columns, map_columns
from idaq.format.episodes import EpisodeStore, FlatEpisodes
from idaq.format.reader import open_stored
from idaq.format.recipe import Behaviour
from idaq.format.writer import DatasetSource, entry_of, write_dataset
from idaq.hub.remote import METADATA_PATH, Remote, Upload
from idaq.learn.algorithm import Algorithm, Prior
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import TrainConfig, training_config
from idaq.learn.latent.agent import LatentAgent
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.loop import agent_spec
from idaq.loader import Dataset, MetaBatches, Sampler, SegmentBatches, open_dataset
from idaq.loader.segments import Within
from idaq.tasks import Family, StepBatch, get_family
from idaq.testing import (
    AlgorithmContract,
    BehaviourContract,
    Contents,
    EpisodeStoreContract,
    FamilyContract,
    FormatReaderContract,
    FormatWriterContract,
    PolicyContract,
    RemoteContract,
    SamplerContract,
    SegmentContract,
    StrategyContract,
)

# -- episode stores ------------------------------------------------------------------------------------------------


@dataclass
class Views:
    """Gives the same arrays every time."""

    flat: FlatEpisodes

    def __post_init__(self) -> None:
        self.kept = [self.flat.episode(number) for number in range(8)]
        self.shapes = self.flat.shapes

    def episode(self, number: int) -> Episode:
        return self.kept[number]

    def columns(self, numbers: Array) -> Columns:
        return self.flat.columns(numbers)


class Wide(Views):
    """Gives float64, whatever was stored."""

    def episode(self, number: int) -> Episode:
        found = self.flat.episode(number)
        return replace(found, observations=found.observations.astype(np.float64))


def mapped(dataset: Path) -> FlatEpisodes:
    stored = open_stored(dataset)
    return FlatEpisodes(map_columns(stored), stored.episodes.length)


class TestViews(EpisodeStoreContract):
    red = "test_an_episode_is_a_copy"

    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        return Views(mapped(dataset))


class TestWide(EpisodeStoreContract):
    red = "test_every_episode_comes_to_the_bit_in_any_order_and_again"

    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        return Wide(mapped(dataset))


# -- samplers ------------------------------------------------------------------------------------------------------


class Altered:
    """Meta-batches with something wrong."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.batches = MetaBatches(dataset.transitions(), meta_batch=5, batch=7, context=3, seed=seed)
        self.calls = 0

    def at(self, step: int) -> Any:
        self.calls += 1
        return self.alter(self.batches.at(step))

    def alter(self, batch: Any) -> Any:
        raise NotImplementedError


class Remembering(Altered):
    """The batch depends on how often one has asked."""

    def alter(self, batch: Any) -> Any:
        return self.batches.at(self.calls)


class Shifted(Altered):
    """s' is s."""

    def alter(self, batch: Any) -> Any:
        rows = batch.transitions
        return replace(batch, transitions=replace(rows, next_observations=rows.observations))


class Mixed(Altered):
    """The context is another task's."""

    def alter(self, batch: Any) -> Any:
        return replace(batch, context=batch.context[::-1])


class TestRemembering(SamplerContract):
    red, sampler = "test_a_batch_follows_from_seed_and_step_however_it_is_asked_for", Remembering  # type: ignore[assignment]


class TestShifted(SamplerContract):
    red, sampler = "test_the_columns_stay_aligned", Shifted  # type: ignore[assignment]


class TestMixed(SamplerContract):
    red, sampler = "test_rows_are_of_the_task_that_the_batch_names", Mixed  # type: ignore[assignment]


class TestUnselected(SamplerContract):
    """Draws from the whole dataset."""

    red = "test_what_is_not_selected_is_neither_drawn_nor_read"

    def sampler(self, dataset: Dataset, seed: int) -> MetaBatches:
        everything = replace(dataset, numbers=np.arange(len(dataset.episodes)))
        return MetaBatches(everything.transitions(), meta_batch=5, batch=7, context=3, seed=seed)


class TestUnordered(SegmentContract):
    """Takes a task's episodes in the order of the file for its learning history."""

    red = "test_steps_follow_each_other_to_the_end_of_what_holds_them"

    def segments(self, dataset: Dataset, seed: int, within: Within, columns: tuple[str, ...]) -> SegmentBatches:
        table = dataset.transitions()
        within = "task" if within == "history" else within
        return SegmentBatches(table, meta_batch=5, length=6, within=within, seed=seed, columns=columns, discount=0.9)


# -- remotes -------------------------------------------------------------------------------------------------------


class Memory:
    """A sound hub in a dictionary; those below are not."""

    url, login = "memory://here", "nobody needs to"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def dataset_ids(self) -> list[str]:
        return [path.removesuffix(f"/{METADATA_PATH}") for path in self.files if path.endswith(METADATA_PATH)]

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        if path not in self.files or stop > len(self.files[path]):
            raise ShareError(f"{path} is missing or too short", hint="push it again")
        yield self.files[path][start:stop]

    def alone(self, dataset_id: str) -> AbstractContextManager[None]:
        return nullcontext()

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        for file in files:
            self.files[file.path] = file.source.read_bytes()
            progress(file.size)

    def close(self) -> None:
        pass


class Greedy(Memory):
    """Gives more than was asked for."""

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        yield self.files[path][start : stop + 10]


class Hasty(Memory):
    """Sends metadata.json first."""

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        super().upload(dataset_id, list(reversed(files)), progress)


class Forgetful(Memory):
    """Says that what is missing is empty."""

    def size(self, path: str) -> int | None:
        return len(self.files.get(path, b""))


class TestGreedy(RemoteContract):
    red = "test_a_range_is_exactly_the_bytes_asked_for"

    @pytest.fixture
    def remote(self) -> Remote:
        return Greedy()


class TestHasty(RemoteContract):
    red = "test_an_interrupted_upload_shows_nothing_and_the_same_one_completes_it"

    @pytest.fixture
    def remote(self) -> Remote:
        return Hasty()


class TestForgetful(RemoteContract):
    red = "test_sizes_are_those_of_the_files_and_none_for_what_is_not_there"

    @pytest.fixture
    def remote(self) -> Remote:
        return Forgetful()


# -- families ------------------------------------------------------------------------------------------------------


class Rounded:
    """A lock-step that pays a little less than the single environment."""

    def __init__(self) -> None:
        self.env = get_family("point-robot").lockstep()
        self.reset, self.controller_view = self.env.reset, self.env.controller_view

    def step(self, actions: Array) -> StepBatch:
        step = self.env.step(actions)
        return replace(step, rewards=step.rewards.astype(np.float16))


def centred(observations: Array, tasks: Array) -> Array:
    """A controller that looks at all rows."""
    return observations - observations.mean(0) + tasks[:, None] - tasks.mean()


class TestRounded(FamilyContract):
    red = "test_environments_in_lockstep_give_what_each_gives_alone"

    @pytest.fixture
    def family(self) -> Family:
        return replace(get_family("point-robot"), batched=Rounded)


class TestCentred(FamilyContract):
    red = "test_the_controller_acts_for_each_row_alone"

    @pytest.fixture
    def family(self) -> Family:
        return replace(get_family("point-robot"), controller=centred)


class TestUntold(FamilyContract):
    """Its winds change the dynamics, and it says that they do not."""

    red = "test_tasks_change_the_dynamics_as_the_family_says"

    @pytest.fixture
    def family(self) -> Family:
        return replace(get_family("point-robot-wind"), task_changes_dynamics=False)


class TestTwins(FamilyContract):
    red = "test_tasks_are_told_apart_by_index_id_and_params"

    @pytest.fixture
    def family(self) -> Family:
        family = get_family("point-robot")
        twin = replace(family.tasks[1], params=family.tasks[0].params)
        return replace(family, tasks=(family.tasks[0], twin, *family.tasks[2:]))


# -- behaviours ----------------------------------------------------------------------------------------------------


class Crowd:
    """A behaviour that follows the others of its batch."""

    def __init__(self, *_: Any) -> None:
        pass

    def reset(self) -> None:
        pass

    def act(self, observations: Array) -> Array:
        return 0.01 + observations.mean(0) - observations + 0.001 * len(observations)

    def observe(self, *_: Array) -> None:
        pass


class Moody(Crowd):
    """A behaviour that draws from no seed."""

    def act(self, observations: Array) -> Array:
        return np.random.default_rng().uniform(-0.1, 0.1, observations.shape)


class TestCrowd(BehaviourContract):
    red = "test_an_episode_does_not_depend_on_what_it_is_batched_with"

    @pytest.fixture
    def family(self) -> Family:
        return get_family("point-robot")

    @pytest.fixture
    def behaviour(self) -> Behaviour:
        policy = f"{__name__}:{type(self).__name__.removeprefix('Test')}"
        return Behaviour(name="b", kind="policy", quality="unknown", episodes=1, policy=policy)


class TestMoody(TestCrowd):
    red = "test_the_same_tasks_and_seeds_give_the_same_episodes"


# -- formats -------------------------------------------------------------------------------------------------------


class TestTrusting(FormatReaderContract):
    """Compares no episode with its digest."""

    red = "test_what_is_damaged_is_refused"

    def read(self, path: Path) -> Contents:
        stored, dataset = open_stored(path), open_dataset(path)
        tasks = [vars(task) for task in stored.tasks]
        episodes = [entry_of(stored.episodes, number, episode) for number, episode in enumerate(dataset)]
        return Contents(dataset_id=dataset.dataset_id, tasks=tasks, episodes=episodes)


class TestSeedless(FormatWriterContract):
    red = "test_it_is_read_as_it_was_meant"

    def write(self, source: DatasetSource, root: Path) -> Path:
        return write_dataset(replace(source, entries=[replace(entry, seed=None) for entry in source.entries]), root, "")


# -- policies ------------------------------------------------------------------------------------------------------


class Average:
    """Acts by the rewards of all problems."""

    def __init__(self, problems: int) -> None:
        self.memory = np.zeros(problems)

    def reset(self) -> None:
        self.memory[:] = 0

    def act(self, observations: Array) -> Array:
        return np.tile(self.memory[:, None], 2)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self.memory += rewards.mean()


class Own(Average):
    """Sound: acts by the rewards of its own problem."""

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: Array) -> None:
        self.memory += rewards


class TestAverage(PolicyContract):
    red, policy = "test_what_happens_in_one_problem_does_not_reach_another", Average  # type: ignore[assignment]
    observation_size, action_size = 3, 2


class TestOwn(PolicyContract):
    red, policy = "", Own  # type: ignore[assignment]
    observation_size, action_size = 3, 2


# -- algorithms ----------------------------------------------------------------------------------------------------


class Adrift(LatentAlgorithm):
    """Its update reads the global random numbers of torch."""

    def update(self, step: int, batch: Any, rng: np.random.Generator) -> Any:
        told = super().update(step, batch, rng)
        with torch.no_grad():
            self.networks.policy.actor[0].bias += 1e-3 * torch.randn(1)
        return told


class Amnesiac(LatentAlgorithm):
    """Its state lacks the optimisers."""

    def state(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in super().state().items() if not name.startswith("optimiser.")}


class Shared(LatentAlgorithm):
    """Its agents act with the weights that are being trained."""

    def agent(self, prior: Prior | None) -> Any:
        return LatentAgent(self.config, self.spec, self.networks, self.units, prior)


class Unconditioned(LatentAlgorithm):
    """The policy that leaves has forgotten the belief."""

    def agent(self, prior: Prior | None) -> Any:
        agent = super().agent(prior)
        export = agent.export_policy
        agent.export_policy = lambda belief: export(0 * belief)
        return agent


class BrokenAlgorithm(AlgorithmContract):
    algorithm: type[LatentAlgorithm]

    def config(self, seed: int) -> TrainConfig:
        return training_config({"encoder": {"hidden": 8}, "learner": {"hidden": 8}, "ensemble": {"hidden": 8}})

    def create(self, dataset: Dataset, sampler: Sampler[Any], seed: int = 0) -> Algorithm:
        config = self.config(seed)
        assert isinstance(config, FocalTd3BcConfig)
        return self.algorithm(config, agent_spec(dataset, sampler.statistics()), "cpu")


class TestAdrift(BrokenAlgorithm):
    red, algorithm = "test_no_global_random_numbers_are_read_or_drawn", Adrift


class TestAmnesiac(BrokenAlgorithm):
    red, algorithm = "test_resuming_from_the_state_equals_going_on", Amnesiac


class TestShared(BrokenAlgorithm):
    red, algorithm = "test_an_agent_is_as_the_algorithm_was", Shared


class TestUnconditioned(BrokenAlgorithm):
    red, algorithm = "test_a_policy_that_leaves_acts_as_the_agents_own", Unconditioned


# -- strategies ----------------------------------------------------------------------------------------------------


@config
class Copycat(Strategy):
    """Every problem gets the belief that earned the most in any of them."""

    def explore(self, history: AdaptationHistory) -> Policy:
        prior = history.prior.beliefs[: history.problems]
        if not history.episodes:
            return history.agent.policy(prior)
        best = np.argmax(history.episodes[-1].returns)
        return history.agent.policy(np.repeat(history.beliefs[-1][best][None], history.problems, 0))

    def deploy(self, history: AdaptationHistory) -> Policy:
        return self.explore(history)


@config
class Careless(Strategy):
    """Draws from NumPy's global generator, and deploys by adding to the history."""

    def explore(self, history: AdaptationHistory) -> Policy:
        drawn = np.random.randint(len(history.prior.beliefs), size=history.problems)  # the fault
        return history.agent.policy(history.prior.beliefs[drawn])

    def deploy(self, history: AdaptationHistory) -> Policy:
        history.policies.append(history.policies[-1])
        return history.policies[-1]


class TestCopycat(StrategyContract):
    red, strategy = "test_a_problem_is_adapted_to_by_its_own_episodes_alone", Copycat  # type: ignore[assignment]


class TestCareless(StrategyContract):
    red, strategy = "test_it_follows_from_the_history_alone", Careless  # type: ignore[assignment]


class TestMeddling(StrategyContract):
    red, strategy = "test_deploying_leaves_the_history_as_it_is", Careless  # type: ignore[assignment]
