"""CSRO's bound of what an embedding tells of its state and action: values, gradients, and what they reduce to."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from idaq.learn.algorithms.csro import Csro, club_loss, variational_loss
from idaq.learn.algorithms.csro_config import CsroConfig, Pairs
from idaq.learn.config import TrainConfig, training_config
from idaq.learn.learners.config import IqlConfig, LearnerConfig, Td3BcConfig
from idaq.testing import AlgorithmContract
from tests.learn.objective_update import (
    RATE,
    SMALL_RUN,
    Subject,
    assert_gradients,
    assert_learns_as_focal,
    embedding,
    moved,
    reference,
)
from tests.learn.reference_update import Networks, Settings, Step, focal_terms, forward
from tests.learn.test_update import Given


def column(*values: float) -> Tensor:
    """One task's numbers of a one-dimensional latent: (1, K, 1)."""
    return torch.tensor(values)[None, :, None]


def random_case(tasks: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, means and variances (N, 4, 2)."""
    draw = torch.Generator().manual_seed(0)
    z, mean, spread = (torch.randn(tasks, 4, 2, generator=draw, dtype=torch.float64) for _ in range(3))
    return z, mean, spread.exp()


# -- the fit of q ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "mean", "variance", "value"),
    [
        ([1.0], [1.0], [1.0], 0.0),
        ([1.0], [0.0], [math.e], (1 / math.e + 1) / 2),
        ([3.0, 1.0], [1.0, 1.0], [0.5, 1.0], (4 / 1.0 + math.log(0.5) / 2 + 0) / 2),  # mean over transitions
    ],
)
def test_values_of_the_fit(z: list[float], mean: list[float], variance: list[float], value: float) -> None:
    loss, info = variational_loss(column(*z), column(*mean), column(*variance))
    assert loss.item() == pytest.approx(value, rel=1e-6)
    assert info["variational_loss"].item() == pytest.approx(value, rel=1e-6)


def test_gradients_of_the_fit() -> None:
    mean, variance = column(0.0).requires_grad_(), column(2.0).requires_grad_()
    variational_loss(column(3.0), mean, variance)[0].backward()
    assert mean.grad is not None
    assert variance.grad is not None
    assert mean.grad.item() == pytest.approx(-3 / 2)  # (m - z) / v
    assert variance.grad.item() == pytest.approx(-9 / 8 + 1 / 4)  # -(z - m)^2 / 2v^2 + 1 / 2v


def test_the_fit_is_the_likelihood_of_a_gaussian() -> None:
    z, mean, variance = random_case()
    exact = -Normal(mean, variance.sqrt()).log_prob(z).mean() - math.log(2 * math.pi) / 2
    torch.testing.assert_close(variational_loss(z, mean, variance)[0], exact)


# -- the bound ---------------------------------------------------------------------------------------------------


def every_pair(z: Tensor, mean: Tensor, variance: Tensor, pairs: Pairs) -> Tensor:
    """The bound from its definition, a pair of transitions at a time: (s, a) of one, the embedding of the other."""
    q = Normal(mean, variance.sqrt())
    matched = torch.stack([Normal(q.mean[i], q.stddev[i]).log_prob(z[i]) for i in range(len(z))]).mean()
    mixed = []
    for i, j in product(range(len(z)), repeat=2):
        if pairs == "batch" or i == j:
            for k, other in product(range(z.shape[1]), repeat=2):
                mixed.append(Normal(q.mean[i, k], q.stddev[i, k]).log_prob(z[j, other]))
    return matched - torch.stack(mixed).mean()


def test_the_value_by_hand() -> None:
    """log q of the pairs, up to what is equal in both terms: 0, -2 under the first (s, a), -1, -1 under the second."""
    loss, info = club_loss(column(0.0, 2.0), column(0.0, 1.0), column(1.0, 0.5))
    assert loss.item() == pytest.approx((0 - 1) / 2 - (0 - 2 - 1 - 1) / 4)
    assert info["club_loss"].item() == pytest.approx(0.5)


def test_gradients_by_hand() -> None:
    z = column(0.0, 2.0).requires_grad_()
    club_loss(z, column(0.0, 1.0), column(1.0, 0.5))[0].backward()
    assert z.grad is not None
    # 1/2 d log q(z_i | i) / dz_i - 1/4 sum over i of d log q(z_j | i) / dz_j, where d log q = -(z - m) / v
    assert z.grad.flatten().tolist() == pytest.approx([0 + (0 - 2) / 4, -2 / 2 + (2 + 2) / 4])


@pytest.mark.parametrize("pairs", ["task", "batch"])
def test_it_is_the_mean_over_all_pairs(pairs: Pairs) -> None:
    z, mean, variance = random_case()
    z.requires_grad_()
    found, expected = club_loss(z, mean, variance, pairs)[0], every_pair(z, mean, variance, pairs)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(expected, z))


def test_pairs_of_the_batch_tell_tasks_apart_and_pairs_of_a_task_do_not() -> None:
    """Embeddings that depend on the task alone: nothing to reduce within a task, all of it within the batch."""
    z = torch.tensor([-1.0, 1.0])[:, None, None].expand(2, 4, 1)
    variance = torch.full((2, 4, 1), 0.5)
    assert club_loss(z, z, variance, "task")[0].item() == pytest.approx(0)
    assert club_loss(z, z, variance, "batch")[0].item() == pytest.approx(2)  # mean of 0 and 2^2 / 2v over the pairs


@pytest.mark.parametrize("pairs", ["task", "batch"])
def test_it_is_zero_where_q_tells_nothing_of_the_state_and_action(pairs: Pairs) -> None:
    z, mean, variance = random_case()
    same = (mean[:1, :1].expand_as(mean), variance[:1, :1].expand_as(variance))
    assert club_loss(z, *same, pairs)[0].item() == pytest.approx(0, abs=1e-12)


def test_of_one_task_both_kinds_of_pairs_are_the_same() -> None:
    case = random_case(tasks=1)
    torch.testing.assert_close(club_loss(*case, "task")[0], club_loss(*case, "batch")[0])


# -- the update --------------------------------------------------------------------------------------------------

WEIGHT = 1.7
OWN = {"club": {"weight": WEIGHT, "hidden": 3, "layers": 1}}


def objective(networks: Networks, settings: Settings, step: Step, pairs: Pairs) -> tuple[Tensor, ...]:
    """FOCAL's terms, the bound and the fit, from embeddings and q of one transition at a time."""
    pull, push = focal_terms(networks, settings, step)
    contexts = [[*first, *second] for first, second in step.halves]
    z = torch.stack([torch.stack([embedding(networks, settings, row) for row in rows]) for rows in contexts])
    outputs = torch.stack(
        [torch.stack([forward(networks["q"], row.s, row.a).tanh() for row in rows]) for rows in contexts]
    )
    mean, variance = outputs[..., :2], (1 + outputs[..., 2:].exp()).log()
    bound = every_pair(z, mean.detach(), variance.detach(), pairs)
    fit = -Normal(mean, variance.sqrt()).log_prob(z.detach()).mean() - math.log(2 * math.pi) / 2
    return pull, push, bound, fit


@pytest.mark.parametrize("next_observation", [False, True])
@pytest.mark.parametrize("pairs", ["task", "batch"])
def test_an_update_by_value(pairs: Pairs, next_observation: bool) -> None:
    settings = Settings(next_observation=next_observation)
    subject = Subject("csro", settings, {"club": {**OWN["club"], "pairs": pairs}})
    given, part = Given(settings), subject.networks.objective
    assert isinstance(part, Csro)
    networks = {"encoder": reference(subject.networks.encoder), "q": reference(part.q)}
    pull, push, bound, fit = objective(networks, settings, given.rows_at(0), pairs)
    (pull + push + WEIGHT * bound + fit).backward()

    info = subject.update(0, given.at(0)[1], given)
    assert_gradients(subject.networks.encoder, networks["encoder"])
    assert_gradients(part.q, networks["q"])
    expected = {"focal_pull": pull, "focal_push": push, "club_loss": bound, "variational_loss": fit}
    assert {name: info[name] for name in expected} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-4, abs=1e-6
    )
    assert_learns_as_focal(subject, info, settings, given.at(0)[1])


def test_q_moves_at_the_encoders_rate() -> None:
    settings = Settings()
    subject = Subject("csro", settings, OWN)
    given, q = Given(settings), subject.networks.objective
    assert moved(subject, q, lambda: subject.update(0, given.at(0)[1], given)) == pytest.approx([RATE] * 4, rel=1e-3)


# -- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "learner"),
    [
        ({}, Td3BcConfig()),
        ({"gamma": 0.9}, Td3BcConfig(gamma=0.9)),
        ({"kind": "iql", "gamma": 0.9}, IqlConfig(gamma=0.9)),
    ],
)
def test_the_learner_is_td3bc_unless_another_is_named(given: dict[str, Any], learner: LearnerConfig) -> None:
    config = training_config({"algorithm": "csro", "learner": given})
    assert isinstance(config, CsroConfig)
    assert config.learner == learner


# -- the contract ------------------------------------------------------------------------------------------------


class TestCsro(AlgorithmContract):
    def config(self, seed: int) -> TrainConfig:
        return training_config({**SMALL_RUN, **OWN, "algorithm": "csro", "seed": seed})
