"""A policy behind HTTP, on TCP or a Unix socket: observations in, actions out, errors in words with status 422.

GET /          what it is
GET /health    {"status": "ok"}
POST /act      {"observation": [D numbers]}         ->  {"action": [A numbers]}
               {"observations": [[D numbers], ...]} ->  {"actions": [[A numbers], ...]}
POST /reset    an episode begins
"""

import ipaddress
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field

import idaq
from idaq.core.config import config
from idaq.core.errors import DeployError, UsageError
from idaq.deploy.read import SavedPolicy

Number = Annotated[float, Field(strict=True)]
_BACKLOG = 128
_EXAMPLE = '{"observation": [...]} or {"observations": [[...], ...]}'
_WORDS = {
    "dataclass_type": "an object is expected",
    "unexpected_keyword_argument": "there is no such field",
    "float_type": "a number is expected",
    "finite_number": "NaN and infinity are no observation",
}
"""by pydantic's names; its own words for the rest"""


@config
class Question:
    """The body of POST /act: one of the two."""

    observation: list[Number] | None = None
    """D numbers"""
    observations: list[list[Number]] | None = None
    """D numbers in each row"""


def make_app(policy: SavedPolicy) -> FastAPI:
    """The application of one policy, for any ASGI server. A UsageError is answered with status 422."""
    app = FastAPI(title="an idaq policy", version=idaq.__version__)
    document = policy.document
    facts = {
        "observation_size": document.observation_size,
        "action_size": document.action_size,
        "action_low": document.action_low,
        "action_high": document.action_high,
        "belief": document.source.belief if document.source else None,
        "algorithm": document.algorithm,
        "agent_digest": document.agent_digest,
        "idaq": document.idaq,
    }

    @app.get("/")
    async def about() -> dict[str, Any]:
        """What the policy takes and gives, and where it came from."""
        return facts

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether it is there."""
        return {"status": "ok"}

    @app.post("/act")
    async def act(question: Question) -> JSONResponse:
        """The action of an observation, or of each of several."""
        one, several = question.observation, question.observations
        if one is not None and several is None:
            return JSONResponse({"action": policy.act(one).tolist()})
        if several is not None and one is None:
            return JSONResponse({"actions": policy.act_rows(several).tolist()})
        raise UsageError("what is asked?", hint=_EXAMPLE)

    @app.post("/reset")
    async def reset() -> dict[str, str]:
        """An episode begins."""
        policy.reset()
        return {"status": "reset"}

    app.add_exception_handler(UsageError, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    return app


def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UsageError)
    return JSONResponse({"error": error.message, "fix": error.hint}, 422)


def _not_understood(_request: Request, error: Exception) -> JSONResponse:
    """The first fault in words; FastAPI's own answer repeats the input, and fails where that holds NaN."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    said = _WORDS.get(first["type"], first["msg"])
    if first["type"] == "json_invalid":
        place, said = "the body", f"it is not JSON: {first['ctx']['error']}"
    return JSONResponse({"error": f"{place}: {said}", "fix": f"{_EXAMPLE}, as application/json"}, 422)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A socket that is bound."""

    socket: socket.socket
    address: str
    """as a client writes it"""


@contextmanager
def listen(host: str, port: int) -> Generator[Listening]:
    """A TCP socket that listens; port 0 takes a free one. Raises DeployError where it cannot."""
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio switches off the 40 ms wait for more to send (Nagle's) where the protocol is stated, and there alone
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(f"{host}:{port}", error) from None
    with bound:
        try:
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
            bound.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(f"{host}:{port}", error) from None
        there, number = bound.getsockname()[:2]
        yield Listening(socket=bound, address=f"http://{f'[{there}]' if ':' in there else there}:{number}")


def _cannot_listen(place: str, error: Exception) -> DeployError:
    return DeployError(f"cannot listen on {place}: {error}", hint="choose another place; --port 0 takes a free one")


@contextmanager
def listen_unix(path: Path) -> Generator[Listening]:
    """A Unix socket that this user alone may use; its file is removed afterwards. Raises DeployError if it cannot."""
    if not hasattr(socket, "AF_UNIX"):
        raise DeployError("Python has no Unix sockets on this system", hint="listen on a port: --host and --port")
    path = path.expanduser()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        before = os.umask(0o177)
        try:
            _remove_left_socket(path)
            bound.bind(str(path))
            bound.listen(_BACKLOG)
        except OSError as error:
            raise _cannot_listen(str(path), error) from None
        finally:
            os.umask(before)
        try:
            yield Listening(socket=bound, address=str(path))
        finally:
            with suppress(FileNotFoundError):
                path.unlink()


def _remove_left_socket(path: Path) -> None:
    """Remove the file of a server that was killed. Raises DeployError where one answers, or another file is there."""
    if not path.is_socket():
        if path.exists():
            raise DeployError(f"{path} is there, and is no socket", hint="choose another --socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise DeployError(f"a server listens on {path} already", hint="stop it, or choose another --socket")


def is_loopback(listening: Listening) -> bool:
    """Whether only this machine reaches it."""
    if listening.socket.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(listening.socket.getsockname()[0].partition("%")[0]).is_loopback


def serve(policy: SavedPolicy, listening: Listening) -> None:
    """Answer until Ctrl-C or SIGTERM, which end it cleanly: what is being answered is answered."""
    settings = uvicorn.Config(make_app(policy), access_log=False, log_level="warning", timeout_graceful_shutdown=5)
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has stopped
        uvicorn.Server(settings).run(sockets=[listening.socket])
