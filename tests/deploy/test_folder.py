"""A policy is written into a folder and read again: the same actions, and nothing damaged passes."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema
import numpy as np
import pytest
from hypothesis import strategies as st

import idaq
from idaq.core.errors import DeployError, PluginError, UnknownNameError, UsageError
from idaq.core.resources import resource_root
from idaq.deploy.document import POLICY, WEIGHTS, PolicySource
from idaq.learn.algorithm import Agent, BeliefPolicy
from idaq.learn.checkpoint import weights_digest
from tests.deploy.made import SPEC, SPECS, an_agent, observations

SOURCE = PolicySource(belief="of training task 2", dataset_id="idaq/made/tagged-v0", content_digest="0" * 64)


def policy_of(agent: Agent, task: int = 0) -> BeliefPolicy:
    """The agent's under the belief of one training task."""
    assert agent.prior is not None
    policy = agent.policy(agent.prior.beliefs[task : task + 1])
    assert isinstance(policy, BeliefPolicy)
    return policy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agent = an_agent()
    idaq.save_policy(tmp_path / "policy", agent, policy_of(agent, 1), source=SOURCE)
    return tmp_path / "policy"


@pytest.mark.parametrize("units", SPECS)
def test_what_is_read_acts_as_the_agent_does(units: str, tmp_path: Path) -> None:
    spec = SPECS[units]
    agent = an_agent(spec)
    policy = policy_of(agent, 1)
    document = idaq.save_policy(tmp_path / "policy", agent, policy)
    saved = idaq.read_policy(tmp_path / "policy")
    seen = observations(spec, 200, constant=units == "constant")
    expected = np.concatenate([policy.act(one[None]) for one in seen])
    scale = np.array(spec.action_scale, np.float32)
    np.testing.assert_allclose(saved.act_rows(seen) / scale, expected / scale, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.stack([saved.act(one) for one in seen]), saved.act_rows(seen), rtol=0, atol=1e-6)
    assert document.largest_difference < 1e-5
    assert np.ptp(expected, axis=0).min() > 0.01 * scale.min()  # the observations matter


def test_the_belief_matters_and_is_kept(folder: Path, tmp_path: Path) -> None:
    agent = an_agent()
    idaq.save_policy(tmp_path / "other", agent, policy_of(agent, 2))
    one, other = idaq.read_policy(folder), idaq.read_policy(tmp_path / "other")
    assert agent.prior is not None
    np.testing.assert_array_equal(one.belief, agent.prior.beliefs[1])
    np.testing.assert_array_equal(other.belief, agent.prior.beliefs[2])
    assert np.abs(one.act_rows(observations(SPEC, 10)) - other.act_rows(observations(SPEC, 10))).max() > 1e-3


def test_the_document_says_what_it_is_and_an_independent_validator_accepts_it(folder: Path) -> None:
    stated = json.loads((folder / POLICY).read_text())
    jsonschema.validate(stated, json.loads((resource_root("schemas") / "policy.json").read_text()))
    assert stated["agent_digest"] == weights_digest(an_agent())
    assert (stated["observation_size"], stated["action_size"], stated["belief_size"]) == (3, 2, 4)
    assert (stated["action_low"], stated["action_high"]) == ([-1.0, -0.25], [2.0, 0.25])
    assert stated["activations"] == ["relu", "relu", "tanh"]
    assert stated["source"]["belief"] == "of training task 2"
    text = (folder / "README.md").read_text()
    assert "belief: of training task 2" in text
    assert "import run_numpy" in text
    assert "run_onnx" not in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "policy.json", "run_numpy.py", "weights.npz", "weights.safetensors",
    ]  # fmt: skip


def test_actions_are_inside_the_bounds_wherever_it_looks(folder: Path) -> None:
    policy, low, high = idaq.read_policy(folder), np.float32([-1.0, -0.25]), np.float32([2.0, 0.25])
    actions = policy.act_rows(np.random.default_rng(0).normal(0, 1e6, (500, 3)))
    assert (actions >= low).all()
    assert (actions <= high).all()
    assert np.ptp(actions[:, 0]) > 2.9


def test_an_observation_may_have_any_shape_and_dtype(folder: Path) -> None:
    policy = idaq.read_policy(folder)
    policy.reset()
    expected = policy.act(np.float32([1, 2, 3]))
    policy.observe(expected, 0.0, np.zeros(3), False)
    assert (expected.dtype, expected.shape) == (np.float32, (2,))
    for given in ([1, 2, 3], (1.0, 2.0, 3.0), np.array([[1], [2], [3]], np.uint8), np.float64([[1, 2, 3]])):
        np.testing.assert_array_equal(policy.act(given), expected)
    rows = np.stack([np.arange(3.0), np.arange(3.0) + 1]).reshape(2, 3, 1)
    np.testing.assert_allclose(policy.act_rows(rows)[1], expected, rtol=0, atol=1e-6)
    assert policy.act_rows(np.zeros((0, 3))).shape == (0, 2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([1, 2], "an observation is 3 numbers, got 2"),
        (np.zeros((2, 3)), "an observation is 3 numbers, got 6"),
        ([1, float("nan"), 2], "number 1 of an observation is NaN"),
        ([1, 2, 1e300], "number 2 of an observation is NaN, infinity or beyond float32"),
        (["1", "2", "3"], "an observation is 3 numbers, got <U1"),
        ([1, None, 3], "an observation is 3 numbers, got object"),
        ([[1, 2], [3]], "observations are of several sizes"),
    ],
)
def test_what_is_no_observation_is_refused_in_words(folder: Path, given: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        idaq.read_policy(folder).act(given)


def test_rows_of_another_size_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"an observation is 3 numbers, got an array of shape \(3, 2\)"):
        idaq.read_policy(folder).act_rows(np.zeros((3, 2)))


# -- where it goes ------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_without_force(folder: Path) -> None:
    agent = an_agent(seed=1)
    before = (folder / POLICY).read_bytes()
    with pytest.raises(DeployError, match="holds a policy already") as caught:
        idaq.save_policy(folder, agent, policy_of(agent))
    assert "--force" in str(caught.value.hint)
    assert (folder / POLICY).read_bytes() == before
    (folder / "mine.txt").write_text("notes")
    idaq.save_policy(folder, agent, policy_of(agent), force=True)
    assert idaq.read_policy(folder).document.agent_digest == weights_digest(agent)
    assert not (folder / "mine.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_policy_folder_is_never_replaced(what: str, tmp_path: Path) -> None:
    agent, place = an_agent(), tmp_path / "home"
    if what == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").write_text("mine")
    with pytest.raises(DeployError, match="is no policy folder"):
        idaq.save_policy(place, agent, policy_of(agent), force=True)
    assert (place if what == "file" else place / "mine").read_text() == "mine"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    agent = an_agent()
    idaq.save_policy("~/deep/policy", agent, policy_of(agent))
    assert (tmp_path / "deep/policy" / POLICY).is_file()
    assert idaq.read_policy("~/deep/policy").document.algorithm == "focal-td3bc"


class Broken:
    """A format whose writer fails half-way."""

    description, how_to_run = "broken", ""

    def write(self, policy: idaq.DensePolicy, folder: Path) -> list[str]:
        (folder / "half").write_bytes(b"half")
        raise ValueError("my own mistake")


def test_a_format_that_fails_leaves_what_was_there(folder: Path) -> None:
    agent, before = an_agent(seed=1), (folder / POLICY).read_bytes()
    with pytest.raises(DeployError, match=r"policy format tests.*:Broken: ValueError: my own mistake"):
        idaq.save_policy(folder, agent, policy_of(agent), formats=[f"{__name__}:Broken"], force=True)
    assert (folder / POLICY).read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    with pytest.raises(UnknownNameError, match="unknown policy format 'onx'"):
        idaq.save_policy(folder, agent, policy_of(agent), formats=["onx"], force=True)


# -- what cannot leave --------------------------------------------------------------------------------------------


class Altered:
    """An agent with some of its members replaced."""

    def __init__(self, agent: Agent, **members: Any) -> None:
        self.__dict__.update(members)
        self._agent = agent

    def __getattr__(self, name: str) -> Any:
        if name == "export_policy" and self.__dict__.get("silent"):
            raise AttributeError(name)
        return getattr(self._agent, name)


def test_an_agent_without_the_seam_is_refused_with_the_method_to_write(tmp_path: Path) -> None:
    agent = an_agent()
    silent: Any = Altered(agent, silent=True)
    with pytest.raises(DeployError, match="a policy of focal-td3bc cannot leave: its agent has no export_policy") as no:
        idaq.save_policy(tmp_path / "policy", silent, policy_of(agent))
    assert "export_policy(belief) -> idaq.DensePolicy" in str(no.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_policy_of_several_problems_or_without_a_belief_is_refused(tmp_path: Path) -> None:
    agent = an_agent()
    assert agent.prior is not None
    with pytest.raises(DeployError, match="a policy of 3 problems was given") as caught:
        idaq.save_policy(tmp_path / "policy", agent, agent.policy(agent.prior.beliefs))
    assert "of_problems" in str(caught.value.hint)
    random = idaq.RandomPolicy(agent.spec, 1, np.random.default_rng(0))
    with pytest.raises(DeployError, match="a RandomPolicy cannot leave"):
        idaq.save_policy(tmp_path / "policy", agent, random)


ONE_ACTION = replace(SPEC, action_centre=[0.0], action_scale=[1.0])


def exported(agent: Any, belief: Any) -> idaq.DensePolicy:
    return agent.export_policy(belief)


def wrong_layers(agent: Any, belief: Any) -> idaq.DensePolicy:
    """The hidden layers' activation is forgotten."""
    good = agent.export_policy(belief)
    return replace(good, layers=tuple(replace(layer, activation="tanh") for layer in good.layers))


@pytest.mark.parametrize(
    ("export", "told"),
    [
        (wrong_layers, "export_policy of focal-td3bc acts otherwise than the policy that is saved: by"),
        (lambda agent, belief: agent.export_policy(belief * 0), "acts otherwise than the policy that is saved"),
        (lambda agent, belief: None, "export_policy of focal-td3bc gave a NoneType"),
        (lambda agent, belief: belief.shape[7], "export_policy of focal-td3bc: IndexError"),
        (
            lambda agent, belief: replace(agent.export_policy(belief), observation_mean=np.zeros(2, np.float32)),
            r"export_policy of focal-td3bc: ValueError: observation_std is float32 \(3,\), not float32 \(2,\)",
        ),
        (
            lambda agent, belief: an_agent(replace(SPEC, action_centre=[0.0], action_scale=[1.0])).export_policy(
                belief
            ),  # type: ignore[attr-defined]
            "gave a policy from 3 numbers to 1",
        ),
        (
            lambda agent, belief: agent.export_policy(belief * np.float32("nan")),
            r"export_policy of focal-td3bc: ValueError: layers.0.bias holds NaN",
        ),
    ],
)
def test_an_export_that_is_wrong_is_told_and_nothing_is_written(export: Any, told: str, tmp_path: Path) -> None:
    agent = an_agent()
    altered: Any = Altered(agent, export_policy=lambda belief: export(agent, belief))
    with pytest.raises(PluginError, match=told):
        idaq.save_policy(tmp_path / "policy", altered, policy_of(agent))
    assert not list(tmp_path.iterdir())


def test_a_policy_that_is_not_the_agents_own_is_noticed(tmp_path: Path) -> None:
    """A strategy may build a BeliefPolicy of a function of its own."""
    agent = an_agent()
    own = policy_of(agent)
    other = replace(own, respond=lambda observations, beliefs: own.respond(observations, -beliefs))
    with pytest.raises(PluginError, match="acts otherwise than the policy that is saved"):
        idaq.save_policy(tmp_path / "policy", agent, other)


# -- what is read -------------------------------------------------------------------------------------------------


def alter(folder: Path, **fields: Any) -> None:
    stated = json.loads((folder / POLICY).read_text())
    (folder / POLICY).write_text(json.dumps({**stated, **fields}))


def rewritten(folder: Path, **arrays: Any) -> None:
    """The weights with other arrays, and a document that states their digest."""
    from safetensors.numpy import load, save

    there = load((folder / WEIGHTS).read_bytes())
    rewritten_as(folder, save({name: array for name, array in {**there, **arrays}.items() if array is not None}))


def rewritten_as(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    stated = json.loads((folder / POLICY).read_text())["files"]
    digest = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    alter(folder, files={**stated, WEIGHTS: digest})


def cut(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / POLICY).unlink(), "it has no policy.json"),
        (lambda f: (f / WEIGHTS).unlink(), "weights.safetensors is missing"),
        (lambda f: cut(f / WEIGHTS, 100), "weights.safetensors is not the file"),
        (lambda f: flip(f / WEIGHTS), "weights.safetensors is not the file that policy.json was written for"),
        (lambda f: flip(f / "weights.npz"), "weights.npz is not the file"),
        (lambda f: cut(f / POLICY, 40), "policy.json is not valid JSON"),
        (lambda f: alter(f, policy_version=2), "policy_version 2, which this idaq does not know"),
        (lambda f: alter(f, policy_version=True), "policy_version"),
        (lambda f: alter(f, extra=1), "extra: there is no such field"),
        (lambda f: alter(f, activations=["relu", "relu", "os.system"]), "activations.2"),
        (lambda f: alter(f, activations=["relu"]), r"layers.0.weight is|action_centre is"),
        (lambda f: alter(f, action_high=[9.0, 0.25]), "action_low and action_high are not those"),
        (lambda f: alter(f, observation_size=7), "sizes"),
        (lambda f: alter(f, files={}), "files must name weights.safetensors"),
        (lambda f: alter(f, files={"../" + WEIGHTS: {"size": 1, "sha256": "0" * 64}}), "files"),
        (lambda f: rewritten(f, **{"layers.1.bias": np.full(64, np.nan, np.float32)}), "layers.1.bias holds NaN"),
        (lambda f: rewritten(f, **{"layers.1.bias": np.zeros(64)}), r"layers.1.bias is float64 \(64,\)"),
        (lambda f: rewritten(f, **{"layers.1.bias": np.zeros(3, np.float32)}), "layers"),
        (lambda f: rewritten(f, observation_std=np.zeros(3, np.float32)), "observation_std must be above 0"),
        (lambda f: rewritten(f, action_scale=None), "weights.safetensors: 'action_scale'"),
        (lambda f: rewritten(f, belief=np.zeros(5, np.float32)), "sizes"),
        (lambda f: rewritten(f, belief=np.full(4, np.inf, np.float32)), "belief is float32, or holds NaN"),
        (lambda f: rewritten(f, more=np.zeros(5, np.float32)), "holds more, which is no part of it"),
    ],
)  # fmt: skip
def test_damage_is_named(damage: Any, told: str, folder: Path) -> None:
    damage(folder)
    with pytest.raises(DeployError, match=told) as caught:
        idaq.read_policy(folder)
    assert caught.value.hint


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A policy folder, and the content of its files, for tests that change them."""
    place, agent = tmp_path_factory.mktemp("bytes") / "policy", an_agent()
    idaq.save_policy(place, agent, policy_of(agent), formats=[])
    return place, {path.name: path.read_bytes() for path in place.iterdir()}


@hypothesis.given(st.sampled_from([POLICY, WEIGHTS]), st.integers(0, 1500), st.binary(max_size=9), st.integers(0, 9))
def test_bytes_of_any_kind_are_read_or_told(
    files: tuple[Path, dict[str, bytes]], name: str, start: int, new: bytes, cut: int
) -> None:
    """The digests agree with what is there: it is the content itself that must do no harm."""
    place, contents = files
    for each, content in contents.items():
        (place / each).write_bytes(content)
    content = contents[name][:start] + new + contents[name][start + cut :]
    (place / name).write_bytes(content)
    if name == WEIGHTS:
        rewritten_as(place, content)
    with suppress(DeployError):
        assert np.isfinite(idaq.read_policy(place).act([1, 2, 3])).all()


def test_reading_needs_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    program = (
        f"import sys, idaq; p = idaq.read_policy({str(folder)!r}); p.act([1, 2, 3]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
