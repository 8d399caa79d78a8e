"""What every Algorithm must do: follow from config, data and (seed, step) alone, and give an agent that adapts."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from idaq.core.config import from_mapping, to_mapping
from idaq.format.writer import write_dataset
from idaq.learn.algorithm import Agent, Algorithm, ExportingAgent, Prior
from idaq.learn.config import ALGORITHMS, TrainConfig
from idaq.learn.loop import agent_spec, training_step
from idaq.learn.prior import infer_prior
from idaq.loader import Dataset, Sampler, open_dataset
from idaq.loader.contexts import task_contexts
from idaq.loader.samplers import make_sampler
from idaq.testing.examples import EVEN, entries_of, example_source

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 4
"""delays of an update are seen in them"""


class AlgorithmContract:
    """Subclass it and give `config`, with networks as small as can be."""

    def config(self, seed: int) -> TrainConfig:
        """The settings of an algorithm, as `--set` would give them."""
        raise NotImplementedError

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Dataset:
        """Two tasks for training, of 8 episodes each: 3 numbers of observation, 2 of action."""
        return open_dataset(write_dataset(example_source(entries_of(EVEN)), tmp_path / "root", ""))

    @pytest.fixture
    def sampler(self, dataset: Dataset) -> Sampler[Any]:
        """What the config names, over the dataset."""
        config = self.config(0)
        return make_sampler(config.sampler, dataset.select(split=config.split), config)

    def create(self, dataset: Dataset, sampler: Sampler[Any], seed: int = 0) -> Algorithm:
        """A fresh algorithm of a seed, on the CPU."""
        return self.config(seed).create(agent_spec(dataset, sampler.statistics()), "cpu")

    def test_its_settings_are_plain_data_and_its_name_leads_to_them(self) -> None:
        config = self.config(3)
        assert config.seed == 3
        assert ALGORITHMS.get(config.algorithm) is type(config)
        assert from_mapping(type(config), to_mapping(config), where="settings", strict=True) == config

    def test_the_same_seed_learns_the_same_bits(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        first, second = (self.create(dataset, sampler) for _ in range(2))
        for step in range(STEPS):
            told, again = (training_step(each, sampler, 0, step) for each in (first, second))
            assert bits(told) == bits(again)
            assert all(value.ndim == 0 and value.isfinite() for value in told.values())
        assert bits(first.state()) == bits(second.state())

    def test_another_seed_begins_elsewhere_and_a_step_learns(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        first, other = (self.create(dataset, sampler, seed) for seed in (0, 1))
        before = bits(first.state())
        assert before != bits(other.state())
        training_step(first, sampler, 0, 0)
        assert before != bits(first.state())

    def test_no_global_random_numbers_are_read_or_drawn(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        import torch

        results = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            before = _global_randomness()
            algorithm = self.create(dataset, sampler)
            for step in range(STEPS):
                training_step(algorithm, sampler, 0, step)
            assert _global_randomness() == before
            results.append(bits(algorithm.state()))
        assert results[0] == results[1]

    def test_resuming_from_the_state_equals_going_on(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        """Through safetensors, into an algorithm that began elsewhere: after any number of steps."""
        from safetensors.torch import load, save

        straight = self.create(dataset, sampler)
        for step in range(STEPS):
            resumed = self.create(dataset, sampler, seed=1)
            saved = save({name: tensor.contiguous() for name, tensor in straight.state().items()})
            resumed.load_state(load(saved))
            assert bits(resumed.state()) == bits(straight.state())
            told = [training_step(each, sampler, 0, step) for each in (straight, resumed)]
            assert bits(told[0]) == bits(told[1])
            assert bits(resumed.state()) == bits(straight.state()), f"after step {step}"

    def test_anothers_state_is_refused(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        state = self.create(dataset, sampler).state()
        for others in ({}, {f"other.{name}": tensor for name, tensor in state.items()}):
            with pytest.raises((KeyError, ValueError)):
                self.create(dataset, sampler).load_state(others)

    def test_an_agent_is_as_the_algorithm_was(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        algorithm = self.create(dataset, sampler)
        agent = algorithm.agent(None)
        assert agent.prior is None
        before, contexts = bits(agent.tensors()), _contexts(dataset)
        belief = agent.infer(contexts)
        for step in range(STEPS):
            training_step(algorithm, sampler, 0, step)
        assert bits(agent.tensors()) == before
        np.testing.assert_array_equal(agent.infer(contexts), belief)
        assert bits(algorithm.agent(None).tensors()) != before

    def test_a_belief_is_of_its_own_context(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        agent, contexts = self.create(dataset, sampler).agent(None), _contexts(dataset)
        together = agent.infer(contexts)
        assert (together.dtype, together.ndim, len(together)) == (np.float32, 2, len(contexts))
        assert np.isfinite(together).all()
        for number, belief in enumerate(together):
            np.testing.assert_allclose(agent.infer(contexts[number : number + 1])[0], belief, rtol=1e-4, atol=1e-5)

    def test_the_prior_is_what_the_agent_remembers(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        algorithm = self.create(dataset, sampler)
        prior = infer_prior(algorithm.agent(None), dataset.select(split="train"))
        agent = algorithm.agent(prior)
        assert isinstance(agent.prior, Prior)
        assert agent.prior.task_indices.tolist() == [0, 2]
        assert bits(agent.tensors()) == bits(algorithm.agent(None).tensors())

    def test_its_policy_acts_in_each_problem_within_the_bounds(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        agent: Agent = self.create(dataset, sampler).agent(None)
        beliefs = agent.infer(_contexts(dataset))
        seen = np.random.default_rng(0).uniform(0, 1e4, (len(beliefs), agent.spec.observation_size)).astype(np.float32)
        acted = self.act(agent, beliefs, seen)
        centre, scale = np.array(agent.spec.action_centre), np.array(agent.spec.action_scale)
        assert acted.shape == (len(beliefs), agent.spec.action_size)
        assert (np.abs(acted - centre) <= scale * (1 + 1e-6)).all()
        other = seen.copy()
        other[1:] = 7
        np.testing.assert_allclose(self.act(agent, beliefs, other)[0], acted[0], rtol=1e-4, atol=1e-5 * scale.max())

    def test_a_policy_that_leaves_acts_as_the_agents_own(self, dataset: Dataset, sampler: Sampler[Any]) -> None:
        """Where the agent has `export_policy`: to 1e-5 of the action space."""
        agent = self.create(dataset, sampler).agent(None)
        if not isinstance(agent, ExportingAgent):
            pytest.skip("its policies do not leave: the agent has no export_policy")
        beliefs, spec = agent.infer(_contexts(dataset)), agent.spec
        normal = np.random.default_rng(0).standard_normal((len(beliefs), spec.observation_size))
        seen = (normal * spec.observation_std + spec.observation_mean).astype(np.float32)
        left = [agent.export_policy(belief).act(one) for belief, one in zip(beliefs, seen, strict=True)]
        scale = np.array(spec.action_scale)
        np.testing.assert_allclose(np.stack(left) / scale, self.act(agent, beliefs, seen) / scale, rtol=0, atol=1e-5)

    def act(self, agent: Agent, beliefs: Any, observations: Any) -> Any:
        policy = agent.policy(beliefs)
        policy.reset()
        return np.array(policy.act(observations))


def bits(tensors: "Mapping[str, Tensor]") -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Dtype, shape and bytes of each tensor, by name."""
    return {
        name: (str(tensor.dtype), tuple(tensor.shape), tensor.detach().cpu().numpy().tobytes())
        for name, tensor in tensors.items()
    }


def _contexts(dataset: Dataset) -> Any:
    """A context (P, K) of each task."""
    return task_contexts(dataset, 12, 0)[1]


def _global_randomness() -> list[Any]:
    import torch

    return [random.getstate(), str(np.random.get_state()), torch.random.get_rng_state().tolist()]
