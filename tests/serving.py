"""Real servers for tests: files over HTTP with range requests, and S3 as moto plays it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import fsspec.config
import s3fs
from moto.server import ThreadedMotoServer


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves a folder as object stores do: `bytes=a-b`, `bytes=a-` and `bytes=-n`, connections kept open."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content, stated = path.read_bytes(), self.headers.get("Range")
        start, end = 0, len(content)
        if stated:
            first, _, last = stated.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(len(content) - int(last), 0)
            end = min(int(last) + 1, len(content)) if first and last else len(content)
        if stated and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if stated else 200)
        self.send_header("Content-Length", str(end - start))
        if stated:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


class FlakyHandler(RangeHandler):
    """Refuses the first request of each two for the same bytes."""

    seen: ClassVar[dict[tuple[str, str | None], int]] = {}

    def do_GET(self) -> None:
        asked = (self.path, self.headers.get("Range"))
        self.seen[asked] = self.seen.get(asked, 0) + 1
        if asked[1] and self.seen[asked] % 2:
            self.send_error(503)
        else:
            super().do_GET()


class BrokenHandler(RangeHandler):
    """Serves whole files, and fails whenever it is asked for a range."""

    def do_GET(self) -> None:
        if self.headers.get("Range"):
            self.send_error(503)
        else:
            super().do_GET()


@contextmanager
def http_server(folder: Path, handler: type[RangeHandler] = RangeHandler) -> Iterator[str]:
    """Serve `folder`; yields the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 of our own with one bucket, which fsspec's configuration points `s3://` at; yields the bucket's URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = fsspec.config.conf.get("s3")
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
    try:
        s3fs.S3FileSystem(**fsspec.config.conf["s3"]).mkdir("sets")
        yield "s3://sets"
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()
        fsspec.config.conf.pop("s3")
        if before is not None:
            fsspec.config.conf["s3"] = before
