"""The agent speaks the dataset's units at its edges and normalised ones inside."""

import numpy as np
import torch

from idaq.collect.collect import Collected
from idaq.learn.algorithms.focal import create, focal_loss
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import Td3BcConfig
from idaq.learn.loop import agent_spec, training_step
from idaq.learn.units import Units
from idaq.loader import MetaBatches, open_dataset
from idaq.loader.transitions import Transitions

SPEC = AgentSpec(
    observation_mean=[1.0, -1.0],
    observation_std=[2.0, 0.5],
    change_std=[0.1, 0.2],
    reward_mean=-3.0,
    reward_std=2.0,
    action_centre=[0.5],
    action_scale=[1.5],
)
CONFIG = FocalTd3BcConfig(
    encoder=EncoderConfig(hidden=8, latent=3),
    learner=Td3BcConfig(hidden=8),
    ensemble=EnsembleConfig(hidden=8, members=3),
)


def one_transition() -> Transitions:
    return Transitions(
        observations=np.array([[3.0, -1.5]], np.float32),
        actions=np.array([[2.0]], np.float32),
        rewards=np.array([1.0], np.float32),
        next_observations=np.array([[3.2, -1.4]], np.float32),
        terminated=np.array([True]),
    )


def test_normalisation_by_value() -> None:
    columns = Units(SPEC).columns(one_transition())
    torch.testing.assert_close(columns["obs"], torch.tensor([[1.0, -1.0]]))
    torch.testing.assert_close(columns["action"], torch.tensor([[1.0]]))
    torch.testing.assert_close(columns["reward"], torch.tensor([0.5]))  # scaled, not shifted: a target must not move
    torch.testing.assert_close(columns["outcome"], torch.tensor([[2.0, 2.0, 0.5]]))  # centred r, then s' - s
    torch.testing.assert_close(columns["terminated"], torch.tensor([1.0]))


def test_the_context_holds_the_change_of_observation_only_when_asked() -> None:
    columns = Units(SPEC).columns(one_transition())
    without = create(CONFIG, SPEC, "cpu").networks
    config = FocalTd3BcConfig(encoder=EncoderConfig(hidden=8, latent=3, next_observation=True))
    with_change = create(config, SPEC, "cpu").networks
    assert without.context_rows(columns).tolist() == [[1.0, -1.0, 1.0, 2.0]]
    torch.testing.assert_close(with_change.context_rows(columns), torch.tensor([[1.0, -1.0, 1.0, 2.0, 2.0, 0.5]]))


def test_actions_stay_inside_the_action_space() -> None:
    algorithm = create(CONFIG, SPEC, "cpu")
    with torch.no_grad():
        for parameter in algorithm.networks.policy.actor.parameters():
            parameter.mul_(1000)
    rng = np.random.default_rng(0)
    policy = algorithm.agent(None).policy(rng.normal(size=(100, 3)).astype(np.float32))
    actions = policy.act(rng.normal(size=(100, 2)))
    assert actions.shape == (100, 1)
    assert (actions >= -1.0).all()
    assert (actions <= 2.0).all()
    assert np.ptp(actions) > 2.9


def test_an_agent_is_the_algorithm_at_that_time() -> None:
    algorithm, rng = create(CONFIG, SPEC, "cpu"), np.random.default_rng(0)
    observations, z = rng.normal(size=(50, 2)), rng.normal(size=(50, 3)).astype(np.float32)
    agent = algorithm.agent(None)
    actions, embedded = agent.policy(z).act(observations), agent.embed(one_transition())
    units = algorithm.units
    x = torch.cat([units.observations(torch.as_tensor(observations, dtype=torch.float32)), torch.as_tensor(z)], -1)
    expected = algorithm.networks.policy.act(x) * units.action_scale + units.action_centre
    np.testing.assert_allclose(actions, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert actions.dtype == np.float32
    with torch.no_grad():
        for parameter in algorithm.networks.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(agent.policy(z).act(observations), actions)
    np.testing.assert_array_equal(agent.embed(one_transition()), embedded)


def test_the_encoder_learns_from_the_metric_loss_alone(collected: Collected) -> None:
    """z is detached: after a whole step the encoder's gradient is that of the FOCAL loss and of nothing else."""
    dataset = open_dataset(collected.path)
    table = dataset.select(split="train").transitions()
    spec = agent_spec(dataset, table.statistics())
    config = FocalTd3BcConfig(encoder=EncoderConfig(hidden=8, latent=3), learner=Td3BcConfig(hidden=8))
    batches = MetaBatches(table, meta_batch=4, batch=8, context=10, seed=0)
    algorithm, alone = create(config, spec, "cpu"), create(config, spec, "cpu").networks
    training_step(algorithm, batches, 0, 0)

    drawn = batches.at(0)
    z = alone.encoder(alone.context_rows(algorithm.units.columns(drawn.context)).unflatten(1, (2, -1)))
    focal_loss(z.flatten(0, 1), torch.as_tensor(drawn.tasks).repeat_interleave(2))[0].backward()
    for parameter, expected in zip(algorithm.networks.encoder.parameters(), alone.encoder.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


def test_learning_rates_fall_linearly_to_their_end(collected: Collected) -> None:
    dataset = open_dataset(collected.path)
    batches = MetaBatches(dataset.transitions(), meta_batch=4, batch=8, context=10, seed=0)
    algorithm = create(CONFIG, agent_spec(dataset, batches.statistics()), "cpu")
    shares = []
    for step in (0, 1000, 2000, 3999):
        training_step(algorithm, batches, 0, step)
        shares.append(algorithm.learner.optimisers["actor"].param_groups[0]["lr"] / CONFIG.learner.lr)
    np.testing.assert_allclose(shares, [1.0, 0.75, 0.5, 0.02], rtol=1e-6)


def test_networks_and_units_lie_on_the_device_that_is_asked_for() -> None:
    assert {tensor.device.type for tensor in create(CONFIG, SPEC, "meta").state().values()} == {"meta"}
