"""One SAC a task: losses and a whole update by value, tasks that do not touch each other, and a training resumed."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file
from torch import Tensor

from idaq.collect.policies import GaussianActor, open_policy, play
from idaq.collect.policy_record import PolicyRecord, SacPerTaskConfig, read_policy, read_record
from idaq.collect.policy_training import CHECKPOINT, train_policy
from idaq.collect.sac_per_task import (
    Replay,
    SacPerTask,
    Transitions,
    actor_loss,
    critic_loss,
    critic_target,
    orthogonal_layers,
    sample,
    temperature_loss,
)
from idaq.core.errors import PolicyError
from idaq.core.metrics import read_metrics
from idaq.core.seeds import generator
from idaq.tasks import get_family
from idaq.tasks.bodies import Bodies
from idaq.tasks.family import StepBatch

POINT = get_family("point-robot")
SMALL = SacPerTaskConfig(steps=120, tasks=[3, 50, 97], hidden=8, batch=16, warmup=40, evaluate_every=40)


# -- losses ------------------------------------------------------------------------------------------------------------


def test_the_target_is_the_reward_and_what_follows_unless_the_episode_ended() -> None:
    """Two tasks of two transitions; alpha 0.5 and 2, gamma 0.5."""
    reward, terminated = torch.tensor([[1.0, -1.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    next_q = torch.tensor([[[4.0, 9.0], [1.0, -2.0]], [[3.0, 8.0], [5.0, -1.0]]])
    target = critic_target(
        reward, terminated, next_q, torch.tensor([[2.0, 7.0], [-1.0, 0.5]]), torch.tensor([0.5, 2.0]), 0.5
    )
    # 1 + 0.5 (3 - 0.5 * 2); -1; 0 + 0.5 (1 + 2); 2 + 0.5 (-2 - 1)
    torch.testing.assert_close(target, torch.tensor([[2.0, -1.0], [1.5, 0.5]]))


def test_the_critics_loss_is_the_squared_error_of_each_critic_and_task() -> None:
    q = torch.tensor([[[1.0, 2.0], [0.0, 3.0]], [[2.0, 0.0], [1.0, 1.0]]], requires_grad=True)
    loss = critic_loss(q, torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    loss.backward()
    # (1 + 1) / 2 + (1 + 4) / 2 + (4 + 1) / 2 + (0 + 0) / 2
    assert loss.item() == 6.0
    torch.testing.assert_close(q.grad, torch.tensor([[[1.0, 1.0], [-1.0, 2.0]], [[2.0, -1.0], [0.0, 0.0]]]))


def test_the_actors_loss_weighs_entropy_by_each_tasks_temperature() -> None:
    log_prob = torch.tensor([[1.0, 3.0], [-1.0, 2.0]], requires_grad=True)
    q = torch.tensor([[[1.0, 5.0], [2.0, 2.0]], [[2.0, 4.0], [1.0, 3.0]]], requires_grad=True)
    loss = actor_loss(log_prob, q, torch.tensor([0.5, 2.0]))
    loss.backward()
    # (0.5 - 1 + 1.5 - 4) / 2 + (-2 - 1 + 4 - 2) / 2
    assert loss.item() == -2.0
    torch.testing.assert_close(log_prob.grad, torch.tensor([[0.25, 0.25], [1.0, 1.0]]))
    torch.testing.assert_close(q.grad, torch.tensor([[[-0.5, 0.0], [0.0, -0.5]], [[0.0, -0.5], [-0.5, 0.0]]]))


def test_the_temperature_falls_where_the_entropy_is_above_its_target() -> None:
    log_alpha = torch.tensor([0.5, 2.0]).log().requires_grad_()
    loss = temperature_loss(log_alpha, torch.tensor([[1.0, -3.0], [4.0, 2.0]]), -2.0)
    loss.backward()
    # 0.5 * ((-1 + 2) + (3 + 2)) / 2 + 2 * ((-4 + 2) + (-2 + 2)) / 2
    assert loss.item() == pytest.approx(1.5 - 2.0)
    torch.testing.assert_close(log_alpha.grad, torch.tensor([1.5, -2.0]))


def test_without_entropy_the_target_is_that_of_clipped_double_q_learning() -> None:
    rng = torch.Generator().manual_seed(0)
    reward, q = torch.randn(3, 5, generator=rng), torch.randn(2, 3, 5, generator=rng)
    target = critic_target(reward, torch.zeros(3, 5), q, torch.randn(3, 5, generator=rng), torch.zeros(3), 0.9)
    torch.testing.assert_close(target, reward + 0.9 * torch.minimum(q[0], q[1]))


def test_an_action_has_the_density_that_its_draw_has_after_tanh() -> None:
    """log pi(a) by the change of variables, in float64 and from the action alone."""
    rng = np.random.default_rng(0)
    layers = [torch.from_numpy(rng.normal(size=shape)) for shape in ((2, 3, 4), (2, 1, 4), (2, 4, 4), (2, 1, 4))]
    seen, gaussian = torch.from_numpy(rng.normal(size=(2, 5, 3))), torch.from_numpy(rng.normal(size=(2, 5, 2)))
    layers[2] *= 0.3
    action, log_prob = sample(layers, seen, gaussian)
    for n in range(2):
        hidden = np.maximum(seen[n].numpy() @ layers[0][n].numpy() + layers[1][n].numpy(), 0)
        mean, x = np.split(hidden @ layers[2][n].numpy() + layers[3][n].numpy(), 2, -1)
        std = np.exp(-5 + 0.5 * 7 * (np.tanh(x) + 1))
        u = np.arctanh(action[n].numpy())
        np.testing.assert_allclose(u, mean + std * gaussian[n].numpy(), rtol=1e-5)
        normal = np.exp(-0.5 * ((u - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        np.testing.assert_allclose(log_prob[n], np.log(normal / (1 - action[n].numpy() ** 2)).sum(-1), rtol=1e-4)


# -- one update --------------------------------------------------------------------------------------------------------

CONFIG = SacPerTaskConfig(
    tasks=[3, 50], hidden=3, batch=4, lr=0.01, temperature=0.3, temperature_lr=0.05, gamma=0.8, tau=0.25
)


def some_transitions(rng: np.random.Generator) -> Transitions:
    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    return Transitions(
        obs=drawn(2, 4, 2),
        action=drawn(2, 4, 2).tanh(),
        reward=drawn(2, 4),
        terminated=torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]]),
        next_obs=drawn(2, 4, 2),
    )


class AloneReference:
    """The same for one task, with plain linear layers and Adam written out."""

    def __init__(self, training: SacPerTask, task: int) -> None:
        parts = {"actor": training.networks["actor"], "log_alpha": training.networks["log_alpha"]}
        critics = training.networks["critic"]
        self.now = {name: [layer[task].detach().clone() for layer in layers] for name, layers in parts.items()}
        for i in (0, 1):
            self.now[f"q{i}"] = [layer[task + 2 * i].detach().clone() for layer in critics]
        self.target = {f"q{i}": [layer.clone() for layer in self.now[f"q{i}"]] for i in (0, 1)}
        self.first = {name: [torch.zeros_like(x) for x in layers] for name, layers in self.now.items()}
        self.second = {name: [torch.zeros_like(x) for x in layers] for name, layers in self.now.items()}
        self.count = 0

    @staticmethod
    def net(layers: list[Tensor], x: Tensor) -> Tensor:
        for i in range(0, len(layers), 2):
            x = F.linear(x, layers[i].T, layers[i + 1][0])
            x = x if i == len(layers) - 2 else x.clamp(min=0)
        return x

    def policy(self, layers: list[Tensor], seen: Tensor, gaussian: Tensor) -> tuple[Tensor, Tensor]:
        mean, x = self.net(layers, seen).split(2, -1)
        spread = torch.distributions.Normal(mean, torch.exp(-5 + 3.5 * (1 + torch.tanh(x))))
        u = mean + spread.stddev * gaussian
        return torch.tanh(u), (spread.log_prob(u) - torch.log(1 - torch.tanh(u) ** 2)).sum(-1)

    def step(self, data: list[Tensor], gaussian: Tensor) -> None:
        obs, action, reward, terminated, next_obs = data
        nets = {name: [layer.clone().requires_grad_() for layer in layers] for name, layers in self.now.items()}
        alpha = nets["log_alpha"][0].exp()

        def values(critics: dict[str, list[Tensor]], seen: Tensor, done: Tensor) -> list[Tensor]:
            return [self.net(critics[f"q{i}"], torch.cat([seen, done], 1))[:, 0] for i in (0, 1)]

        with torch.no_grad():
            following, log_prob = self.policy(nets["actor"], next_obs, gaussian[0])
            ahead = torch.minimum(*values(self.target, next_obs, following)) - alpha * log_prob
            wanted = torch.where(terminated > 0, reward, reward + CONFIG.gamma * ahead)
        q0, q1 = values(nets, obs, action)
        F.mse_loss(q0, wanted).add(F.mse_loss(q1, wanted)).backward()
        chosen, log_prob = self.policy(nets["actor"], obs, gaussian[1])
        better = (alpha.detach() * log_prob - torch.minimum(*values(nets, obs, chosen))).mean()
        grads = torch.autograd.grad(better, nets["actor"])
        (alpha * (2 - log_prob.detach()).mean()).backward()
        gradients = {name: [x.grad for x in layers] for name, layers in nets.items()} | {"actor": list(grads)}
        self.adam(gradients)
        for name, layers in self.target.items():
            self.target[name] = [0.75 * old + 0.25 * new for old, new in zip(layers, self.now[name], strict=True)]

    def adam(self, gradients: dict[str, list[Any]]) -> None:
        self.count += 1
        for name, layers in self.now.items():
            rate = 0.05 if name == "log_alpha" else 0.01
            for i, gradient in enumerate(gradients[name]):
                self.first[name][i] = 0.9 * self.first[name][i] + 0.1 * gradient
                self.second[name][i] = 0.999 * self.second[name][i] + 0.001 * gradient**2
                mean = self.first[name][i] / (1 - 0.9**self.count)
                square = self.second[name][i] / (1 - 0.999**self.count)
                layers[i] = layers[i] - rate * mean / (square.sqrt() + 1e-8)


def test_updates_are_those_of_each_task_alone_recomputed() -> None:
    rng, training = np.random.default_rng(1), SacPerTask(POINT, CONFIG)
    for layers in (training.target, *training.networks.values()):  # first biases are 0, and targets the critics
        for layer in layers:
            layer.detach().add_(torch.from_numpy(rng.normal(size=layer.shape).astype(np.float32)), alpha=0.3)
    references = [AloneReference(training, task) for task in (0, 1)]
    for task, reference in enumerate(references):
        reference.target = {f"q{i}": [x[task + 2 * i].clone() for x in training.target] for i in (0, 1)}
    for _ in range(3):
        data, gaussian = some_transitions(rng), torch.from_numpy(rng.normal(size=(2, 2, 4, 2)).astype(np.float32))
        training.update(data, gaussian)
        for task, reference in enumerate(references):
            columns = [data.obs, data.action, data.reward, data.terminated, data.next_obs]
            reference.step([column[task] for column in columns], gaussian[:, task])
    for task, reference in enumerate(references):
        for name in ("actor", "log_alpha"):
            for ours, theirs in zip(training.networks[name], reference.now[name], strict=True):
                torch.testing.assert_close(ours[task].detach(), theirs, atol=2e-5, rtol=1e-4)
        for i in (0, 1):
            found = [training.networks["critic"], training.target]
            for layers, theirs in zip(found, [reference.now, reference.target], strict=True):
                for ours, theirs_ in zip(layers, theirs[f"q{i}"], strict=True):
                    torch.testing.assert_close(ours[task + 2 * i].detach(), theirs_, atol=2e-5, rtol=1e-4)


def test_a_task_is_trained_as_if_it_were_alone() -> None:
    together, alone = SacPerTask(POINT, SMALL), SacPerTask(POINT, replace(SMALL, tasks=[50]))
    for training in (together, alone):
        training.lap(120)
    np.testing.assert_allclose(together.replay.rows[1], alone.replay.rows[0], atol=1e-5)
    for name, tensor in alone.actor().items():
        np.testing.assert_allclose(together.actor()[name][1], tensor[0], atol=1e-4)
    one, other = together.actor()["mean.weight"][:2]
    assert np.abs(one - other).max() > 0.01


def test_first_weights_are_orthogonal_and_of_each_task_its_own() -> None:
    layers = orthogonal_layers([generator(0, task) for task in (1, 2)], [3, 5, 2])
    assert [tuple(layer.shape) for layer in layers] == [(2, 3, 5), (2, 1, 5), (2, 5, 2), (2, 1, 2)]
    for n in (0, 1):
        torch.testing.assert_close(layers[0][n] @ layers[0][n].T, torch.eye(3))
        torch.testing.assert_close(layers[2][n].T @ layers[2][n], torch.eye(2))
    assert not layers[1].any()
    assert (layers[0][0] - layers[0][1]).abs().max() > 0.1


# -- replay and episodes -----------------------------------------------------------------------------------------------


def test_the_replay_keeps_the_latest_of_each_task() -> None:
    replay, everyone = Replay(2, 3, 1, 1), np.arange(2)
    for number in range(5):
        tasks = everyone if number < 4 else everyone[:1]
        row = np.array([number, 10 + number], np.float32)
        replay.add(tasks, row[:, None], -row[:, None], 100 + row, np.array([number == 2] * 2), 0.5 + row[:, None])
    assert replay.added.tolist() == [5, 4]
    data = replay.batch(np.array([[0.0, 0.4, 0.99], [0.0, 0.4, 0.99]]))
    torch.testing.assert_close(data.obs[..., 0], torch.tensor([[3.0, 4.0, 2.0], [13.0, 11.0, 12.0]]))
    torch.testing.assert_close(data.action, -data.obs)
    torch.testing.assert_close(data.reward, 100 + data.obs[..., 0])
    torch.testing.assert_close(data.next_obs, 0.5 + data.obs)
    torch.testing.assert_close(data.terminated, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]))


def test_a_batch_is_of_what_a_task_has() -> None:
    replay = Replay(1, 10, 1, 1)
    for number in (1.0, 2.0):
        replay.add(np.array([0]), *([np.full((1, 1), number)] * 5))
    assert set(replay.batch(np.linspace(0, 0.999, 50)[None]).obs.flatten().tolist()) == {1.0, 2.0}


def test_transitions_are_those_of_the_environment_and_time_limits_do_not_end() -> None:
    training = SacPerTask(POINT, replace(SMALL, warmup=20))
    training.lap(40)
    rows = training.replay.rows
    obs, action, reward, terminated, following = np.split(rows[:, :40], [2, 4, 5, 6], -1)
    np.testing.assert_array_equal(obs[:, [0, 20]], 0)
    np.testing.assert_array_equal(following[:, :19], obs[:, 1:20])
    np.testing.assert_allclose(following, obs + 0.1 * action, atol=1e-6)
    angles = np.array(SMALL.tasks) * np.pi / 99
    goals = np.stack([np.cos(angles), np.sin(angles)], 1)[:, None]
    np.testing.assert_allclose(reward[..., 0], -np.linalg.norm(following - goals, axis=-1), atol=1e-5)
    assert not terminated.any()
    assert np.abs(action).max() < 1
    assert np.abs(action[0] - action[1]).max() > 0.5  # each task draws for itself


def test_updates_begin_after_the_random_actions_at_their_rate() -> None:
    counts = dict.fromkeys((0.25, 1.0, 2.0), 0)
    for rate in counts:
        training = SacPerTask(POINT, replace(SMALL, updates=rate))
        training.lap(40)
        assert training.losses() == {}
        training.lap(40)
        counts[rate] = int(training.state()["optimiser.all.0.step"])
    assert counts == {0.25: 10, 1.0: 40, 2.0: 80}


class Falls:
    """A lock-step environment whose number b ends after b + 1 steps, and whose last becomes unstable at step 3."""

    def reset(self, task_indices: Any, seeds: Any) -> Any:
        self._step = 0
        return np.zeros((len(task_indices), 2), np.float32)

    def step(self, actions: Any) -> StepBatch:
        self._step += 1
        observations = np.full((3, 2), float(self._step), np.float32)
        if self._step == 3:
            observations[2] = np.nan
        ended = np.arange(3) + 1 <= self._step
        return StepBatch(
            observations=observations,
            rewards=np.full(3, 1.0),
            terminated=ended & (np.arange(3) < 2),
            truncated=np.full(3, self._step == 20),
            success=np.zeros(3, bool),
        )


def test_what_follows_an_end_or_is_unstable_is_not_learned_from() -> None:
    training = SacPerTask(replace(POINT, batched=Falls), SMALL)
    training.lap(40)
    assert training.replay.added.tolist() == [2, 4, 4]
    rows = training.replay.rows
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[1, :4, 5], [0, 1, 0, 1])
    np.testing.assert_array_equal(rows[2, :4, 5], 0)


def test_bodies_that_become_unstable_leave_weights_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Bodies.start

    def thrown(self: Bodies, factors: Any, seeds: Any) -> Any:
        seen = start(self, factors, seeds)
        self._active[0].data.qvel[:] = 1e9
        return seen

    config = replace(SMALL, tasks=[0, 1], steps=400, evaluate_every=200, warmup=200, updates=0.02)
    training = SacPerTask(get_family("cheetah-vel"), config)
    training.lap(200)
    monkeypatch.setattr(Bodies, "start", thrown)
    training.lap(200)
    assert training.replay.added[0] < training.replay.added[1] == 400
    assert all(np.isfinite(value).all() for value in training.actor().values())


# -- a training in a folder --------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def stop_after(laps: int) -> Any:
    def advance(steps: int) -> None:
        nonlocal laps
        laps -= steps > 0
        if laps < 0:
            raise Stopped

    return advance


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PolicyRecord]:
    folder = tmp_path_factory.mktemp("policies")
    return folder, train_policy(POINT, SMALL, folder, "idaq behavior train point-robot --per-task")


def test_a_training_leaves_the_last_policies_as_half_precision_numbers(trained: tuple[Path, PolicyRecord]) -> None:
    folder, record = trained
    assert read_record(folder) == record
    assert (record.tasks, record.feature_size, record.dtype) == ([3, 50, 97], 0, "float16")
    assert [point.steps for point in record.curve] == [0, 40, 80, 120]
    assert list(record.snapshots) == ["final"]
    assert record.snapshots["final"].steps == 120
    stored = load_file(folder / "final.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {np.dtype(np.float16)}
    assert stored["layers.0.weight"].shape == (3, 8, 2)
    assert stored["log_std.bias"].shape == (3, 2)
    assert "critic_loss" in read_metrics(folder)[-1]


def test_the_recorded_return_is_that_of_the_weights_in_the_file(trained: tuple[Path, PolicyRecord]) -> None:
    folder, record = trained
    seeds = np.arange(3, dtype=np.uint64)
    returns = play(POINT, open_policy(folder, "final"), np.array([3, 50, 97]), seeds, 0.0).returns
    assert float(returns.mean()) == record.snapshots["final"].mean


def test_a_stopped_training_resumes_to_the_same_bytes(trained: tuple[Path, PolicyRecord], tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train_policy(POINT, SMALL, tmp_path, "again", stop_after(1))
    assert read_record(tmp_path).curve[-1].steps == 80
    record = train_policy(POINT, SMALL, tmp_path, "again")
    assert record.snapshots == trained[1].snapshots
    for name in ("final.safetensors", CHECKPOINT, "metrics.jsonl"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


def test_a_resumed_replay_is_that_of_the_whole_run(tmp_path: Path) -> None:
    ring = replace(SMALL, buffer=50)
    whole, parts, resumed = (SacPerTask(POINT, ring) for _ in range(3))
    whole.lap(120)
    parts.lap(80)
    resumed.load(parts.state())
    resumed.lap(40)
    for name, tensor in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], tensor, err_msg=name)


def test_the_policy_in_numpy_is_the_actor_that_was_trained() -> None:
    training = SacPerTask(POINT, replace(SMALL, hidden=12))
    training.lap(120)
    rng = np.random.default_rng(0)
    seen, gaussian = rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    policy = GaussianActor(training.actor(), squashed=True).rows(np.array([2, 0, 0]))
    with torch.no_grad():
        theirs, _ = sample(
            [layer[[2, 0, 0]] for layer in training.networks["actor"]],
            torch.from_numpy(seen)[:, None],
            torch.from_numpy(gaussian)[:, None],
        )
    np.testing.assert_allclose(policy(seen, gaussian, 1.0), theirs[:, 0], atol=1e-6)
    alone = GaussianActor(training.actor(), squashed=True).rows(np.array([0]))
    assert alone(seen[1:2], gaussian[1:2], 1.0).tobytes() == policy(seen, gaussian, 1.0)[1:2].tobytes()


def test_weights_of_another_dtype_than_the_record_says_are_refused(
    trained: tuple[Path, PolicyRecord], tmp_path: Path
) -> None:
    for path in trained[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    record = tmp_path / "record.json"
    record.write_text(record.read_text().replace("float16", "float32"))
    with pytest.raises(PolicyError, match=r"float16.* its record asks for .*float32"):
        read_policy(tmp_path, "final")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 130}, "steps is 130, no whole number of episodes of 20 steps"),
        ({"evaluate_every": 30}, "evaluate_every is 30, no whole number"),
        ({"tasks": [3, 100]}, r"no tasks \[100\]"),
        ({"lr": 1e30}, "diverged after 80 steps"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        train_policy(POINT, replace(SMALL, **changes), tmp_path, "")
    assert caught.value.hint


def test_a_folder_of_the_other_kind_of_training_is_refused(trained: tuple[Path, PolicyRecord]) -> None:
    with pytest.raises(PolicyError, match="another config"):
        train_policy(POINT, replace(SMALL, gamma=0.5), trained[0], "")


def test_it_learns_to_reach_the_goal(tmp_path: Path) -> None:
    config = replace(SMALL, tasks=[20, 70], steps=1200, warmup=400, hidden=32, batch=64, lr=3e-3, evaluate_every=1200)
    record = train_policy(POINT, config, tmp_path, "")
    assert record.curve[0].mean < -15
    assert record.snapshots["final"].mean > -7
