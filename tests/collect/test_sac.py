"""Training a behaviour policy with Stable-Baselines3: small, but all of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from idaq.collect.policies import GaussianActor
from idaq.collect.policy_record import CurvePoint, PolicyRecord, SacConfig, read_policy, read_record
from idaq.collect.policy_training import CHECKPOINT, first_at, train_policy
from idaq.collect.sac import ConditionedSac
from idaq.core.errors import PolicyError
from idaq.core.metrics import METRICS, read_metrics
from idaq.tasks import get_family
from idaq.tasks.bodies import Bodies
from idaq.tasks.locomotion import VARIANTS, load_tasks

CHEETAH = get_family("cheetah-vel")
SMALL = SacConfig(steps=900, hidden=16, batch=32, envs=2, warmup=300, evaluate_every=300)


class Stopped(Exception):
    pass


def stop_after(laps: int):
    def advance(steps: int) -> None:
        nonlocal laps
        laps -= steps > 0
        if laps < 0:
            raise Stopped

    return advance


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PolicyRecord]:
    folder = tmp_path_factory.mktemp("policy")
    return folder, train_policy(CHEETAH, SMALL, folder, "idaq behavior train cheetah-vel")


def test_a_training_leaves_a_curve_snapshots_and_weights_that_can_be_read(trained: tuple[Path, PolicyRecord]) -> None:
    folder, record = trained
    assert read_record(folder) == record
    assert [point.steps for point in record.curve] == [0, 300, 600, 900]
    assert list(record.snapshots) == ["medium", "late", "expert"]
    best = max(record.curve, key=lambda point: point.mean)
    assert record.snapshots["expert"].steps == best.steps
    assert all(set(read_policy(folder, name)) == set(read_policy(folder, "expert")) for name in record.snapshots)
    assert (record.observation_size, record.feature_size, record.action_size) == (17, 1, 6)


def test_a_stopped_training_goes_on_and_ends_in_the_same_weights(
    tmp_path: Path, trained: tuple[Path, PolicyRecord]
) -> None:
    with pytest.raises(Stopped):
        train_policy(CHEETAH, SMALL, tmp_path, "again", stop_after(1))
    assert 0 < read_record(tmp_path).curve[-1].steps < SMALL.steps
    record = train_policy(CHEETAH, SMALL, tmp_path, "again")
    assert record.snapshots == trained[1].snapshots
    assert [(p.steps, p.mean) for p in record.curve] == [(p.steps, p.mean) for p in trained[1].curve]
    assert (tmp_path / METRICS).read_bytes() == (trained[0] / METRICS).read_bytes()


def test_the_curve_is_logged_with_its_losses_as_lines_of_json(trained: tuple[Path, PolicyRecord]) -> None:
    lines = read_metrics(trained[0])
    assert [(line["step"], line["return"]) for line in lines] == [(p.steps, p.mean) for p in trained[1].curve]
    assert "critic_loss" not in lines[0]
    assert all(line["critic_loss"] > 0 and 0 < line["ent_coef"] <= 1 for line in lines[2:])


def test_a_finished_training_is_not_run_again(trained: tuple[Path, PolicyRecord]) -> None:
    folder, record = trained
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train_policy(CHEETAH, SMALL, folder, "other words") == record
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_other_snapshots_are_chosen_without_training_again(trained: tuple[Path, PolicyRecord], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    (folder / CHECKPOINT).touch()
    before = (folder / CHECKPOINT).stat().st_mtime_ns
    record = train_policy(CHEETAH, replace(SMALL, snapshots={"best": 1.0}), folder, "best")
    assert list(record.snapshots) == ["best"]
    assert record.snapshots["best"] == trained[1].snapshots["expert"]
    assert (folder / CHECKPOINT).stat().st_mtime_ns == before


def curve_of(returns: list[float]) -> list[CurvePoint]:
    return [CurvePoint(steps=i, mean=r, minimum=r, maximum=r, seconds=0.0) for i, r in enumerate(returns)]


@pytest.mark.parametrize(("share", "steps"), [(0.1, 1), (0.5, 1), (0.51, 3), (1.0, 3)])
def test_a_snapshot_is_the_first_policy_so_far_on_the_way(share: float, steps: int) -> None:
    assert first_at(curve_of([-10.0, 0.0, -5.0, 10.0, 9.0]), share).steps == steps


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0.01, 1.0))
def test_a_snapshot_is_found_on_any_curve(returns: list[float], share: float) -> None:
    """Also where first + 1.0 * (best - first) rounds to more than the best."""
    curve = curve_of(returns)
    assert first_at(curve, 1.0).mean == max(returns)
    assert first_at(curve, share).steps <= first_at(curve, 1.0).steps


def test_a_longer_training_goes_on_where_the_shorter_one_ended(
    trained: tuple[Path, PolicyRecord], tmp_path: Path
) -> None:
    train_policy(CHEETAH, replace(SMALL, steps=300), tmp_path, "")
    with pytest.raises(Stopped):
        train_policy(CHEETAH, SMALL, tmp_path, "", stop_after(1))
    stopped = read_record(tmp_path)
    assert (stopped.curve[-1].steps, stopped.snapshots) == (600, {})
    assert train_policy(CHEETAH, SMALL, tmp_path, "").snapshots == trained[1].snapshots


def test_a_training_that_diverges_stops_with_a_word(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="diverged after 300 steps") as caught:
        train_policy(CHEETAH, replace(SMALL, lr=1e30), tmp_path, "")
    assert "lr" in str(caught.value.hint)


def test_a_folder_of_another_training_is_refused(trained: tuple[Path, PolicyRecord]) -> None:
    with pytest.raises(PolicyError, match="another config") as caught:
        train_policy(CHEETAH, replace(SMALL, lr=1e-4), trained[0], "")
    assert "--out" in str(caught.value.hint)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train_policy(CHEETAH, SMALL, tmp_path, "", stop_after(1))
    (tmp_path / CHECKPOINT).write_bytes((tmp_path / CHECKPOINT).read_bytes()[:-10])
    with pytest.raises(PolicyError, match=r"checkpoint .* cannot be read") as caught:
        train_policy(CHEETAH, SMALL, tmp_path, "")
    assert "train again" in str(caught.value.hint)


def test_tasks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"no tasks \[100\]"):
        train_policy(CHEETAH, replace(SMALL, tasks=[3, 100]), tmp_path, "")


def test_a_family_without_features_cannot_be_trained_for(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="has no task_features"):
        train_policy(get_family("point-robot"), SMALL, tmp_path, "")


def test_the_policy_in_numpy_is_the_actor_that_was_trained(tmp_path: Path) -> None:
    training = ConditionedSac(CHEETAH, SMALL)
    training.lap(400)
    rng = np.random.default_rng(0)
    seen, noise = rng.normal(size=(5, 18)).astype(np.float32), rng.normal(size=(5, 6)).astype(np.float32)
    actor, policy = training._model.actor, GaussianActor(training.actor())
    with torch.no_grad():
        mean, log_std, _ = actor.get_action_dist_params(torch.from_numpy(seen))
        sampled = torch.tanh(mean + log_std.exp() * torch.from_numpy(noise)).numpy()
    np.testing.assert_allclose(policy(seen, noise, 0.0), torch.tanh(mean).numpy(), atol=1e-6)
    np.testing.assert_allclose(policy(seen, noise, 1.0), sampled, atol=1e-6)


def test_relabelled_transitions_are_paid_as_the_other_task_pays(tmp_path: Path) -> None:
    training = ConditionedSac(CHEETAH, replace(SMALL, relabelled=0.5))
    training.lap(300)
    buffer = training._model.replay_buffer
    batch = buffer.sample(64)
    velocities = (batch.observations[:, -1].numpy() + 1) * 1.5
    np.testing.assert_array_equal(batch.observations[:, -1], batch.next_observations[:, -1])
    # Of a half-cheetah, the motion's velocity cannot be read off one observation: find each row by its actions.
    rows = [int(np.argmin(np.abs(buffer.actions.reshape(-1, 6) - a).sum(-1))) for a in batch.actions.numpy()]
    motions = buffer.motions.reshape(-1, 6)[rows]
    expected = VARIANTS["cheetah-vel"].reward(velocities[:, None], motions, batch.actions.numpy())
    np.testing.assert_allclose(batch.rewards[:, 0], expected, atol=1e-5)
    own = load_tasks("cheetah-vel").goals[buffer.tasks.reshape(-1)[rows], 0]
    np.testing.assert_allclose(velocities[32:], own[32:], atol=1e-5)
    assert (np.abs(velocities[:32] - own[:32]) > 1e-3).mean() > 0.9


def test_an_unstable_episode_does_not_get_into_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = Bodies.start

    def thrown(self: Bodies, factors: Any, seeds: Any) -> Any:
        seen = start(self, factors, seeds)
        self._active[0].data.qvel[:] = 1e9
        return seen

    training = ConditionedSac(CHEETAH, SMALL)
    monkeypatch.setattr(Bodies, "start", thrown)
    training.lap(400)
    buffer = training._model.replay_buffer
    for column in (buffer.observations, buffer.next_observations, buffer.rewards, buffer.motions):
        assert np.isfinite(column).all()
    assert buffer.dones.sum() > 50
    assert all(np.isfinite(value).all() for value in training.actor().values())


def test_where_tasks_change_the_dynamics_nothing_is_relabelled(tmp_path: Path) -> None:
    training = ConditionedSac(get_family("hopper-rand-params"), SMALL)
    training.lap(300)
    buffer = training._model.replay_buffer
    stored = {row.tobytes() for row in buffer.observations.reshape(-1, buffer.observations.shape[-1])}
    assert all(row.tobytes() in stored for row in buffer.sample(64).observations.numpy())


def test_checkpoints_hold_no_pickles(trained: tuple[Path, PolicyRecord]) -> None:
    tensors = load_file(trained[0] / CHECKPOINT)
    assert {name.split(".")[0] for name in tensors} == {"policy", "optimiser", "replay", "log_ent_coef", "counts"}
    assert json.loads((trained[0] / "record.json").read_text())["algorithm"] == "SAC"
