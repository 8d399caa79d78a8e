"""What huggingface_hub's client and Minari ask of the Hugging Face Hub, spoken by a small server in memory.

Covered: repository creation, dataset info by branch and commit, listing by author, recursive trees, preupload (regular
or LFS, by size), the LFS batch with one-part uploads and "already there", commits as NDJSON with a parent to match,
YAML checks of cards, resolve with HEAD, ranges, the redirect of LFS files to another address, tokens, private
repositories, 404 with X-Error-Code. Not covered: Xet, multi-part LFS, rate limits, gated repositories, pull requests.
"""

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.servers import Answer, Handler, Server, ranged

TOKEN = "hf_sesame"
LARGE = 2000
"""bytes from which on a file goes by LFS"""


def hub() -> Server:
    """`repos[name]` is the list of commits, each all files by path; `lfs` holds content by sha256."""
    server: Any = Server(HubHandler)
    server.repos = {}
    server.lfs = {}
    server.private = set()
    server.commits_fail = False
    return server


def sha_of(name: str, commits: list[dict[str, bytes]]) -> str:
    """The id of the newest of `commits`."""
    return hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    body = json.dumps(value).encode()
    named = {key.replace("_", "-"): text for key, text in headers.items()}
    return Answer(
        status=status,
        body=body,
        headers={"Content-Type": "application/json", "Content-Length": str(len(body)), **named},
    )


class HubHandler(Handler):
    def answer(self) -> Answer:
        url = urlsplit(self.path)
        path, body = unquote(url.path), self.received()
        for method, pattern, respond in self.ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method.split():
                return respond(self, body=body, query=parse_qs(url.query), **found.groupdict())
        return as_json({"error": f"no {self.command} {path} here"}, 404)

    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def commits(self, repo: str) -> list[dict[str, bytes]] | None:
        hidden = repo in self.server.private and not self.may_write()
        return None if hidden else self.server.repos.get(repo)

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | Answer:
        """Commit id and files at a revision, or why not."""
        commits = self.commits(repo)
        if commits is None:
            return as_json({"error": "no such repository"}, 401, X_Error_Code="RepoNotFound")
        for count in range(len(commits), 0, -1):
            sha = sha_of(repo, commits[:count])
            if revision in ("main", sha):
                return sha, commits[count - 1]
        return as_json({"error": "no such revision"}, 404, X_Error_Code="RevisionNotFound")

    def create(self, body: bytes, **_: Any) -> Answer:
        if not self.may_write():
            return as_json({"error": "Invalid username or password."}, 401)
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        existed = name in self.server.repos
        self.server.repos.setdefault(name, [{".gitattributes": b"*.hdf5 filter=lfs\n"}])
        url = f"{self.server.url}/datasets/{name}"
        return as_json({"url": url, "name": name, "id": name}, 409 if existed else 200)

    def listing(self, query: dict[str, list[str]], **_: Any) -> Answer:
        author, words = query["author"][0], query.get("search", [""])
        names = [name for name in self.server.repos if name.startswith(f"{author}/") and words[0] in name]
        return as_json([{"id": name, "sha": sha_of(name, self.server.repos[name])} for name in names])

    def info(self, repo: str, revision: str | None = None, **_: Any) -> Answer:
        found = self.files(repo, revision or "main")
        if isinstance(found, Answer):
            return found
        return as_json({"id": repo, "sha": found[0], "siblings": [{"rfilename": path} for path in found[1]]})

    def tree(self, repo: str, revision: str, **_: Any) -> Answer:
        found = self.files(repo, revision)
        if isinstance(found, Answer):
            return found
        entries = []
        for path, content in found[1].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return as_json(entries)

    def preupload(self, repo: str, body: bytes, **_: Any) -> Answer:
        if not self.may_write() or self.commits(repo) is None:
            return as_json({"error": "unauthorized"}, 401)
        newest = self.server.repos[repo][-1]
        files = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if file["size"] >= LARGE else "regular"
            known = newest.get(file["path"])
            oid = None if known is None else hashlib.sha256(known).hexdigest() if mode == "lfs" else blob_id(known)
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return as_json({"files": files})

    def batch(self, body: bytes, **_: Any) -> Answer:
        objects = []
        for asked in json.loads(body)["objects"]:
            href = f"{self.server.url}/lfs/{asked['oid']}"
            there = asked["oid"] in self.server.lfs
            objects.append({**asked, **({} if there else {"actions": {"upload": {"href": href}}})})
        return as_json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str, body: bytes, **_: Any) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return as_json({"error": "hash mismatch"}, 400)
        self.server.lfs[oid] = body
        return as_json({})

    def commit(self, repo: str, body: bytes, **_: Any) -> Answer:
        if not self.may_write():
            return as_json({"error": "unauthorized"}, 401)
        if self.server.commits_fail:
            return as_json({"error": "not today"}, 400)
        commits, files = self.server.repos[repo], dict(self.server.repos[repo][-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, sha_of(repo, commits)):
                return as_json({"error": "A commit has happened since. Please refresh and try again."}, 412)
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.server.lfs:
                    return as_json({"error": "LFS pointer to nothing"}, 400)
                files[value["path"]] = self.server.lfs[value["oid"]]
        commits.append(files)
        sha = sha_of(repo, commits)
        return as_json({"commitUrl": f"{self.server.url}/datasets/{repo}/commit/{sha}", "commitOid": sha})

    def yaml(self, **_: Any) -> Answer:
        return as_json({"errors": [], "warnings": []})

    def resolve(self, repo: str, revision: str, path: str, **_: Any) -> Answer:
        found = self.files(repo, revision)
        if isinstance(found, Answer):
            return found
        sha, files = found
        if path not in files:
            return as_json({"error": "no such file"}, 404, X_Error_Code="EntryNotFound", X_Repo_Commit=sha)
        content = files[path]
        digest = hashlib.sha256(content).hexdigest()
        named = {"X-Repo-Commit": sha, "ETag": f'"{blob_id(content)}"'}
        if len(content) < LARGE:
            sent = ranged(content, self.headers.get("Range"))
            return Answer(status=sent.status, body=sent.body, headers={**sent.headers, **named})
        self.server.lfs[digest] = content
        named |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{digest}"'}
        # Another host, as with the real one: the token must not follow there.
        where = self.server.url.replace("127.0.0.1", "localhost")
        return Answer(status=302, headers={**named, "Location": f"{where}/cdn/{digest}", "Content-Length": "0"})

    def cdn(self, oid: str, **_: Any) -> Answer:
        if self.headers.get("Authorization"):
            return as_json({"error": "a token was sent to a stranger"}, 400)
        return ranged(self.server.lfs[oid], self.headers.get("Range"))

    ROUTES = (
        ("POST", r"/api/repos/create", create),
        ("POST", r"/api/validate-yaml", yaml),
        ("GET", r"/api/datasets", listing),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?", info),
        ("GET", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)", tree),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/preupload/[^/]+", preupload),
        ("POST", r"/api/datasets/(?P<repo>[^/]+/[^/]+)/commit/[^/]+", commit),
        ("POST", r"/datasets/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", batch),
        ("GET HEAD", r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
        ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", upload),
        ("GET HEAD", r"/cdn/(?P<oid>[0-9a-f]{64})", cdn),
    )


def blob_id(content: bytes) -> str:
    """git's name for a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
