"""Trained behaviours in recipes: which weights, on which family; and episodes that a simulation does not survive."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from idaq.collect.cells import collect_cell
from idaq.collect.collect import collect
from idaq.collect.plan import Cell, assign_splits, make_plan
from idaq.collect.policies import _read_once, load_policy, sizes
from idaq.collect.policy_record import PolicyRecord, SacConfig, Snapshot, actor_shapes, write_policy, write_record
from idaq.collect.rollout import rollout
from idaq.core.config import from_mapping
from idaq.core.errors import CollectError, ConfigError, PolicyError
from idaq.core.seeds import episode_seed
from idaq.format.reader import open_stored
from idaq.format.recipe import Behaviour, Recipe, Reference, Splits
from idaq.format.verify import verify
from idaq.tasks import get_family
from idaq.tasks.bodies import Bodies

CHEETAH = get_family("cheetah-vel")


def weights_for(folder: Path, family: str, observation: int, feature: int, action: int) -> str:
    """Random weights as a training leaves them; returns their sha256."""
    record = PolicyRecord(
        family=family,
        algorithm="SAC",
        versions={},
        command="",
        observation_size=observation,
        feature_size=feature,
        action_size=action,
        config=SacConfig(hidden=32),
        curve=[],
        snapshots={},
    )
    rng = np.random.default_rng(0)
    actor = {name: rng.normal(size=shape) * 0.2 for name, shape in actor_shapes(record).items()}
    (folder / family).mkdir()
    sha256 = write_policy(folder / family / "expert.safetensors", actor)
    snapshot = Snapshot(sha256=sha256, steps=1, mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
    write_record(folder / family, dataclasses.replace(record, snapshots={"expert": snapshot}))
    return sha256


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "behaviors"
    folder.mkdir()
    monkeypatch.setenv("IDAQ_BEHAVIORS", str(folder))
    _read_once.cache_clear()
    get_reusable_executor().shutdown()  # workers of earlier tests know the environment of then
    yield folder
    get_reusable_executor().shutdown()
    _read_once.cache_clear()


def trained(sha256: str, **changes: Any) -> Behaviour:
    return dataclasses.replace(
        Behaviour(name="b", kind="trained", quality="expert", episodes=3, noise=1.0, policy="expert", weights=sha256),
        **changes,
    )


def recipe(behaviour: Behaviour, family: str = "cheetah-vel") -> Recipe:
    return Recipe(
        id="test/own/trained-v0",
        family=family,
        description="",
        seed=1,
        splits=Splits(seed=0, sizes={"train": 2, "test": 1}),
        behaviours=[behaviour],
        reference=Reference(random_episodes=2),
    )


def test_a_trained_behaviour_is_collected_to_the_same_digest_by_one_and_two_workers(own: Path, tmp_path: Path) -> None:
    wanted = recipe(trained(weights_for(own, "cheetah-vel", 17, 1, 6)))
    one, two = collect(wanted, tmp_path / "one"), collect(wanted, tmp_path / "two", workers=2)
    assert one.content_digest == two.content_digest
    assert verify(one.path) == []
    assert open_stored(one.path).manifest.recipe == wanted


def test_an_episode_does_not_depend_on_what_its_policy_acts_beside(own: Path) -> None:
    behaviour = trained(weights_for(own, "cheetah-vel", 17, 1, 6))
    family = dataclasses.replace(get_family("cheetah-vel"), horizon=30)
    together = rollout(family, behaviour, np.array([4, 9, 4]), np.arange(3, dtype=np.uint64)).episodes
    alone = rollout(family, behaviour, np.array([9]), np.array([1], np.uint64)).episodes
    assert alone[0].actions.tobytes() == together[1].actions.tobytes()
    assert alone[0].observations.tobytes() == together[1].observations.tobytes()


def test_noise_is_in_units_of_the_policys_own_spread(own: Path) -> None:
    sha256 = weights_for(own, "cheetah-vel", 17, 1, 6)
    policy = load_policy(trained(sha256), CHEETAH, CHEETAH.spaces()).on(CHEETAH, np.zeros(4000, np.int64))
    rng = np.random.default_rng(1)
    seen = np.repeat(rng.normal(size=(1, 17)), 4000, 0)
    gaussian = rng.normal(size=(4000, 6))
    still, half, full = (
        np.arctanh(np.clip(policy(seen, gaussian, noise), -0.999999, 0.999999)) for noise in (0, 0.5, 1)
    )
    assert (still == still[0]).all()
    np.testing.assert_allclose(half - still, (full - still) / 2, atol=2e-2)
    assert np.corrcoef((half - still)[:, 0], gaussian[:, 0])[0, 1] > 0.99


def test_a_recipe_for_other_weights_is_refused(own: Path) -> None:
    weights_for(own, "cheetah-vel", 17, 1, 6)
    with pytest.raises(PolicyError, match="written for other weights") as caught:
        load_policy(trained("0" * 64), CHEETAH, CHEETAH.spaces())
    assert "another id" in str(caught.value.hint)


@pytest.mark.parametrize("sizes", [(20, 1, 6), (17, 2, 6), (17, 1, 8)])
def test_weights_for_other_sizes_are_refused(own: Path, sizes: tuple[int, int, int]) -> None:
    sha256 = weights_for(own, "cheetah-vel", *sizes)
    with pytest.raises(PolicyError, match="the installed family is"):
        load_policy(trained(sha256), CHEETAH, CHEETAH.spaces())


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": "expert"},
        {"weights": "0" * 64},
        {"kind": "scripted", "policy": "expert", "weights": "0" * 64},
        {},
        {"policy": "expert", "weights": "0" * 63},
        {"policy": "../expert", "weights": "0" * 64},
    ],
)
def test_a_trained_behaviour_names_policy_and_weights_and_no_other_does(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"policy|weights"):
        from_mapping(
            Behaviour, {"name": "b", "kind": "trained", "quality": "expert", "episodes": 1, **changes}, where="recipe"
        )


def test_a_scripted_behaviour_needs_a_controller() -> None:
    scripted = Behaviour(name="b", kind="scripted", quality="expert", episodes=1)
    with pytest.raises(CollectError, match="cheetah-vel has no scripted controller"):
        rollout(get_family("cheetah-vel"), scripted, np.zeros(1, np.int64), np.zeros(1, np.uint64))


RANDOM = Behaviour(name="b", kind="random", quality="random", episodes=20)


def explode(monkeypatch: pytest.MonkeyPatch, unlucky: Callable[[int], bool]) -> None:
    """Throw the bodies of unlucky seeds out of their simulation."""
    start = Bodies.start

    def thrown(self: Bodies, factors: Any, seeds: Any) -> Any:
        seen = start(self, factors, seeds)
        for body, seed in zip(self._active, seeds, strict=True):
            if unlucky(seed):
                body.data.qvel[:] = 1e9
        return seen

    monkeypatch.setattr(Bodies, "start", thrown)


def test_an_unstable_episode_is_left_out(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    family = dataclasses.replace(get_family("cheetah-vel"), horizon=10)
    explode(monkeypatch, lambda seed: seed % 10 < 3)
    seeds = np.array([11, 15, 22, 27], np.uint64)
    done = rollout(family, RANDOM, np.zeros(4, np.int64), seeds)
    episodes, successes = done.episodes, done.successes
    assert done.kept.tolist() == [1, 3]
    assert len(episodes) == len(successes) == 2
    assert all(np.isfinite(episode.observations).all() for episode in episodes)
    assert capfd.readouterr() == ("", "")
    assert not Path("MUJOCO_LOG.TXT").exists()


def test_a_cell_with_many_unstable_episodes_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explode(monkeypatch, lambda seed: seed % 2 == 0)
    with pytest.raises(
        CollectError, match=r"\d+ of 20 episodes of behaviour 'b' on task 3 .* became unstable"
    ) as caught:
        collect_cell(make_plan(recipe(RANDOM)), Cell(task_index=3, behaviour_index=0), tmp_path)
    assert "left out and counted" in str(caught.value.hint)
    assert not list(tmp_path.glob("*.npz"))


def test_a_dataset_says_how_many_episodes_were_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe(RANDOM)
    task = next(iter(assign_splits(wanted, get_family(wanted.family))))
    unlucky = episode_seed(1, task, 0, 7)
    explode(monkeypatch, lambda seed: seed == unlucky)
    done = collect(wanted, tmp_path)
    stored = open_stored(done.path)
    assert (done.unstable, stored.manifest.provenance.unstable, stored.manifest.counts.episodes) == (1, 1, 59)
    assert verify(done.path) == []
    assert collect(wanted, tmp_path).unstable == 1


def test_policies_are_trained_for_vectors_of_floats_alone() -> None:
    room = dataclasses.replace(get_family("dark-room"), task_features=np.zeros((81, 2), np.float32))
    with pytest.raises(PolicyError, match=r"dark-room has MultiDiscrete.*; policies are trained for vectors of floats"):
        sizes(room, room.spaces())
