"""A policy is served: the very actions of `read_policy`, errors in words, and a clean end."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest

import idaq
from idaq.core.errors import DeployError
from idaq.deploy.server import is_loopback, listen, listen_unix
from tests.deploy.made import SPEC, an_agent, observations

PROGRAM = Path(sys.executable).parent / "idaq"
Ask = Callable[..., httpx2.Response]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    agent, place = an_agent(), tmp_path_factory.mktemp("served") / "policy"
    assert agent.prior is not None
    idaq.save_policy(place, agent, agent.policy(agent.prior.beliefs[:1]))
    return place


@contextmanager
def served(folder: Path, *options: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it prints when it listens."""
    command = [PROGRAM, "policy", "serve", folder, *options, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = list[str]()
        while (line := process.stdout.readline()) not in ("}\n", ""):
            lines.append(line)
        try:
            yield process, json.loads("".join([*lines, line]))["address"]
        finally:
            process.kill()


@pytest.fixture(scope="module", params=["tcp", "unix"])
def ask(folder: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Ask the server, over each kind of socket."""
    path = tmp_path_factory.mktemp("s") / "p.sock"
    options = ["--port", "0"] if request.param == "tcp" else ["--socket", path]
    with served(folder, *options) as (_, address):
        transport = httpx2.HTTPTransport(uds=None if request.param == "tcp" else address)
        base = address if request.param == "tcp" else "http://policy"
        with httpx2.Client(transport=transport, base_url=base) as client:
            yield client.request


def test_actions_are_those_of_the_folder(ask: Ask, folder: Path) -> None:
    policy, seen = idaq.read_policy(folder), observations(SPEC, 20)
    for observation in seen:
        answer = ask("POST", "/act", json={"observation": observation.tolist()})
        assert answer.status_code == 200
        np.testing.assert_array_equal(np.float32(answer.json()["action"]), policy.act(observation))
    answer = ask("POST", "/act", json={"observations": seen.tolist()})
    np.testing.assert_array_equal(np.float32(answer.json()["actions"]), policy.act_rows(seen))
    assert ask("POST", "/act", json={"observations": []}).json() == {"actions": []}


def test_it_says_what_it_is(ask: Ask, folder: Path) -> None:
    document, about = idaq.read_policy(folder).document, ask("GET", "/").json()
    assert (about["observation_size"], about["action_size"]) == (3, 2)
    assert (about["action_low"], about["action_high"]) == (document.action_low, document.action_high)
    assert (about["belief"], about["agent_digest"]) == (None, document.agent_digest)
    assert ask("GET", "/health").json() == {"status": "ok"}
    assert ask("POST", "/reset").json() == {"status": "reset"}
    assert "/act" in ask("GET", "/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"observation": [1, 2]}', "an observation is 3 numbers, got 2"),
        ('{"observation": [1, 2, 3, 4]}', "an observation is 3 numbers, got 4"),
        ('{"observation": [1, NaN, 3]}', "observation.1: NaN and infinity are no observation"),
        ('{"observation": [1, -Infinity, 3]}', "observation.1: NaN and infinity are no observation"),
        ('{"observation": [1, 2, 1e300]}', "number 2 of an observation is NaN, infinity or beyond float32"),
        ('{"observation": [1, "2", 3]}', "observation.1: a number is expected"),
        ('{"observation": [1, true, 3]}', "observation.1: a number is expected"),
        ('{"observation": [1, null, 3]}', "observation.1: a number is expected"),
        ('{"observation": [[1, 2, 3]]}', "observation.0: a number is expected"),
        ('{"observations": [[1, 2, 3], [1, 2]]}', "observations are of several sizes"),
        ('{"observations": [[1, 2], [1, 2]]}', "an observation is 3 numbers, got an array of shape (2, 2)"),
        ('{"observations": [[1, 2, 3], [1, "x", 3]]}', "observations.1.1: a number is expected"),
        ('{"obs": [1, 2, 3]}', "obs: there is no such field"),
        ("{}", "what is asked?"),
        ('{"observation": [1, 2, 3], "observations": [[1, 2, 3]]}', "what is asked?"),
        ("[1, 2, 3]", "the body: an object is expected"),
        ('{"observation"', "the body: it is not JSON: "),
    ],
)
def test_what_is_no_observation_gets_422_and_words(ask: Ask, body: str, told: str) -> None:
    answer = ask("POST", "/act", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(told)
    assert ask("GET", "/health").status_code == 200


def test_a_body_that_does_not_say_it_is_json_is_refused(ask: Ask) -> None:
    answer = ask("POST", "/act", content='{"observation": [1, 2, 3]}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422
    assert answer.json()["fix"].endswith("as application/json")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals, folder: Path, tmp_path: Path) -> None:
    """With a client connected; the socket's file goes, and the place is free again."""
    path = tmp_path / "p.sock"
    for _ in range(2):
        with served(folder, "--socket", path) as (process, address):
            assert address == str(path)
            with httpx2.Client(transport=httpx2.HTTPTransport(uds=address), base_url="http://policy") as client:
                assert client.get("/health").status_code == 200
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                process.send_signal(number)
                _, told = process.communicate(timeout=20)
        assert process.returncode == 0, told
        assert told.splitlines()[-1] == "stopped"
        assert "Traceback" not in told
        assert not path.exists()


def test_a_killed_servers_socket_is_taken_over_and_a_living_ones_is_not(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with served(folder, "--socket", path) as (process, _):
        with pytest.raises(DeployError, match=f"a server listens on {path} already"), listen_unix(path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert path.exists()
    transport = httpx2.HTTPTransport(uds=str(path))
    with served(folder, "--socket", path), httpx2.Client(transport=transport, base_url="http://policy") as client:
        assert client.get("/health").status_code == 200
    (tmp_path / "mine").write_text("notes")
    with (
        pytest.raises(DeployError, match=f"{tmp_path}/mine is there, and is no socket"),
        listen_unix(tmp_path / "mine"),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "notes"


def test_a_port_that_is_taken_or_a_host_that_is_none_is_told() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.socket.getsockname()[1]
        with pytest.raises(DeployError, match=f"cannot listen on 127.0.0.1:{port}: "), listen("127.0.0.1", port):
            pass
    with pytest.raises(DeployError, match="cannot listen on no such host:0"), listen("no such host", 0):
        pass


def test_only_loopback_is_called_loopback(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as here, listen("0.0.0.0", 0) as everywhere, listen_unix(tmp_path / "s") as unix:
        assert [is_loopback(one) for one in (here, everywhere, unix)] == [True, False, True]
        assert everywhere.address.startswith("http://0.0.0.0:")
        assert here.socket.proto == socket.IPPROTO_TCP  # else every answer waits 40 ms: tests/bench/test_serving.py


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    try:
        with listen("::1", 0) as here:
            assert (here.address.startswith("http://[::1]:"), is_loopback(here)) == (True, True)
    except DeployError as error:
        pytest.skip(error.message)


def test_beyond_loopback_is_warned_of(folder: Path) -> None:
    with served(folder, "--host", "0.0.0.0", "--port", "0") as (process, _):
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert "warning: http://0.0.0.0:" in told
    assert "can be reached from outside this machine, and asks for no password" in told
