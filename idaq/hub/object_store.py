"""Datasets at any URL that fsspec can write: `s3://bucket/folder`, `gs://...`, `file:///folder`, `memory://...`."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from idaq.core.disk import explain
from idaq.core.errors import ShareError, TransferError, UsageError, unknown_name
from idaq.core.extras import naming_extras
from idaq.core.files import is_cut_short, replacing, write_bytes
from idaq.core.types import Advance
from idaq.format import layout
from idaq.format.lock import locked
from idaq.hub.fetch import fetch_document, retry, stream
from idaq.hub.remote import (
    INDEX,
    METADATA_PATH,
    NAMESPACE_METADATA,
    RESUME_HINT,
    Upload,
    hide_credentials,
    namespaces_of,
    refuse_revision,
)

_BLOCK = 1 << 23
"""bytes asked for at once"""
_S3_LOGIN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run aws configure; FSSPEC_S3_ANON=true if it is public"
_LOGINS = {
    "s3": _S3_LOGIN,
    "s3a": _S3_LOGIN,
    "gs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "file": "check the folder's owner and mode: ls -ld",
}


def _s3_options(timeout: float) -> dict[str, Any]:
    # One try below: we try again ourselves, with a bound on the time until something is said.
    config = {"connect_timeout": timeout, "read_timeout": timeout, "retries": {"total_max_attempts": 1}}
    return {"config_kwargs": config}


_OPTIONS: dict[str, Callable[[float], dict[str, Any]]] = {"s3": _s3_options, "s3a": _s3_options}


class FsspecRemote:
    """`<url>/<id>/...`: the layout of a local root, so a folder that was pushed to is a Minari root as well."""

    def __init__(self, url: str, *, revision: str | None, timeout: float) -> None:
        refuse_revision(url, revision)
        scheme = url.partition("://")[0]
        if scheme not in fsspec.available_protocols():
            raise unknown_name("kind of hub", f"{scheme}://", [f"{known}://" for known in fsspec.available_protocols()])
        self.url = hide_credentials(url).rstrip("/")
        self.login = _LOGINS.get(scheme, f"see fsspec's documentation of {scheme}://")
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        options |= _OPTIONS.get(scheme, lambda _: {})(timeout)
        try:
            with naming_extras():
                self._fs, root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:
            raise ShareError(f"{scheme}:// needs a package: {error}", hint=f"pip install 'fsspec[{scheme}]'") from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {hide_credentials(error)}", hint="for example s3://bucket/folder") from None
        self._root = root.rstrip("/")
        if scheme in ("s3", "s3a"):
            self._fs.retries = 1  # as above: s3fs has a third loop of its own

    def dataset_ids(self) -> list[str]:
        """Where datasets are, from a listing of all files. Raises ShareError."""
        with self._explained(""):
            paths = [path.removeprefix(self._root).lstrip("/") for path in self._fs.find(self._root)]
        found = [path.removesuffix(f"/{METADATA_PATH}") for path in paths if path.endswith(f"/{METADATA_PATH}")]
        return sorted(path for path in found if not path.startswith("."))

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none. Raises ShareError, also for a link in a local folder."""
        if isinstance(self._fs, LocalFileSystem) and os.path.islink(self._address(path)):
            raise ShareError(f"{self.url}/{path} is a link", hint="put a copy of the file in its place")
        with self._explained(path):
            try:
                return self._fs.info(self._address(path))["size"]
            except (FileNotFoundError, NotADirectoryError):
                return None

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop), some megabytes a request. Raises ShareError."""
        for begin in range(start, stop, _BLOCK):
            end = min(begin + _BLOCK, stop)
            with self._explained(path):
                block = self._fs.cat_file(self._address(path), start=begin, end=end)
            if len(block) != end - begin:
                raise TransferError(
                    f"{self.url}/{path}: asked for {end - begin} bytes from {begin}, got {len(block)}", hint=RESUME_HINT
                )
            yield block

    @contextmanager
    def alone(self, dataset_id: str) -> Iterator[None]:
        """Hold the lock of an id in a local folder; stores have no locks. Raises DatasetLockedError."""
        if not isinstance(self._fs, LocalFileSystem):
            yield
            return
        with locked(Path(self._root or "/"), dataset_id, "push"):
            yield

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        """Send the files that are not there, and the index before the last, which makes the dataset visible.

        Raises ShareError.
        """
        for folder in namespaces_of(dataset_id):
            path = f"{folder}/{NAMESPACE_METADATA}"
            content = fetch_document(self, path)
            if content is None or is_cut_short(content, layout.NO_NAMESPACE):
                retry(lambda path=path: self._write(path, layout.NO_NAMESPACE))
        for file in files:
            if file is files[-1]:  # a push cut off behind it would find all there, and never write the index
                self._write_index(dataset_id)
            if not self._is_there(file):
                retry(lambda file=file: self._send(file))
            progress(file.size)

    def close(self) -> None:
        """Does nothing: fsspec keeps its connections by itself."""

    def _write_index(self, dataset_id: str) -> None:
        with self.alone(INDEX):
            index = {"datasets": sorted({*retry(self.dataset_ids), dataset_id})}
            retry(lambda: self._write(INDEX, (json.dumps(index, indent=2) + "\n").encode()))

    def _address(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _is_there(self, file: Upload) -> bool:
        """Whether an earlier push sent this very file: its length first, then its bytes, read back."""
        if retry(lambda: self.size(file.path)) != file.size:
            return False
        state = hashlib.sha256()
        for chunk in stream(self, file.path, 0, file.size):
            state.update(chunk)
        return state.hexdigest() == file.sha256

    def _send(self, file: Upload) -> None:
        address = self._address(file.path)
        with self._explained(file.path):
            if isinstance(self._fs, LocalFileSystem):
                # Stores make an object visible when it is whole; a folder needs a rename for that.
                Path(address).parent.mkdir(parents=True, exist_ok=True)
                with replacing(Path(address)) as temporary:
                    shutil.copyfile(file.source, temporary)
            else:
                self._fs.put_file(str(file.source), address)
        if (size := self.size(file.path)) != file.size:
            raise TransferError(f"{self.url}/{file.path}: sent {file.size} bytes, {size} arrived", hint=RESUME_HINT)

    def _write(self, path: str, content: bytes) -> None:
        with self._explained(path):
            if isinstance(self._fs, LocalFileSystem):
                Path(self._address(path)).parent.mkdir(parents=True, exist_ok=True)
                write_bytes(Path(self._address(path)), content)
            else:
                self._fs.pipe_file(self._address(path), content)

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """Turn what a store's library raises into our errors. Each has exceptions of its own, unknown to us."""
        place = f"{self.url}/{path}".rstrip("/")
        try:
            yield
        except (ShareError, MemoryError):
            raise
        except FileNotFoundError as error:
            what = hide_credentials(error).replace("\n", " ")
            raise ShareError(f"{place}: no such place: {what}", hint="is the URL right?") from None
        except Exception as error:
            if isinstance(error, OSError) and isinstance(self._fs, LocalFileSystem):
                explained = explain(error)
                raise ShareError(explained.message, hint=explained.hint) from None
            what = f"{type(error).__name__}: {hide_credentials(error)}"[:300].replace("\n", " ")
            if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
                raise ShareError(f"{place}: not allowed without credentials: {what}", hint=self.login) from None
            raise TransferError(f"{place}: {what}", hint=RESUME_HINT) from None
