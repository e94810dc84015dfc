"""A stand-in for the Hugging Face Hub on loopback: its HTTP API, as far as models go up and come down."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

WRITER, READER = "hf_writer", "hf_reader"  # tokens that the stand-in knows
_LARGE = (".safetensors", ".onnx")
_NAME = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass
class Repo:
    """A repository: the files of each commit, the newest last, and whether it is private."""

    private: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{}])

    def sha(self, index: int = -1) -> str:
        """What a commit is called: it depends on its place and its files."""
        index %= len(self.commits)
        told = [f"{index}"] + [f"{name} {_sha256(content)}" for name, content in sorted(self.commits[index].items())]
        return hashlib.sha1("\n".join(told).encode()).hexdigest()

    def find(self, revision: str) -> int | None:
        """The place of a branch or commit."""
        names = {self.sha(index): index for index in range(len(self.commits))}
        return len(self.commits) - 1 if revision == "main" else names.get(revision)


@dataclass
class Hub:
    """What the stand-in holds, what it was asked, and what goes wrong there.

    Arguments
    ---------
    cuts : dict of str to list of int
        By file name: how many bytes of its next answers go out before the connection ends.
    cut_uploads : int
        How many uploads of large files end in the middle.
    is_down : bool
        It answers 503.
    """

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range
    cuts: dict[str, list[int]] = field(default_factory=dict)
    cut_uploads: int = 0
    is_down: bool = False

    def ranges(self, name: str) -> list[str]:
        """The parts of a file that were asked for, in their order; empty for all of it."""
        return [part for method, path, part in self.asked if method == "GET" and path.endswith(f"/{name}")]


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A Hub with nothing in it, until the end of the block."""
    hub = Hub()
    handler = type("HubHandler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        self._route()

    do_HEAD = do_POST = do_PUT = do_GET

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        for method, pattern, answer in _ROUTES:
            if self.command in method and (found := re.fullmatch(pattern, path)):
                return answer(self, **found.groupdict())
        self._send(404, {"error": f"no such address: {self.command} {path}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, status: int, content: Any = None, error: str = "", headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        named = {"X-Error-Code": error, "X-Error-Message": error} if error else {}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **named, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def _may(self, write: bool = False) -> bool:
        """Whether the token serves; if not, it is answered as the Hub does."""
        token = self._token()
        if self.hub.is_down:
            self._send(503, {"error": "Service unavailable"})
        elif token and token not in (WRITER, READER):
            self._send(401, {"error": "Invalid credentials"}, "Invalid credentials in Authorization header")
        elif write and token != WRITER:
            self._send(403, {"error": "Forbidden"}, "You don't have the rights to create a model")
        else:
            return True
        return False

    def _find(self, repo: str, revision: str = "main") -> tuple[Repo, int] | None:
        if not self._may():
            return None
        found = self.hub.repos.get(repo)
        if found is None or (found.private and not self._token()):
            # Who is not logged in is not told which names there are.
            self._send(404 if self._token() else 401, {"error": "Repository not found"}, "RepoNotFound")
            return None
        index = found.find(revision)
        if index is None:
            self._send(404, {"error": "Invalid rev id"}, "RevisionNotFound")
            return None
        return found, index

    def info(self, repo: str, revision: str | None = None) -> None:
        if found := self._find(repo, revision or "main"):
            files = [{"rfilename": name} for name in found[0].commits[found[1]]]
            facts = {"id": repo, "modelId": repo, "sha": found[0].sha(found[1]), "private": found[0].private}
            self._send(200, facts | {"siblings": files, "tags": [], "downloads": 0, "likes": 0})

    def tree(self, repo: str, revision: str) -> None:
        if found := self._find(repo, revision):
            files = found[0].commits[found[1]].items()
            self._send(200, [_entry(name, content) for name, content in files])

    def resolve(self, repo: str, revision: str, name: str) -> None:
        if not (found := self._find(repo, revision)):
            return
        content = found[0].commits[found[1]].get(name)
        if content is None:
            return self._send(404, {"error": "Entry not found"}, "EntryNotFound")
        headers = {
            "X-Repo-Commit": found[0].sha(found[1]),
            "ETag": f'"{_etag(name, content)}"',
            "Accept-Ranges": "bytes",
        }
        status, part = 200, content
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            status, part = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cuts = self.hub.cuts.get(name)
        if self.command == "GET" and cuts:
            self.send_response(status)
            for header, value in {"Content-Length": str(len(part)), **headers}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(part[: cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self._send(status, part, headers=headers)

    def create(self) -> None:
        asked = json.loads(self._body())
        if not self._may(write=True):
            return
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            return self._send(409, {"error": "You already created this model repo"})
        self.hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        self._send(200, {"url": f"{self.hub.url}/{name}"})

    def validate(self) -> None:
        """The front matter must be a mapping, and a licence one that the Hub knows."""
        text = json.loads(self._body())["content"]
        data = yaml.safe_load(text.split("---")[1])
        known = ("apache-2.0", "mit", "cc-by-4.0", "other", None)
        problems = [] if data.get("license") in known else [{"message": '"license" must be one of [apache-2.0, ...]'}]
        self._send(400 if problems else 200, {"errors": problems, "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        body = json.loads(self._body())
        if self._may(write=True) and (found := self._find(repo, revision)):
            there = found[0].commits[found[1]]
            answer = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": _etag(file["path"], there[file["path"]]) if file["path"] in there else None,
                }
                for file in body["files"]
            ]
            self._send(200, {"files": answer})

    def batch(self, repo: str) -> None:
        objects = json.loads(self._body())["objects"]
        if self._may(write=True):
            for one in objects:
                if one["oid"] not in self.hub.large:
                    one["actions"] = {"upload": {"href": f"{self.hub.url}/large/{one['oid']}", "header": {}}}
            self._send(200, {"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        if self.hub.cut_uploads:
            self.hub.cut_uploads -= 1
            self.rfile.read(1000)
            self.close_connection = True
            return
        content = self._body()
        assert _sha256(content) == oid
        self.hub.large[oid] = content
        self._send(200, {})

    def commit(self, repo: str, revision: str) -> None:
        lines = [json.loads(line) for line in self._body().splitlines()]
        if not self._may(write=True) or not (found := self._find(repo, revision)):
            return
        files = dict(found[0].commits[-1])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        found[0].commits.append(files)
        self._send(200, {"commitUrl": f"{self.hub.url}/{repo}/commit/{found[0].sha()}", "commitOid": found[0].sha()})


_ROUTES: list[tuple[tuple[str, ...], str, Callable[..., None]]] = [
    (("GET",), rf"/api/models/{_NAME}(/revision/(?P<revision>[^/]+))?", _Handler.info),
    (("GET",), rf"/api/models/{_NAME}/tree/(?P<revision>[^/]+)/?", _Handler.tree),
    (("GET", "HEAD"), rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<name>.+)", _Handler.resolve),
    (("POST",), r"/api/repos/create", _Handler.create),
    (("POST",), r"/api/validate-yaml", _Handler.validate),
    (("POST",), rf"/api/models/{_NAME}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", _Handler.batch),
    (("PUT",), r"/large/(?P<oid>[0-9a-f]{64})", _Handler.put),
    (("POST",), rf"/api/models/{_NAME}/commit/(?P<revision>[^/]+)", _Handler.commit),
]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _etag(name: str, content: bytes) -> str:
    """Large files are known by their SHA-256, others by git's name for them."""
    return (
        _sha256(content) if name.endswith(_LARGE) else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    )


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
    large = {"lfs": {"oid": _sha256(content), "size": len(content), "pointerSize": 134}}
    return entry | (large if name.endswith(_LARGE) else {})
