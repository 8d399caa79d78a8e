"""Reading over HTTP, never more than was asked for: `https://` hubs, and what `hf://` resolves to.

fsspec's own HTTP client is not used: it reads whatever a server sends, however much that is, into memory.
"""

import functools
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from urllib.parse import quote

import httpx2

from idaq.core.errors import CorruptDatasetError, ShareError, TransferError
from idaq.core.files import parse_json
from idaq.core.types import Advance
from idaq.hub.remote import INDEX, RESUME_HINT, Upload, hide_credentials, refuse_revision

_LARGEST_INDEX = 1 << 24
_LOGIN = "put credentials into the URL, https://user:password@host/..., or ask whoever runs the server"
_WRONG_URL_HINT = "is the URL that of a hub? if it is, tell whoever runs the server"


class HttpReader:
    """Byte ranges of URLs, over connections that are kept."""

    def __init__(self, *, timeout: float, headers: Mapping[str, str] | None = None, login: str = _LOGIN) -> None:
        self._timeout = timeout
        self._login = login
        # Compressed bytes would have another length than those we count.
        self._client = httpx2.Client(
            timeout=timeout,
            follow_redirects=True,
            verify=_trusted(),
            headers={**(headers or {}), "Accept-Encoding": "identity"},
        )

    def size(self, url: str) -> int | None:
        """Bytes of the file at `url`; None if there is none. Raises ShareError."""
        with self._get(url, 0, 1) as response:
            if response.status_code in (404, 410):
                return None
            _refuse_html(response, url)
            if response.status_code != 200:
                total = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
                stated = total[1] if total else ""
            else:
                stated = response.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,18}", stated):
            raise ShareError(
                f"{hide_credentials(url)}: the server does not say how long the file is", hint=_WRONG_URL_HINT
            )
        return int(stated)

    def read(self, url: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop); from a server without range requests the bytes before `start` are read and dropped.

        Raises TransferError where trying again may help, else ShareError.
        """
        left = stop - start
        with self._get(url, start, stop) as response:
            if response.status_code not in (200, 206):
                missing = "is missing" if response.status_code in (404, 410) else f"ends before byte {stop}"
                raise ShareError(
                    f"{hide_credentials(url)} {missing}", hint="its dataset is damaged there; tell whoever pushed it"
                )
            _refuse_html(response, url)
            stated = response.headers.get("Content-Range", "")
            if response.status_code == 206 and not _lies_within(stated, start, stop):
                raise ShareError(
                    f"{hide_credentials(url)}: asked for bytes {start} to {stop - 1}, the server sent {stated[:60]!r}",
                    hint=_WRONG_URL_HINT,
                )
            skip = start if response.status_code == 200 else 0
            for chunk in response.iter_raw():  # as they come: with a chunk size, a cut would lose what was waiting
                wanted = chunk[skip : skip + left]
                skip -= min(skip, len(chunk))
                left -= len(wanted)
                if wanted:
                    yield wanted
                if not left:
                    return
        raise TransferError(f"{hide_credentials(url)} ended {left} bytes early", hint=RESUME_HINT)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @contextmanager
    def _get(self, url: str, start: int, stop: int) -> Iterator[httpx2.Response]:
        """An answer that is not yet read: 200, 206, 404, 410 or 416, all others having been raised."""
        place = hide_credentials(url)
        try:
            with self._client.stream("GET", url, headers={"Range": f"bytes={start}-{stop - 1}"}) as response:
                status = response.status_code
                if status in (401, 403, 407):
                    raise ShareError(f"{place}: the server wants credentials (status {status})", hint=self._login)
                if status in (408, 429) or status >= 500:
                    raise TransferError(f"{place}: the server is not well (status {status})", hint=RESUME_HINT)
                if status not in (200, 206, 404, 410, 416):
                    raise ShareError(f"{place}: the server answered with status {status}", hint=_WRONG_URL_HINT)
                yield response
        except httpx2.TimeoutException:
            raise TransferError(f"{place}: nothing came for {self._timeout:g} s", hint=RESUME_HINT) from None
        except httpx2.TransportError as error:
            raise TransferError(f"{place}: the connection broke: {hide_credentials(error)}", hint=RESUME_HINT) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ShareError(f"{place}: {hide_credentials(error)}", hint="is the URL right?") from None


class HttpRemote:
    """A folder of datasets on a web server: read-only."""

    def __init__(self, url: str, *, revision: str | None, timeout: float) -> None:
        refuse_revision(url, revision)
        self.url = hide_credentials(url).rstrip("/")
        self.login = _LOGIN
        self._base = url.rstrip("/")
        self._reader = HttpReader(timeout=timeout)

    def dataset_ids(self) -> list[str]:
        """The ids in datasets.json, since HTTP cannot list files. Raises ShareError if it is missing or damaged."""
        hint = f"name the dataset: idaq hub show ID {self.url}; idaq hub push to the folder it serves writes {INDEX}"
        size = self.size(INDEX)
        if size is None or size > _LARGEST_INDEX:
            raise ShareError(f"{self.url} has no list of datasets ({INDEX})", hint=hint)
        try:
            value = parse_json(b"".join(self.read(INDEX, 0, size)).decode(errors="replace"), f"{self.url}/{INDEX}")
        except CorruptDatasetError as error:
            raise ShareError(error.message, hint=hint) from None
        ids = value.get("datasets") if isinstance(value, dict) else None
        if not isinstance(ids, list):
            raise ShareError(f"{self.url}/{INDEX} is not a list of datasets", hint=hint)
        return [item for item in ids if isinstance(item, str)]

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if there is none. Raises ShareError."""
        return self._reader.size(self._address(path))

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop). Raises ShareError."""
        return self._reader.read(self._address(path), start, stop)

    def alone(self, dataset_id: str) -> AbstractContextManager[None]:
        """Holds nothing: there are no pushes."""
        return nullcontext()

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        """Raise ShareError: a web server is only read."""
        raise ShareError(
            f"{self.url} can only be read",
            hint="push to hf://, s3://, gs:// or to the folder the web server serves, file:///folder",
        )

    def close(self) -> None:
        """Close all connections."""
        self._reader.close()

    def _address(self, path: str) -> str:
        base, mark, query = self._base.partition("?")  # a query may carry an access token
        return f"{base.rstrip('/')}/{quote(path)}{mark}{query}"


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The certificates to trust; reading them takes 0.1 s."""
    return httpx2.create_ssl_context()


def _lies_within(content_range: str, start: int, stop: int) -> bool:
    """Whether a Content-Range is of [start, stop), perhaps without its end, in a file that holds all of it."""
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", content_range)
    if found is None:
        return False
    first, last = int(found[1]), int(found[2])
    return first == start <= last < stop and (found[3] == "*" or stop <= int(found[3]))


def _refuse_html(response: httpx2.Response, url: str) -> None:
    """Login and error pages come with status 200 from many a server; no file of a dataset is HTML."""
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise ShareError(
            f"{hide_credentials(url)}: the server answered with a web page instead of a file",
            hint="open the URL in a browser: it may be wrong, or want a login",
        )
