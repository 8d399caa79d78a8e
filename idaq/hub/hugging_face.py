"""Datasets on the Hugging Face Hub, laid out as Minari does: the id's first part is the repository, the rest a folder.

`hf://me` holds `idaq/point-robot/expert-v0` in the dataset repository `me/idaq`, folder `point-robot/expert-v0`, and
registers it in that repository's namespace_metadata.json, where `minari download` with MINARI_REMOTE=hf://me finds it.
`hf://me/repo` keeps to one repository; under a name that is not the id's first part, whole ids are folders and Minari
does not find them.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import build_hf_headers, disable_progress_bars

from idaq.core.errors import CorruptDatasetError, ShareError, TransferError, UsageError
from idaq.core.files import parse_json
from idaq.core.types import Advance
from idaq.format import layout
from idaq.format.published import configs
from idaq.hub.fetch import fetch_document, retry
from idaq.hub.http import HttpReader
from idaq.hub.remote import METADATA_PATH, NAMESPACE_METADATA, RESUME_HINT, Upload, hide_credentials, namespaces_of

_LOGIN = "run hf auth login, or set HF_TOKEN; for a push the token needs the right to write"


class HfRemote:
    """One user's or organisation's dataset repositories, or one of them. A push is one commit: all of it or nothing."""

    def __init__(self, url: str, *, revision: str | None, timeout: float) -> None:
        user, _, repository = hide_credentials(url).removeprefix("hf://").strip("/").partition("/")
        if not user or "/" in repository:
            raise UsageError(f"{hide_credentials(url)} is not hf://<user> or hf://<user>/<repository>")
        self.url = f"hf://{user}/{repository}".rstrip("/")
        self.login = _LOGIN
        self._user, self._only, self._revision = user, repository, revision
        endpoint = os.environ.get("HF_ENDPOINT")
        self._api = HfApi(endpoint=endpoint.rstrip("/") if endpoint else None)
        self._reader = HttpReader(timeout=timeout, headers=build_hf_headers(), login=_LOGIN)
        self._commits: dict[str, str | None] = {}
        disable_progress_bars()

    def dataset_ids(self) -> list[str]:
        """Where datasets are, in all repositories of the user or in the one. Raises ShareError."""
        with self._explained(self.url):
            if self._only:
                names = [f"{self._user}/{self._only}"]
            else:
                names = sorted(info.id for info in self._api.list_datasets(author=self._user))
            return [f"{name.partition('/')[2]}/{folder}" for name in names for folder in self._folders(name)]

    def size(self, path: str) -> int | None:
        """Bytes of a file at the commit that all reads are from; None if there is none. Raises ShareError."""
        repository, name = self._place(path)
        commit = self._commit(repository)
        return None if commit is None else self._reader.size(self._address(repository, name, commit))

    def read(self, path: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) at that commit. Raises ShareError."""
        repository, name = self._place(path)
        commit = self._commit(repository)
        if commit is None:
            raise ShareError(f"there is no repository {repository}, or it is private", hint=_LOGIN)
        return self._reader.read(self._address(repository, name, commit), start, stop)

    def alone(self, dataset_id: str) -> AbstractContextManager[None]:
        """Holds nothing: the hub refuses a commit whose parent is not the newest."""
        return nullcontext()

    def upload(self, dataset_id: str, files: Sequence[Upload], progress: Advance) -> None:
        """Send the files, then make them visible by one commit. Raises ShareError."""
        repository, _ = self._place(dataset_id)
        with self._explained(repository):
            self._api.create_repo(repository, repo_type="dataset", exist_ok=True)
        self._commits.clear()
        head = retry(lambda: self._commit(repository))
        additions = [
            CommitOperationAdd(path_in_repo=self._place(file.path)[1], path_or_fileobj=str(file.source))
            for file in files
        ]
        for file, addition in zip(files, additions, strict=True):
            # One at a time, so that progress is shown; content that an interrupted push left there is not sent again.
            retry(lambda addition=addition: self._send(repository, addition))
            progress(file.size)
        additions += self._registration(dataset_id, files)
        with self._explained(repository):
            # Naming the parent makes the hub refuse the commit if somebody else's came in between.
            self._api.create_commit(
                repository,
                additions,
                repo_type="dataset",
                commit_message=f"idaq hub push {dataset_id}",
                parent_commit=head,
            )
        self._commits.clear()

    def addresses(self, dataset_id: str) -> tuple[str, str]:
        """The repository's page, and the dataset's folder at its newest commit."""
        repository, folder = self._place(dataset_id)
        page = f"{self._api.endpoint}/datasets/{repository}"
        return page, f"{page}/resolve/main/{folder}"

    def close(self) -> None:
        """Close all connections."""
        self._reader.close()

    def _place(self, path: str) -> tuple[str, str]:
        """The repository, and the path in it."""
        first, _, rest = path.partition("/")
        if self._follows_minari(first):
            return f"{self._user}/{first}", rest
        return f"{self._user}/{self._only}", path

    def _follows_minari(self, first: str) -> bool:
        """Whether ids that begin with `first` are where Minari looks for them."""
        return self._only in ("", first)

    def _address(self, repository: str, name: str, commit: str) -> str:
        return hf_hub_url(repository, name, repo_type="dataset", revision=commit, endpoint=self._api.endpoint)

    def _commit(self, repository: str) -> str | None:
        """The commit all reads are from, so that a push meanwhile mixes nothing; None without such a repository."""
        if repository not in self._commits:
            with self._explained(f"{repository}, revision {self._revision or 'main'}"):
                try:
                    info = self._api.dataset_info(repository, revision=self._revision)
                    self._commits[repository] = info.sha
                except RepositoryNotFoundError:
                    self._commits[repository] = None
        return self._commits[repository]

    def _folders(self, repository: str) -> Iterator[str]:
        for entry in self._api.list_repo_tree(repository, recursive=True, repo_type="dataset", revision=self._revision):
            if entry.path.endswith(f"/{METADATA_PATH}"):
                yield entry.path.removesuffix(f"/{METADATA_PATH}")

    def _send(self, repository: str, addition: CommitOperationAdd) -> None:
        with self._explained(f"{repository}, {addition.path_in_repo}"):
            self._api.preupload_lfs_files(repository, [addition], repo_type="dataset", free_memory=False)

    def _registration(self, dataset_id: str, files: Sequence[Upload]) -> list[CommitOperationAdd]:
        """The repository's own card and what Minari looks datasets up in. What people wrote there is kept."""
        additions = []
        first = dataset_id.partition("/")[0]
        top = f"{first}/" if self._follows_minari(first) else ""
        card = next((file.source for file in files if file.path == f"{dataset_id}/{layout.CARD}"), None)
        if card is not None and fetch_document(self, f"{top}{layout.CARD}") is None:
            text = card.read_text(encoding="utf-8").replace(configs(), configs(self._place(dataset_id)[1]), 1)
            additions.append(CommitOperationAdd(path_in_repo=layout.CARD, path_or_fileobj=text.encode()))
        if not top:
            return additions
        stated, nested = self._namespace(first), namespaces_of(dataset_id)[1:]
        datasets = sorted({*_texts(stated, "datasets"), dataset_id})
        registered = {**stated, "datasets": datasets, "namespaces": sorted({*_texts(stated, "namespaces"), *nested})}
        additions.append(_json_addition(NAMESPACE_METADATA, registered))
        for namespace in nested:
            path = f"{namespace}/{NAMESPACE_METADATA}"
            if fetch_document(self, path) is None:
                additions.append(_json_addition(self._place(path)[1], {}))
        return additions

    def _namespace(self, namespace: str) -> dict[str, Any]:
        """The namespace_metadata.json of a repository; empty if it has none."""
        content = fetch_document(self, f"{namespace}/{NAMESPACE_METADATA}")
        place = f"{self.url}: {NAMESPACE_METADATA} of {namespace}"
        try:
            value = parse_json((content or b"{}").decode(errors="replace"), place)
        except CorruptDatasetError as error:
            raise ShareError(error.message, hint="fix it on the hub: {} will do") from None
        if not isinstance(value, dict):
            raise ShareError(f"{place} is not a JSON object", hint="fix it on the hub: {} will do")
        return value

    @contextmanager
    def _explained(self, place: str) -> Iterator[None]:
        """Turn what the client raises into our errors."""
        try:
            yield
        except LocalTokenNotFoundError:
            raise ShareError(f"{place}: not allowed without credentials", hint=_LOGIN) from None
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            what = hide_credentials(str(error).strip().replace("\n", " "))[:300]
            if status in (401, 403):
                raise ShareError(f"{place}: the hub wants credentials (status {status})", hint=_LOGIN) from None
            if status in (408, 412, 429) or status >= 500:
                raise TransferError(f"{place}: {what}", hint=RESUME_HINT) from None
            raise ShareError(f"{place}: {what}", hint="idaq hub list shows what is there") from None
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            cause = error.__cause__ or error
            raise TransferError(
                f"{place}: {type(cause).__name__}: {hide_credentials(cause)[:300]}", hint=RESUME_HINT
            ) from None
        except ValueError as error:
            raise ShareError(f"{place}: {hide_credentials(error)[:300]}", hint="is the URL right?") from None


def _texts(value: dict[str, Any], key: str) -> list[str]:
    """A list of texts from a document that anybody may have written."""
    items = value.get(key)
    return [item for item in items if isinstance(item, str)] if isinstance(items, list) else []


def _json_addition(path: str, value: object) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=(json.dumps(value, indent=2) + "\n").encode())
