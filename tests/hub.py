"""A stand-in for the Hugging Face hub: its HTTP interface on 127.0.0.1, with the troubles that a real one may have.

    with Hub() as hub:
        hub.add("org/name", {"config.json": b"{}", "model.safetensors": weights}, large=("model.safetensors",))
        hub.troubles["model.safetensors"] = [Cut(after=1000)]
        ...                          # HF_ENDPOINT=hub.url
        assert hub.asked("GET", "model.safetensors")[1].range == "bytes=1000-"

It answers /api/models/ID/revision/REV, /api/models/ID/tree/REV and /ID/resolve/REV/FILE; large files are handed out by
another host, as the real one's are. It offers no Xet.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "1a2b3c4d" * 5


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Refusal:
    """An answer without a file. `code` is that of X-Error-Code, by which the hub's client tells errors apart."""

    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Instead:
    """Another body than the file's."""

    body: bytes


@dataclass(frozen=True)
class Slow:
    """So many bytes at a time, with a pause after each."""

    chunk: int
    pause: float


@dataclass(frozen=True)
class Whole:
    """The whole file, whatever part of it is asked for."""


Trouble = Cut | Refusal | Instead | Slow | Whole


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    range: str
    token: str
    host: str
    encoding: str


@dataclass
class Repo:
    """A model: its files at one commit."""

    commit: str
    files: dict[str, bytes]
    large: frozenset[str]
    sizes: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def digest(self, name: str) -> str:
        """What the hub says the hash is: SHA-256 of large files, git's of others."""
        data = self.files[name]
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return self.digests.get(name) or (hashlib.sha256(data).hexdigest() if name in self.large else git)

    def size(self, name: str) -> int:
        return self.sizes.get(name, len(self.files[name]))


class Hub:
    """The stand-in; as a context manager it runs."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.revisions: dict[str, dict[str, str]] = {}
        self.troubles: dict[str, list[Trouble]] = {}
        """By file, or "api": what happens to the next requests, in turn; the last one stays if `lasting`."""
        self.lasting = False
        self.token: str | None = None
        """Where set, models are gated: only requests with it are served."""
        self.requests: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def store_url(self) -> str:
        """Where large files are: another host to a client."""
        return f"http://localhost:{self._server.server_port}"

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        large: Sequence[str] = (),
        commit: str = COMMIT,
        revision: str = "main",
    ) -> Repo:
        """Puts a model there, or a further version of it."""
        repo = Repo(commit, dict(files), frozenset(large))
        self.repos[f"{name}@{commit}"] = repo
        self.revisions.setdefault(name, {})[revision] = commit
        return repo

    def find(self, name: str, revision: str) -> Repo | Refusal:
        if name not in self.revisions:
            return Refusal(401, "RepoNotFound")
        commit = self.revisions[name].get(revision, revision)
        return self.repos.get(f"{name}@{commit}") or Refusal(404, "RevisionNotFound")

    def trouble(self, place: str) -> Trouble | None:
        """What happens to this request."""
        waiting = self.troubles.get(place)
        if not waiting:
            return None
        return waiting[0] if self.lasting and len(waiting) == 1 else waiting.pop(0)

    def asked(self, method: str, end: str) -> list[Asked]:
        """The requests of which the path ends so; of a large file those to its store."""
        return [one for one in self.requests if one.method == method and one.path.endswith(end)]

    def __enter__(self) -> Hub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            url = urlsplit(self.path)
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            headers = self.headers
            told = [headers.get(name, "") for name in ("range", "authorization", "host", "accept-encoding")]
            hub.requests.append(Asked(self.command, url.path, *told))
            try:
                if parts[:2] == ["api", "models"]:
                    self._api(parts[2:])
                elif parts[0] == "store":
                    self._store("/".join(parts[1:3]), parts[3], parts[4])
                elif parts[2:3] == ["resolve"]:
                    self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
                else:
                    self._refuse(Refusal(404))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # who asked has gone

        def _allowed(self) -> bool:
            return hub.token is None or self.headers.get("authorization") == f"Bearer {hub.token}"

        def _api(self, parts: list[str]) -> None:
            name, kind, revision = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "", "/".join(parts[3:])
            repo = hub.find(name, revision or "main")
            trouble = hub.trouble("api")
            if isinstance(trouble, Refusal):
                self._refuse(trouble)
            elif isinstance(trouble, Instead):
                self._send(200, trouble.body, {"content-type": "text/html"})
            elif isinstance(repo, Refusal):
                self._refuse(repo)
            elif kind == "tree":
                self._json([_tree_entry(repo, file) for file in repo.files])
            else:
                siblings = [_sibling(repo, file) for file in repo.files]
                self._json({"id": name, "sha": repo.commit, "gated": bool(hub.token), "siblings": siblings})

        def _resolve(self, name: str, revision: str, file: str) -> None:
            repo = hub.find(name, revision)
            if isinstance(repo, Repo) and not self._allowed():
                repo = Refusal(403 if "authorization" in self.headers else 401, "GatedRepo")
            if isinstance(repo, Repo) and file not in repo.files:
                repo = Refusal(404, "EntryNotFound")
            if isinstance(repo, Refusal):
                self._refuse(repo)
                return
            described = {"ETag": f'"{repo.digest(file)}"', "X-Repo-Commit": repo.commit}
            if file not in repo.large:
                self._file(file, repo.files[file], described)
                return
            linked = {"X-Linked-ETag": f'"{repo.digest(file)}"', "X-Linked-Size": str(repo.size(file))}
            place = {"Location": f"{hub.store_url}/store/{name}/{repo.commit}/{file}"}
            self._send(302, b"", {**described, **linked, **place})

        def _store(self, name: str, commit: str, file: str) -> None:
            self._file(file, hub.repos[f"{name}@{commit}"].files[file], {})

        def _file(self, file: str, data: bytes, headers: Mapping[str, str]) -> None:
            trouble = hub.trouble(file) if self.command == "GET" else None
            if isinstance(trouble, Refusal):
                self._refuse(trouble)
                return
            if isinstance(trouble, Instead):
                data = trouble.body
            wanted = self.headers.get("range", "")
            begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if not wanted or isinstance(trouble, Whole):
                self._body(200, data, headers, trouble)
            elif begin >= len(data):
                self._refuse(Refusal(416, headers={"content-range": f"bytes */{len(data)}"}))
            else:
                part = f"bytes {begin}-{len(data) - 1}/{len(data)}"
                self._body(206, data[begin:], {**headers, "content-range": part}, trouble)

        def _body(self, status: int, data: bytes, headers: Mapping[str, str], trouble: Trouble | None) -> None:
            self._head(status, {**headers, "content-length": str(len(data))})
            if self.command == "HEAD":
                return
            if isinstance(trouble, Slow):
                for place in range(0, len(data), trouble.chunk):
                    self.wfile.write(data[place : place + trouble.chunk])
                    time.sleep(trouble.pause)
            else:
                self.wfile.write(data[: trouble.after] if isinstance(trouble, Cut) else data)
            self.close_connection = isinstance(trouble, Cut)

        def _json(self, table: Any) -> None:
            self._send(200, json.dumps(table).encode(), {"content-type": "application/json"})

        def _refuse(self, refusal: Refusal) -> None:
            code = {"X-Error-Code": refusal.code} if refusal.code else {}
            self._send(refusal.status, b"", {**code, **refusal.headers})

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self._head(status, {**headers, "content-length": str(len(body))})
            if self.command != "HEAD":
                self.wfile.write(body)

        def _head(self, status: int, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    return Handler


def _sibling(repo: Repo, file: str) -> dict[str, Any]:
    """As /api/models/ID/revision/REV?blobs=true tells of a file."""
    told: dict[str, Any] = {"rfilename": file, "size": repo.size(file), "blobId": repo.digest(file)[:40]}
    if file in repo.large:
        told["lfs"] = {"size": repo.size(file), "sha256": repo.digest(file), "pointerSize": 134}
    return told


def _tree_entry(repo: Repo, file: str) -> dict[str, Any]:
    """As /api/models/ID/tree/REV tells of a file."""
    told: dict[str, Any] = {"type": "file", "path": file, "size": repo.size(file), "oid": repo.digest(file)[:40]}
    if file in repo.large:
        told["lfs"] = {"oid": repo.digest(file), "size": repo.size(file), "pointerSize": 134}
    return told


def weights(size: int, seed: int = 0) -> bytes:
    """A safetensors file of one tensor of so many random bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def tiny_model(shard_bytes: int = 50_000, seed: int = 0) -> dict[str, bytes]:
    """What a repository of a model holds: what is needed, and what is never to be fetched."""
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "README.md": b"# Tiny\n",
        "config.json": b'{"model_type": "diffusion_gemma"}',
        "generation_config.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}' + b" " * 5000,
        "chat_template.jinja": b"{{ bos_token }}",
        "model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", SHARDS, strict=True))}).encode(),
        SHARDS[0]: weights(shard_bytes, seed),
        SHARDS[1]: weights(shard_bytes // 2, seed + 1),
        "pytorch_model.bin": b"pickle",
        "training_args.json.pkl": b"pickle",
        "modeling.py": b"import os",
        "original/params.json": b"{}",
    }


NEEDED = frozenset(
    name for name in tiny_model(10) if name.endswith((".json", ".jinja", ".safetensors")) and "/" not in name
)


def connect(patch: pytest.MonkeyPatch, hub: Hub, cache: Path) -> None:
    """Makes `huggingface_hub` in this process use the stand-in and this cache; it reads the environment only once."""
    patch.setattr(constants, "ENDPOINT", hub.url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    patch.setattr("dgengine.hub.fetching._DELAYS", (0.0,))
    for name, value in environment(hub, cache).items():
        patch.setenv(name, value)
    huggingface_hub.close_session()  # a client reads the proxies when it is made


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """The same for another process; the cache is `home`/hub."""
    names = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**names, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
