"""How long a system waits for an action: over HTTP, over a Unix socket, and in the same process."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest

import idaq
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec
from tests.deploy.test_server import served

OBSERVATION, ACTION, CALLS = 39, 4, 1000
"""the sizes of an ML1 arm; its networks are the default 2 x 256"""
SPEC = AgentSpec(
    observation_mean=[0.0] * OBSERVATION,
    observation_std=[1.0] * OBSERVATION,
    change_std=[1.0] * OBSERVATION,
    reward_mean=0.0,
    reward_std=1.0,
    action_centre=[0.0] * ACTION,
    action_scale=[1.0] * ACTION,
)
Act = Callable[[list[float]], list[float]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    agent, place = FocalTd3BcConfig().create(SPEC, "cpu").agent(None), tmp_path_factory.mktemp("bench") / "policy"
    idaq.save_policy(place, agent, agent.policy(np.zeros((1, FocalTd3BcConfig().encoder.latent), np.float32)))
    return place


class UnixConnection(http.client.HTTPConnection):
    """The standard library's client, to a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.host)


def over(connection: http.client.HTTPConnection) -> Act:
    """By the standard library's client: little work of its own."""

    def act(observation: list[float]) -> list[float]:
        body = json.dumps({"observation": observation})
        connection.request("POST", "/act", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["action"]

    return act


def by(client: httpx2.Client) -> Act:
    """By the client that a user would take."""
    return lambda observation: client.post("/act", json={"observation": observation}).json()["action"]


@pytest.fixture
def ways(folder: Path, tmp_path: Path) -> Iterator[dict[str, Act]]:
    policy = idaq.read_policy(folder)
    path = tmp_path / "p.sock"
    with served(folder, "--port", "0") as (_, url), served(folder, "--socket", path):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        unix = httpx2.HTTPTransport(uds=str(path))
        with httpx2.Client(base_url=url) as tcp, httpx2.Client(transport=unix, base_url="http://policy") as local:
            plain, plain_unix = http.client.HTTPConnection(host or "", port), UnixConnection(str(path))
            yield {
                "in the same process": lambda observation: policy.act(observation).tolist(),
                "HTTP keep-alive, http.client": over(plain),
                "Unix socket, http.client": over(plain_unix),
                "HTTP keep-alive, httpx2": by(tcp),
                "Unix socket, httpx2": by(local),
            }
            plain.close()
            plain_unix.close()


def test_latency_of_an_action(ways: dict[str, Act], say: Callable[[str], None]) -> None:
    """p50 and p99 of CALLS actions, one after the other, the ways taking turns."""
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(CALLS + 50):
        observation = rng.standard_normal(OBSERVATION).tolist()
        actions = []
        for name, act in ways.items():
            start = time.perf_counter()
            actions.append(act(observation))
            taken[name].append(time.perf_counter() - start)
        assert actions.count(actions[0]) == len(ways), number
    found = {name: np.percentile(seconds[50:], [50, 99]) * 1e3 for name, seconds in taken.items()}
    for name, (p50, p99) in found.items():
        say(f"{name}: p50 {p50:.3f} ms, p99 {p99:.3f} ms")
    assert max(p50 for p50, _ in found.values()) < 10  # ms: a control loop of 50 Hz leaves 20
