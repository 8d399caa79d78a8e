"""Real servers for the hub's tests, on ports of their own, and the faults they can be told to make.

`FileServer` serves a folder with ranges. `Proxy` stands in front of a server (moto's S3). Both pass every answer
through the faults that were injected; the proxy does so with requests, too.
"""

import http.client
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes over the wire: `body` as far as `cut`, after which the connection is closed; `stall` waits there."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    stall: float = 0.0
    silent: bool = False
    """close without any answer"""


Fault = Callable[[Answer], Answer]


def cut(after: int) -> Fault:
    """Close the connection in the middle of the body."""
    return lambda answer: replace(answer, cut=after)


def stall(after: int, seconds: float = 3.0) -> Fault:
    """Say nothing more in the middle of the body, then close."""
    return lambda answer: replace(answer, cut=after, stall=seconds)


def hang_up(answer: Answer) -> Answer:
    """Close without an answer."""
    return replace(answer, silent=True)


def flip(position: int) -> Fault:
    """Alter one byte of the body."""

    def fault(answer: Answer) -> Answer:
        body = bytearray(answer.body)
        if body:
            body[position % len(body)] ^= 1
        return replace(answer, body=bytes(body))

    return fault


def refuse(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Another status."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda answer: Answer(status=status, body=body, headers={**named, "Content-Length": str(len(body))})


def html(*, stated: bool = True) -> Fault:
    """A web page with status 200; `stated`: and the content type of one."""
    kind = {"Content_Type": "text/html; charset=utf-8"} if stated else {}
    return refuse(200, b"<!doctype html><p>Please log in" + b" " * 4000, **kind)


def grown(answer: Answer) -> Answer:
    """More bytes than asked for, and a Content-Length to match."""
    body = answer.body + b"\xff" * 100_000
    return replace(answer, body=body, headers={**answer.headers, "Content-Length": str(len(body))})


def shrunk(answer: Answer) -> Answer:
    """Fewer bytes than asked for, and a Content-Length to match."""
    body = answer.body[: (len(answer.body) + 1) // 2]
    return replace(answer, body=body, headers={**answer.headers, "Content-Length": str(len(body))})


def state(**headers: str) -> Fault:
    """Other headers than are true."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda answer: replace(answer, headers={**answer.headers, **named})


@dataclass
class Injection:
    """A fault, how often, and in which requests."""

    fault: Fault
    times: int
    method: str
    path: str


class Server(ThreadingHTTPServer):
    """A server in a thread. `log` holds (method, path, range) of each request, `sent` counts bytes of bodies."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.log: list[tuple[str, str, str]] = []
        self.sent = 0
        self.stalled = False
        self.uploads: list[Injection] = []
        self._injections: list[Injection] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what the tests are about."""

    def inject(self, fault: Fault, *, times: int = 1_000_000, method: str = "GET", path: str = "") -> None:
        """Make a fault in the next `times` answers to requests of `method` whose path holds `path`."""
        self._injections.append(Injection(fault, times, method, path))

    def heal(self) -> None:
        self._injections.clear()
        self.uploads.clear()

    def faulty(self, answer: Answer, method: str, path: str, injections: list[Injection] | None = None) -> Answer:
        with self._lock:
            for injection in self._injections if injections is None else injections:
                if injection.times and injection.method == method and injection.path in path:
                    injection.times -= 1
                    return injection.fault(answer)
        return answer


class Handler(BaseHTTPRequestHandler):
    """Sends an Answer as it says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for the client's acknowledgement
    server: Any

    def log_message(self, format: str, *args: object) -> None:
        """pytest's output is not the place."""

    def answer(self) -> Answer:
        raise NotImplementedError

    def handle_one_way(self) -> None:
        self.server.log.append((self.command, unquote(self.path), self.headers.get("Range", "")))
        self.give(self.server.faulty(self.answer(), self.command, unquote(self.path)))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one_way

    def give(self, answer: Answer) -> None:
        if answer.stall and not answer.status:
            self.server.stalled = True
            time.sleep(answer.stall)
        if answer.silent or not answer.status:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = answer.body if self.command != "HEAD" else b""
        self.wfile.write(body[: answer.cut])
        self.wfile.flush()
        self.server.sent += len(body[: answer.cut])
        if answer.stall:
            self.server.stalled = True
            time.sleep(answer.stall)
        if answer.cut is not None:
            self.close_connection = True

    def received(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


def ranged(content: bytes, asked: str | None) -> Answer:
    """A file, or the range of it that was asked for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if found is None:
        return Answer(status=200, body=content, headers={"Content-Length": str(len(content))})
    start = int(found[1])
    if start >= len(content):
        return Answer(status=416, headers={"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
    part = content[start : int(found[2] or len(content)) + 1]
    span = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
    return Answer(status=206, body=part, headers={"Content-Range": span, "Content-Length": str(len(part))})


def file_server(folder: Path) -> Server:
    """Serves a folder, without listings; `ranges = False` makes it one that knows no ranges."""

    class Files(Handler):
        def answer(self) -> Answer:
            path = folder / unquote(urlsplit(self.path).path).lstrip("/")
            if not path.is_file():
                return refuse(404, b"not found")(Answer(status=404))
            return ranged(path.read_bytes(), self.headers.get("Range") if self.server.ranges else None)

    server: Any = Server(Files)
    server.ranges = True
    return server


def proxy(upstream: str) -> Server:
    """Stands in front of the server at `upstream`; faults in `uploads` are made of requests before they go on."""
    target = urlsplit(upstream)

    class Forwarding(Handler):
        def answer(self) -> Answer:
            sent = Answer(status=0, body=self._whole_body())
            sent = self.server.faulty(sent, self.command, unquote(self.path), self.server.uploads)
            if sent.status or sent.silent or sent.stall:
                return sent
            connection = http.client.HTTPConnection(target.hostname or "", target.port)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(self.command, self.path, sent.body[: sent.cut], headers)
            if sent.cut is not None:  # what stands behind the proxy never sees the end
                connection.close()
                return replace(sent, silent=True)
            with connection.getresponse() as response:
                body, given = response.read(), dict(response.getheaders())
            connection.close()
            given.pop("Transfer-Encoding", None)
            if self.command != "HEAD":
                given["Content-Length"] = str(len(body))
            return Answer(status=response.status, headers=given, body=body)

        def _whole_body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.received()
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

    return Server(Forwarding)
