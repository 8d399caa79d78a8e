"""GENTLE: losses by value, its models by themselves, contexts that it makes up, and both kinds of update."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from idaq.learn.algorithms.gentle import Gentle, TaskModels, models_loss, reconstruction_loss, sources
from idaq.learn.algorithms.gentle_config import ModelsConfig
from idaq.learn.config import TrainConfig, training_config
from idaq.learn.latent.encoder import Drawn
from idaq.loader.transitions import Transitions
from idaq.testing import AlgorithmContract
from idaq.testing.algorithms import STEPS
from tests.learn.objective_update import (
    RATE,
    SMALL_RUN,
    Subject,
    assert_gradients,
    assert_learns_as_focal,
    leaf,
    moved,
    reference,
)
from tests.learn.reference_update import Layers, Networks, Row, Settings, Step, belief, forward
from tests.learn.test_update import LABELS, Given

OWN = {
    "share": 0.6,
    "own_share": 0.3,
    "decoder": {"hidden": 3, "layers": 1},
    "models": {"members": 2, "hidden": 3, "layers": 1, "steps_share": 0.5},
}
MAKING_UP = 5
"""the first of ten steps in which the models are held still"""

# -- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decoded", "outcome", "value"),
    [
        ([[[1.0, 2.0]]], [[[1.0, 2.0]]], 0.0),
        ([[[3.0, 1.0]]], [[[1.0, 1.0]]], 4 / 2),
        ([[[3.0], [0.0]], [[0.0], [1.0]]], [[[1.0], [0.0]], [[0.0], [0.0]]], (4 + 1) / 4),
    ],
)
def test_values_of_the_reconstruction(decoded: Any, outcome: Any, value: float) -> None:
    loss, info = reconstruction_loss(torch.tensor(decoded), torch.tensor(outcome))
    assert (loss.item(), info["reconstruction_loss"].item()) == pytest.approx((value, value))


def test_gradients_of_the_reconstruction() -> None:
    decoded = torch.tensor([[[3.0, 1.0], [0.0, -1.0]]], requires_grad=True)
    reconstruction_loss(decoded, torch.ones(1, 2, 2))[0].backward()
    assert decoded.grad is not None
    assert decoded.grad.flatten().tolist() == pytest.approx([2 * 2 / 4, 0, 2 * -1 / 4, 2 * -2 / 4])


def test_of_one_model_its_loss_is_the_reconstructions() -> None:
    given, outcome = torch.randn(2, 1, 1, 5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(models_loss(given, outcome)[0], reconstruction_loss(given[0], outcome[0])[0])


def test_values_and_gradients_of_the_models() -> None:
    """Two tasks of one model each: a sum, so that no model's gradient depends on how many there are."""
    predicted = torch.tensor([2.0, 5.0])[:, None, None, None].requires_grad_()
    loss, info = models_loss(predicted, torch.zeros(2, 1, 1, 1))
    loss.backward()
    assert predicted.grad is not None
    assert (loss.item(), info["models_loss"].item()) == pytest.approx((4 + 25, (4 + 25) / 2))
    assert predicted.grad.flatten().tolist() == [4.0, 10.0]


# -- models ------------------------------------------------------------------------------------------------------


def of_task(models: TaskModels, task: int, member: int) -> Layers:
    """One model's layers."""
    number = task * models.members + member
    pairs = zip(models.net.weights, models.net.biases, strict=True)
    return [(leaf(weight[number]), leaf(bias[number, 0])) for weight, bias in pairs]


def test_each_task_has_models_of_its_own() -> None:
    """A batch teaches those of its tasks alone, and each member from its own rows."""
    torch.manual_seed(0)
    models = TaskModels(ModelsConfig(members=2, hidden=3), tasks=4, inputs=2, outputs=1)
    x, y, task = torch.randn(3, 5, 2), torch.randn(3, 5, 1), torch.tensor([3, 1, 3])
    models.loss(x, y, task)[0].backward()
    last = models.net.biases[-1].grad
    assert last is not None
    assert (last.flatten() != 0).tolist() == [False, False, True, True, False, False, True, True]
    before = last.clone()
    models.zero_grad()
    x[1, 2:] += 1  # of the second member, and of none
    models.loss(x, y, task)[0].backward()
    last = models.net.biases[-1].grad
    assert last is not None
    assert (last != before).flatten().nonzero().flatten().tolist() == [3]


def test_what_is_predicted_is_the_mean_over_the_tasks_models() -> None:
    torch.manual_seed(0)
    models = TaskModels(ModelsConfig(members=2, hidden=3, layers=1), tasks=4, inputs=2, outputs=3)
    x, tasks = torch.randn(2, 5, 2), [2, 0]
    found = models.predict(x, torch.tensor(tasks))
    assert not found.requires_grad
    for row, task in enumerate(tasks):
        for place in range(5):
            told = [forward(of_task(models, task, member), x[row, place].double()) for member in (0, 1)]
            torch.testing.assert_close(
                found[row, place].double(), torch.stack(told).mean(0).detach(), rtol=1e-4, atol=1e-6
            )


# -- contexts ----------------------------------------------------------------------------------------------------


def test_a_share_of_the_sources_is_the_tasks_own_and_the_rest_any() -> None:
    rng = np.random.default_rng(0)
    assert (sources(3, 50, 1.0, rng) // 50 == torch.arange(3)[:, None]).all()
    place = sources(4, 10_000, 0.25, rng)
    own = (place // 10_000 == torch.arange(4)[:, None]).double().mean().item()
    assert own == pytest.approx(0.25 + 0.75 / 4, abs=0.01)
    assert place.min() >= 0
    assert place.max() < 40_000
    assert len(place.unique()) > 20_000  # any transition of the task


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_that_is_made_up(share: float) -> None:
    subject = Subject("gentle", Settings(), {**OWN, "share": share})
    part = subject.networks.objective
    assert isinstance(part, Gentle)
    context = {"obs": torch.zeros(3, 400, 2), "action": torch.zeros(3, 400, 2), "outcome": torch.zeros(3, 400, 3)}
    drawn = Drawn(tasks=torch.tensor(LABELS), context=context, act=lambda: torch.ones(3, 400, 2))
    made_up = part.contexts(drawn, MAKING_UP, np.random.default_rng(0))["action"][..., 0]
    assert made_up.mean().item() == pytest.approx(share, abs=0.05)
    assert part.contexts(drawn, MAKING_UP - 1, np.random.default_rng(0)) is context


def made_up_rows(subject: Subject, settings: Settings, step: Step, rng: np.random.Generator) -> list[list[Row]]:
    """Every task's context as the networks make it up, a transition at a time, with the draws of the update."""
    networks, part = subject.networks, subject.networks.objective
    assert isinstance(part, Gentle)
    encoder, actor = reference(networks.encoder), reference(networks.policy.get_submodule("actor"))
    contexts = [[*first, *second] for first, second in step.halves]
    tasks, size = len(contexts), len(contexts[0])
    own, any_task = rng.random((tasks, size)) < OWN["own_share"], rng.integers(tasks, size=(tasks, size))
    place, replaced = rng.integers(size, size=(tasks, size)), rng.random((tasks, size)) < OWN["share"]
    assert 2 < replaced.sum() < tasks * size - 2
    assert {0, 1} < set(own.flatten().astype(int)) | {2}
    beliefs = [belief({"encoder": encoder}, settings, rows) for rows in contexts]
    made = [list(rows) for rows in contexts]
    for i, k in zip(*np.nonzero(replaced), strict=True):
        j = i if own[i, k] else any_task[i, k]
        s = contexts[j][place[i, k]].s
        a = forward(actor, s, beliefs[j]).tanh()
        told = [forward(of_task(part.models, int(LABELS[i]), member), s, a) for member in (0, 1)]
        outcome = torch.stack(told).mean(0).detach()
        made[i][k] = Row(s=s, a=a.detach(), r=outcome[0], outcome=outcome, following=s, terminated=False)
    return made


def as_transitions(settings: Settings, contexts: list[list[Row]]) -> Transitions:
    """Rows in the environment's units."""

    def stacked(of: Any) -> NDArray[Any]:
        return torch.stack([torch.stack([of(row) for row in rows]) for rows in contexts]).numpy().astype(np.float64)

    s = stacked(lambda row: row.s) * settings.observation_std + settings.observation_mean
    outcome = stacked(lambda row: row.outcome)
    return Transitions(
        observations=s.astype(np.float32),
        actions=(stacked(lambda row: row.a) * settings.action_scale + settings.action_centre).astype(np.float32),
        rewards=(outcome[..., 0] * settings.reward_std + settings.reward_mean).astype(np.float32),
        next_observations=(s + outcome[..., 1:] * settings.change_std).astype(np.float32),
        terminated=np.zeros(s.shape[:2], bool),
    )


# -- the update --------------------------------------------------------------------------------------------------


def reconstruction(networks: Networks, settings: Settings, contexts: list[list[Row]]) -> Tensor:
    """Of what the encoder reads of each context transition, under the belief of its whole context."""
    terms = []
    for rows in contexts:
        z = belief(networks, settings, rows)
        for row in rows:
            read = row.outcome if settings.next_observation else row.outcome[:1]
            terms.append((forward(networks["decoder"], row.s, row.a, z) - read).square().mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize("next_observation", [False, True])
def test_an_update_while_the_models_learn_by_value(next_observation: bool) -> None:
    settings = Settings(next_observation=next_observation)
    subject, given = Subject("gentle", settings, OWN), Given(settings)
    part, step = subject.networks.objective, given.rows_at(0)
    assert isinstance(part, Gentle)
    networks = {"encoder": reference(subject.networks.encoder), "decoder": reference(part.decoder)}
    loss = reconstruction(networks, settings, [[*first, *second] for first, second in step.halves])
    loss.backward()
    models = {(task, member): of_task(part.models, task, member) for task in (4, 7) for member in (0, 1)}
    errors = [
        (forward(models[label, member], rows[member].s, rows[member].a) - rows[member].outcome).square().mean()
        for label, rows in zip(step.labels, step.rows, strict=True)
        for member in (0, 1)  # of a task's three rows each member has one, and one is left
    ]
    torch.stack(errors).sum().backward()

    info = subject.update(0, given.at(0)[1], given)
    assert_gradients(subject.networks.encoder, networks["encoder"])
    assert_gradients(part.decoder, networks["decoder"])
    for (task, member), layers in models.items():
        for depth, (weight, bias) in enumerate(layers):
            found = [each[depth].grad[task * 2 + member] for each in (part.models.net.weights, part.models.net.biases)]
            torch.testing.assert_close(found[0].double(), weight.grad, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(found[1][0].double(), bias.grad, rtol=1e-4, atol=1e-6)
    assert info["reconstruction_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert info["models_loss"] == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)
    assert_learns_as_focal(subject, info, settings, given.at(0)[1])


@pytest.mark.parametrize("next_observation", [False, True])
def test_an_update_from_contexts_that_are_made_up_by_value(next_observation: bool) -> None:
    settings = Settings(next_observation=next_observation)
    subject, given = Subject("gentle", settings, OWN), Given(settings)
    part = subject.networks.objective
    assert isinstance(part, Gentle)
    contexts = made_up_rows(subject, settings, given.rows_at(0), np.random.Generator(np.random.PCG64(0)))
    networks = {"encoder": reference(subject.networks.encoder), "decoder": reference(part.decoder)}
    loss = reconstruction(networks, settings, contexts)
    loss.backward()
    models = [weight.detach().clone() for weight in part.models.parameters()]

    info = subject.update(MAKING_UP + 1, given.at(0)[1], given)
    assert_gradients(subject.networks.encoder, networks["encoder"])
    assert_gradients(part.decoder, networks["decoder"])
    assert info["reconstruction_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert all(torch.equal(now, was) for now, was in zip(part.models.parameters(), models, strict=True))
    assert_learns_as_focal(subject, info, settings, as_transitions(settings, contexts), MAKING_UP + 1)


def test_models_are_held_still_though_they_have_learned_before() -> None:
    """Adam would go on by its momentum, of a gradient of 0."""
    settings = Settings()
    subject, given = Subject("gentle", settings, OWN), Given(settings)
    part = subject.networks.objective
    assert isinstance(part, Gentle)
    by = moved(subject, part, lambda: subject.update(0, given.at(0)[1], given))
    assert by == pytest.approx([RATE] * len(list(part.parameters())), rel=1e-3)
    models = [weight.detach().clone() for weight in part.models.parameters()]
    subject.update(MAKING_UP, given.at(0)[1], given)
    assert all(torch.equal(now, was) for now, was in zip(part.models.parameters(), models, strict=True))


# -- the contract ------------------------------------------------------------------------------------------------


class TestGentle(AlgorithmContract):
    """Two of its steps with models that learn, two with contexts that are made up."""

    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL_RUN, **OWN, "steps": STEPS, "algorithm": "gentle", "seed": seed})
