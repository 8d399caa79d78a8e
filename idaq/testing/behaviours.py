"""What every behaviour policy must do, so that a dataset does not depend on workers, resumption or batches."""

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.collect.rollout import rollout
from idaq.core.types import Array, Episode
from idaq.format.recipe import Behaviour
from idaq.tasks import Family


class BehaviourContract:
    """Subclass it, give `family` and `behaviour`, as a recipe names it."""

    @pytest.fixture
    def family(self) -> Family:
        """Yours to give: the family that the behaviour acts in."""
        raise NotImplementedError

    @pytest.fixture
    def behaviour(self) -> Behaviour:
        """Yours to give: the behaviour as a recipe names it."""
        raise NotImplementedError

    @pytest.fixture
    def tasks(self, family: Family) -> NDArray[np.int64]:
        """(B,) the first, the last, one twice."""
        last = len(family.tasks) - 1
        return np.array([0, last, 0, last // 2])

    @pytest.fixture
    def together(self, family: Family, behaviour: Behaviour, tasks: NDArray[np.int64]) -> list[Episode]:
        """Episodes of several tasks, collected in one batch."""
        return episodes(family, behaviour, tasks, SEEDS)

    def test_its_actions_are_numbers_in_the_action_space(self, family: Family, together: list[Episode]) -> None:
        space = family.spaces().actions
        assert all(action in space for episode in together for action in episode.actions)

    def test_the_same_tasks_and_seeds_give_the_same_episodes(
        self, family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], together: list[Episode]
    ) -> None:
        assert same_bits(episodes(family, behaviour, tasks, SEEDS), together)

    def test_an_episode_does_not_depend_on_what_it_is_batched_with(
        self, family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], together: list[Episode]
    ) -> None:
        """Alone, and in another order: workers and parts of a batch come out alike."""
        for b, episode in enumerate(together):
            alone = episodes(family, behaviour, tasks[b : b + 1], SEEDS[b : b + 1])
            assert same_bits(alone, [episode]), f"episode {b}, in a batch and alone"
        assert same_bits(episodes(family, behaviour, tasks[::-1], SEEDS[::-1]), together[::-1])


SEEDS = np.arange(4, dtype=np.uint64) + 2**63


def episodes(
    family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], seeds: NDArray[np.uint64]
) -> list[Episode]:
    """All of them; none may become unstable."""
    done = rollout(family, behaviour, tasks, seeds)
    assert len(done.episodes) == len(tasks)
    return done.episodes


def same_bits(ours: list[Episode], theirs: list[Episode]) -> bool:
    """Whether two episodes hold the same bits."""
    pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(columns(a), columns(b), strict=True)]
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def columns(episode: Episode) -> list[Array]:
    """The columns of an episode, by name."""
    return [episode.observations, episode.actions, episode.rewards, episode.terminated, episode.truncated]
