"""What every behaviour policy must do, so that a dataset does not depend on workers, resumption or batches."""

import numpy as np
import pytest
from numpy.typing import NDArray

from idaq.collect.rollout import rollout
from idaq.core.types import Episode
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
    def seeds(self, behaviour: Behaviour) -> NDArray[np.uint64]:
        """(B,) of four episodes; of a behaviour that learns, (B, E) of four histories."""
        return SEEDS[:, 0] if behaviour.histories is None else SEEDS

    @pytest.fixture
    def together(
        self, family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], seeds: NDArray[np.uint64]
    ) -> list[Episode]:
        """Episodes of several tasks, collected in one batch."""
        return episodes(family, behaviour, tasks, seeds)

    def test_its_actions_are_numbers_in_the_action_space(self, family: Family, together: list[Episode]) -> None:
        space = family.spaces().actions
        assert all(action in space for episode in together for action in episode.actions)

    def test_what_it_says_of_each_step_is_finite(self, together: list[Episode]) -> None:
        for episode in together:
            assert all(len(column) == len(episode) for column in episode.extras.values())
            assert all(np.isfinite(column).all() for column in episode.extras.values())

    def test_the_same_tasks_and_seeds_give_the_same_episodes(
        self,
        family: Family,
        behaviour: Behaviour,
        tasks: NDArray[np.int64],
        seeds: NDArray[np.uint64],
        together: list[Episode],
    ) -> None:
        assert same_bits(episodes(family, behaviour, tasks, seeds), together)

    def test_an_episode_does_not_depend_on_what_it_is_batched_with(
        self,
        family: Family,
        behaviour: Behaviour,
        tasks: NDArray[np.int64],
        seeds: NDArray[np.uint64],
        together: list[Episode],
    ) -> None:
        """Nor does a history: alone, and in another order; workers and parts of a batch come out alike."""
        mine = np.array_split(np.arange(len(together)), len(tasks))
        for b, numbers in enumerate(mine):
            alone = episodes(family, behaviour, tasks[b : b + 1], seeds[b : b + 1])
            assert same_bits(alone, [together[i] for i in numbers]), f"episode {b}, in a batch and alone"
        backwards = episodes(family, behaviour, tasks[::-1], seeds[::-1])
        assert same_bits(backwards, [together[i] for numbers in mine[::-1] for i in numbers])


SEEDS = np.arange(12, dtype=np.uint64).reshape(4, 3) + 2**63


def episodes(
    family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], seeds: NDArray[np.uint64]
) -> list[Episode]:
    """All of them; none may become unstable."""
    done = rollout(family, behaviour, tasks, seeds)
    assert len(done.episodes) == seeds.size
    return done.episodes


def same_bits(ours: list[Episode], theirs: list[Episode]) -> bool:
    """Whether two lists of episodes hold the same bits."""
    pairs = [(a.columns, b.columns) for a, b in zip(ours, theirs, strict=True)]
    return all(
        list(a) == list(b) and all((a[n].dtype, a[n].tobytes()) == (b[n].dtype, b[n].tobytes()) for n in a)
        for a, b in pairs
    )
