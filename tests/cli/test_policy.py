"""idaq policy: a run's policy leaves by a task, a latent or a session, is shown, and acts as the agent did."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idaq.adapt.session import Session
from idaq.collect.collect import Collected
from idaq.deploy.read import read_policy
from idaq.learn.checkpoint import load_agent
from idaq.learn.loop import train
from idaq.loader import open_dataset
from idaq.tasks import get_family
from idaq.tasks.systems import run_episode
from tests.cli.conftest import Idaq
from tests.learn.test_loop import small_config


@pytest.fixture(scope="module")
def run(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    train(open_dataset(collected.path), small_config(steps=20), out)
    return out


def test_by_the_latent_of_a_training_task(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    agent = load_agent(run)
    assert agent.prior is not None
    index = int(agent.prior.task_indices[1])
    done = idaq("policy", "export", run, "--latent", str(index), "--out", tmp_path / "policy", "--json")
    assert done.code == 0, done.err
    stated = json.loads(done.out)
    assert stated["source"]["belief"] == f"of training task {index}, as the run's prior has it"
    assert stated["source"]["dataset_id"] == "idaq/point-robot/expert-v0"
    policy, seen = read_policy(tmp_path / "policy"), np.float32([[0.1, 0.2], [1.0, -1.0]])
    own = agent.policy(agent.prior.beliefs[[1, 1]]).act(seen)
    np.testing.assert_allclose(policy.act_rows(seen), own, rtol=0, atol=1e-5 * agent.spec.action_scale[0])


def test_by_a_task_for_several_runtimes_and_shown(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    task = next(task.task_id for task in open_run(run).all_tasks if task.split == "test")
    out = tmp_path / "policy"
    done = idaq("policy", "export", run, "--task", task, "--to", "onnx, torch", "--out", out)
    assert done.code == 0, done.err
    assert f"{out}: the policy of task {task}, from " in done.out
    assert "written for onnx, torch" in done.out
    assert {"policy.onnx", "run_onnx.py", "run_torch.py"} < {path.name for path in out.iterdir()}
    shown = idaq("policy", "show", out)
    assert shown.code == 0
    assert f"the policy of task {task}" in shown.out
    assert "-0.1    0.1" in shown.out
    assert json.loads(idaq("policy", "show", out, "--json").out) == json.loads((out / "policy.json").read_text())


def open_run(run: Path) -> Any:
    from idaq.learn.run import run_dataset

    return run_dataset(run)


def test_by_a_session_the_policy_that_it_deploys(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    agent, family = load_agent(run), get_family("point-robot")
    session = Session(agent, "best-of-prior", budget=2)
    env = family.make()
    while not session.done:
        session.record(run_episode(env, session.next_policy(), seed=len(session.episodes)))
    session.save(tmp_path / "robot.session")
    done = idaq("policy", "export", run, "--session", tmp_path / "robot.session", "--out", tmp_path / "policy")
    assert done.code == 0, done.err
    assert "the policy that best-of-prior deploys after 2 episodes on one system" in done.out
    deployed, saved = session.deploy(), read_policy(tmp_path / "policy")
    deployed.save(tmp_path / "direct", formats=["torch"])
    direct = read_policy(tmp_path / "direct")
    assert direct.document.source is not None
    assert direct.document.source.belief == "that best-of-prior deploys after 2 episodes on one system"
    for observation in np.random.default_rng(0).normal(size=(20, 2)):
        expected = deployed.act(observation)
        np.testing.assert_allclose(saved.act(observation), expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(direct.act(observation), saved.act(observation))
    played = run_episode(env, saved, seed=7)
    assert played.total_reward == pytest.approx(run_episode(env, deployed, seed=7).total_reward, rel=1e-5)


@pytest.mark.parametrize("given", [[], ["--latent", "1", "--task", "a"], ["--session", "x", "--latent", "1"]])
def test_exactly_one_belief_is_named(idaq: Idaq, run: Path, given: list[str], tmp_path: Path) -> None:
    done = idaq("policy", "export", run, *given, "--out", tmp_path / "policy")
    assert done.code == 2
    assert "exactly one of --session FILE, --task TASK, --latent N" in done.err
    assert not (tmp_path / "policy").exists()


def test_a_policy_is_not_overwritten_and_names_are_told(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    task = next(task.task_id for task in open_run(run).all_tasks if task.split == "train")
    words = ("policy", "export", run, "--task", task, "--out", tmp_path / "policy")
    assert idaq(*words).code == 0
    again = idaq(*words)
    assert (again.code, "holds a policy already" in again.err, "--force" in again.err) == (1, True, True)
    assert idaq(*words, "--force", "--to", "torch").code == 0
    assert not (tmp_path / "policy/weights.npz").exists()
    wrong = idaq(*words, "--force", "--to", "onx")
    assert (wrong.code, "did you mean 'onnx'" in wrong.err) == (2, True)
    assert read_policy(tmp_path / "policy").document.formats == ["torch"]
    none = idaq("policy", "show", tmp_path)
    assert (none.code, "is no policy folder" in none.err) == (1, True)


def test_a_tilde_is_the_home_folder(idaq: Idaq, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(run, tmp_path / "run")
    task = next(task.task_id for task in open_run(run).all_tasks if task.split == "train")
    assert idaq("policy", "export", "~/run", "--task", task, "--out", "~/policy").code == 0
    assert idaq("policy", "show", "~/policy").code == 0
    assert (tmp_path / "policy/policy.json").is_file()


def test_help_lists_the_formats(idaq: Idaq) -> None:
    told = " ".join(idaq("policy", "export", "--help").out.split())
    assert "onnx: policy.onnx and run_onnx.py: ONNX Runtime" in told
    assert "package.module:thing: your own" in told


def test_a_missing_library_is_named_and_nothing_is_left(
    idaq: Idaq, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = next(task.task_id for task in open_run(run).all_tasks if task.split == "train")
    words = ("policy", "export", run, "--task", task, "--out", tmp_path / "policy")
    for module in ("idaq.deploy.onnx_graph", "idaq.deploy.server"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = idaq(*words, "--to", "onnx")
    assert (done.code, "pip install 'idaq[onnx]'" in done.err) == (2, True)
    assert list(tmp_path.iterdir()) == []
    assert idaq(*words).code == 0
    served = idaq("policy", "serve", tmp_path / "policy")
    assert (served.code, "pip install 'idaq[serve]'" in served.err) == (2, True)
