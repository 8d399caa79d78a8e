"""What a GPU must give: the same learning as the CPU, up to rounding, and runs that move between both.

Skipped without CUDA. `pytest tests/learn/test_cuda.py -s` prints the time of a training step on both.
"""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.collect.collect import Collected
from idaq.core.metrics import read_metrics
from idaq.deploy.read import read_policy
from idaq.deploy.save import save_policy
from idaq.learn.algorithm import create_algorithm
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.loop import agent_spec, train, training_step, use_threads
from idaq.loader import open_dataset
from idaq.loader.samplers import make_sampler
from tests.learn.test_loop import small_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def test_the_first_steps_lose_what_they_lose_on_the_cpu(collected: Collected, tmp_path: Path) -> None:
    dataset, config = open_dataset(collected.path), small_config(steps=8, log_every=2)
    traces = []
    for device in ("cpu", "cuda"):
        train(dataset, config, tmp_path / device, device=device)
        traces.append(read_metrics(tmp_path / device))
    for on_cpu, on_cuda in zip(*traces, strict=True):
        assert on_cpu.keys() == on_cuda.keys()
        for name, value in on_cpu.items():
            assert on_cuda[name] == pytest.approx(value, rel=1e-3, abs=1e-3), (name, on_cpu["step"])


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_begun_on_one_device_is_finished_on_the_other(
    first: str, then: str, collected: Collected, tmp_path: Path
) -> None:
    dataset, out = open_dataset(collected.path), tmp_path / "run"
    config = small_config(steps=30, checkpoint_every=10)

    class Stop(Exception):
        """Pulls the plug after 15 steps."""

    def until_15(count: int) -> None:
        seen.append(count)
        if sum(seen) == 15:
            raise Stop

    seen: list[int] = []
    with pytest.raises(Stop):
        train(dataset, config, out, progress=until_15, device=first)
    done = train(dataset, config, out, device=then)
    assert done.resumed_at == 10
    whole = train(dataset, config, tmp_path / "whole", device=first)
    for name, tensor in done.agent.tensors().items():
        np.testing.assert_allclose(
            tensor.cpu().numpy(), whole.agent.tensors()[name].cpu().numpy(), rtol=1e-2, atol=1e-2, err_msg=name
        )


def test_an_agent_trained_on_cuda_adapts_and_is_read_on_the_cpu_with_the_same_weights(
    collected: Collected, tmp_path: Path
) -> None:
    dataset = open_dataset(collected.path)
    trained = train(dataset, small_config(steps=50), tmp_path / "run", device="cuda").agent
    read = load_agent(tmp_path / "run")
    assert weights_digest(read) == weights_digest(trained)
    settings = {"episodes": 3, "reference": 2, "report_at": [3], "seeds": 2, "context": 20, "candidates": 4}
    plan = adaptation_plan(["idaq", "idaq-prediction-error", "best-of-prior"], settings)
    there, here = (adapt(agent, dataset, plan).results.strategies for agent in (trained, read))
    for name, result in there.items():
        np.testing.assert_allclose(result.explored, here[name].explored, rtol=1e-3, atol=1e-3, err_msg=name)


def test_a_training_step_is_timed_on_both(collected: Collected, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure, printed; what it must be depends on the machine."""
    dataset = open_dataset(collected.path).select(split="train")
    config = FocalTd3BcConfig(threads=8)
    use_threads(config.threads)
    sampler = make_sampler(config.sampler, dataset, config)
    spec = agent_spec(dataset, sampler.statistics())
    for device in ("cpu", "cuda"):
        algorithm = create_algorithm(config, spec, device)
        for step in range(20):
            training_step(algorithm, sampler, config.seed, step)
        start = time.perf_counter()
        for step in range(20, 220):
            training_step(algorithm, sampler, config.seed, step)
        if device == "cuda":
            torch.cuda.synchronize()
        with capsys.disabled():
            print(f"\n{device}: {(time.perf_counter() - start) * 5:.2f} ms a step of the default config")


def test_a_policy_of_a_gpu_leaves(collected: Collected, tmp_path: Path) -> None:
    train(open_dataset(collected.path), small_config(steps=20), tmp_path / "run", device="cuda")
    agent = load_agent(tmp_path / "run", "cuda")
    assert agent.prior is not None
    save_policy(tmp_path / "policy", agent, agent.policy(agent.prior.beliefs[:1]))
    seen = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    own = load_agent(tmp_path / "run").policy(agent.prior.beliefs[:1].repeat(100, 0)).act(seen)
    acted = read_policy(tmp_path / "policy").act_rows(seen)
    np.testing.assert_allclose(acted / agent.spec.action_scale, own / agent.spec.action_scale, rtol=0, atol=1e-5)
