"""The same actions in NumPy, PyTorch and ONNX Runtime, in an environment that has no idaq."""

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest

import idaq
from idaq.core.types import Floats
from idaq.deploy.formats import BUILT_IN
from idaq.deploy.onnx_graph import write_onnx
from idaq.learn.algorithm import Agent
from idaq.learn.dense import ACTIVATIONS, Activation, DenseLayer, DensePolicy
from tests.deploy.made import SPEC, SPECS, an_agent, observations

RUNTIMES = {"npz": "run_numpy", "torch": "run_torch", "onnx": "run_onnx"}
Run = Callable[[str, Path, Floats], Floats]


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh virtual environment, with nothing installed."""
    folder = tmp_path_factory.mktemp("elsewhere") / "env"
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


@pytest.fixture
def run(elsewhere: Path, tmp_path: Path) -> Run:
    """Actions (N, A) of a folder's script for observations (N, D), computed there.

    The libraries are those installed here, their folder put on the path; idaq is installed by a hook that only
    processes of this environment run. The consumer checks that it finds none.
    """
    site = next(path for path in map(Path, sys.path) if path.name == "site-packages" and (path / "numpy").is_dir())

    def act(runtime: str, folder: Path, seen: Floats) -> Floats:
        np.save(tmp_path / "seen.npy", seen)
        script = Path(__file__).with_name("consumer.py")
        command = [
            elsewhere,
            "-I",
            script,
            RUNTIMES[runtime],
            folder,
            tmp_path / "seen.npy",
            tmp_path / "acted.npy",
            site,
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return np.load(tmp_path / "acted.npy")

    return act


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("units", SPECS)
def test_actions_elsewhere_are_the_agents_to_1e_5(units: str, runtime: str, run: Run, tmp_path: Path) -> None:
    spec = SPECS[units]
    agent, seen = an_agent(spec), observations(spec, constant=units == "constant")
    belief = beliefs(agent)[1:2]
    idaq.save_policy(tmp_path / "policy", agent, agent.policy(belief), formats=[runtime])
    acted = run(runtime, tmp_path / "policy", seen)
    own = agent.policy(belief.repeat(len(seen), 0)).act(seen)
    assert acted.dtype == np.float32
    assert (np.abs(acted - own) / spec.action_scale).max() < 1e-5
    assert (np.abs(idaq.read_policy(tmp_path / "policy").act_rows(seen) - own) / spec.action_scale).max() < 1e-5


def beliefs(agent: Agent) -> Floats:
    assert agent.prior is not None
    return agent.prior.beliefs


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_every_activation_is_the_same_everywhere(activation: Activation, runtime: str, tmp_path: Path) -> None:
    """One layer that hands observations through, so that an action is the activation itself; clipped at -0.5 and 2."""
    one = np.eye(3, dtype=np.float32)
    spec = replace(SPEC, action_centre=[0.0] * 3, action_scale=[1.0] * 3)
    identity = DenseLayer(weight=one, bias=np.zeros(3, np.float32), activation=activation)
    dense = replace(
        DensePolicy.of(spec, [identity]),
        action_low=np.full(3, -0.5, np.float32),
        action_high=np.full(3, 2.0, np.float32),
    )
    (tmp_path / "policy").mkdir()
    write(dense, runtime, tmp_path / "policy")
    seen = observations(spec, 200)
    x = ((seen - np.array(spec.observation_mean)) / spec.observation_std).astype(np.float64)
    expected = {
        "identity": x,
        "relu": x * (x > 0),
        "tanh": np.sinh(x) / np.cosh(x),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "elu": np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    }[activation].clip(-0.5, 2)
    script = import_module(f"idaq.deploy.runtimes.{RUNTIMES[runtime]}")
    np.testing.assert_allclose(script.load(tmp_path / "policy")(seen), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(dense.act(seen), expected, rtol=0, atol=1e-5)


def write(dense: DensePolicy, runtime: str, folder: Path) -> None:
    """As save_policy does, of a policy that no agent has."""
    from safetensors.numpy import save

    (folder / "weights.safetensors").write_bytes(save(dense.arrays()))
    (folder / "policy.json").write_text(json.dumps({"activations": dense.activations}))
    BUILT_IN[runtime].write(dense, folder)


def test_the_script_prints_the_action_of_one_observation(elsewhere: Path, tmp_path: Path) -> None:
    agent = an_agent()
    idaq.save_policy(tmp_path / "policy", agent, agent.policy(beliefs(agent)[:1]))
    site = next(path for path in sys.path if Path(path).name == "site-packages")
    done = subprocess.run(
        [elsewhere, "run_numpy.py", "[1, 2, 3]"],
        cwd=tmp_path / "policy",
        env={"PYTHONPATH": site},
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(done.stdout), idaq.read_policy(tmp_path / "policy").act([1, 2, 3]), atol=1e-6)


def test_all_at_once_in_one_folder(tmp_path: Path) -> None:
    agent = an_agent()
    policy = agent.policy(beliefs(agent)[:1])
    document = idaq.save_policy(tmp_path / "policy", agent, policy, formats=["onnx", "npz", "torch", "npz"])
    assert document.formats == ["onnx", "npz", "torch"]
    assert set(document.files) == {"weights.safetensors", "policy.onnx", "weights.npz"}
    readme = (tmp_path / "policy/README.md").read_text()
    assert all(f"import {script}" in readme for script in RUNTIMES.values())
    with np.load(tmp_path / "policy/weights.npz", allow_pickle=False) as archive:
        assert archive["activations"].tolist() == ["relu", "relu", "tanh"]


def test_the_graph_is_one_that_runtimes_of_2022_read(tmp_path: Path) -> None:
    agent = an_agent()
    write_onnx(agent.export_policy(beliefs(agent)[0]), tmp_path / "policy.onnx")  # type: ignore[attr-defined]
    model = onnx.load(tmp_path / "policy.onnx")
    assert (model.ir_version, [opset.version for opset in model.opset_import]) == (8, [17])
    batch, size = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, size.dim_value) == ("N", 3)


def test_every_activation_is_named_in_each_runtime() -> None:
    from idaq.deploy.onnx_graph import _OPERATORS
    from idaq.deploy.runtimes import run_numpy, run_torch

    assert set(run_numpy.ACTIVATIONS) == set(run_torch.ACTIVATIONS) == {*_OPERATORS, "identity"} == set(ACTIVATIONS)
