"""What a model consists of: a list of files with sizes and hashes, kept beside the snapshot.

It is written when a download begins. A snapshot is whole when every file of its list is there at its size; files
come into a snapshot only after their hash has been found right.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgengine.hub.catalogue import is_commit

_NAME = re.compile(r"[A-Za-z0-9_][\w.\-+]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model.

    Attributes:
        name: in the snapshot's folder itself, never below it.
        size: in bytes.
        digest: the hash that names its blob in the cache: SHA-256, or git's SHA-1 of a small file.
    """

    name: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        """Raises ValueError: names and hashes come from outside, and become paths."""
        if not (_NAME.fullmatch(self.name) and _DIGEST.fullmatch(self.digest) and self.size >= 0):
            raise ValueError(f"{self.name!r} of {self.size!r} bytes, {self.digest!r}, is no file of a model")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a model at a commit; `checked` are the digests that have been compared with the files here."""

    commit: str
    files: tuple[ModelFile, ...]
    checked: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def is_whole(self, snapshot: Path) -> bool:
        """Whether every file is there at its size."""
        return bool(self.files) and all(size_of(snapshot / file.name) == file.size for file in self.files)


def size_of(path: Path) -> int:
    """The size of a file, through links; -1 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def folder_of(repo_folder: Path) -> Path:
    """Where the manifests of a model lie."""
    return repo_folder / "dgchat"


def read_all(repo_folder: Path) -> list[Manifest]:
    """All that can be read, newest first; one that is damaged counts as none."""
    try:
        paths = sorted(folder_of(repo_folder).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return []
    return [manifest for path in paths if (manifest := _read(path))]


def _read(path: Path) -> Manifest | None:
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(ModelFile(str(file["name"]), int(file["size"]), str(file["digest"])) for file in table["files"])
        commit, checked = str(table["commit"]), frozenset(map(str, table["checked"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return Manifest(commit, files, checked) if is_commit(commit) else None


def write(repo_folder: Path, manifest: Manifest, checked: Iterable[str]) -> None:
    """Keeps a manifest, in the place of an older one of the same commit; a reader sees the one or the other.

    Raises:
        OSError.
    """
    files = [{"name": file.name, "size": file.size, "digest": file.digest} for file in manifest.files]
    table = {"commit": manifest.commit, "files": files, "checked": sorted(checked)}
    path = folder_of(repo_folder) / f"{manifest.commit}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, path)
