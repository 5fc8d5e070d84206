"""What the hub's cache holds of DiffusionGemma models, told without the network.

The cache's layout is documented by `huggingface_hub`: `models--ORG--NAME/` with `blobs/DIGEST`, `snapshots/COMMIT/FILE`
(a link to a blob) and `refs/BRANCH` (the hash of a commit). Parts of files are `blobs/DIGEST.incomplete`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from dgengine.errors import DownloadError, ModelNotFoundError
from dgengine.hub import manifest as manifests
from dgengine.hub.amounts import share
from dgengine.hub.catalogue import HubName, is_commit, known, parse
from dgengine.hub.manifest import Manifest, size_of

_LARGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows
KIND: Final = "diffusion_gemma"


class State(Enum):
    """How much of a model is here."""

    NONE = "none"
    PARTIAL = "partial"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model of which something is in the cache.

    Attributes:
        repo: "org/name".
        state: whole or partial.
        commit: which version is whole, or has been begun.
        path: its directory.
        disk_bytes: what all its versions take on the disk.
        done: bytes that are here of this version's `total`; both 0 where that is not known.
    """

    repo: str
    state: State
    commit: str
    path: Path
    disk_bytes: int
    done: int
    total: int


def root() -> Path:
    """The hub's cache, as HF_HOME and HF_HUB_CACHE say."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def folder_of(repo: str) -> Path:
    """Where the cache keeps a model."""
    return root() / f"models--{repo.replace('/', '--')}"


def snapshot_of(repo: str, commit: str) -> Path:
    """Where the cache keeps a version of a model."""
    return folder_of(repo) / "snapshots" / commit


def find(name: str | HubName) -> Path:
    """The directory of a model that is whole in the cache.

    Raises:
        ModelNotFoundError: it is not there, or only a part of it; the message says how to get the rest.
    """
    wanted = parse(name) if isinstance(name, str) else name
    if wanted is None:
        raise ModelNotFoundError(f"{name!r} is no name of a model on the hub, such as nvfp4 or org/name.")
    found = look(wanted)
    if found is not None and found.state is State.WHOLE:
        return found.path
    if found is not None:
        how_much = f" ({share(found.done, found.total)})" if found.total else ""
        raise ModelNotFoundError(
            f"Only a part of the model {wanted.given} is here{how_much}: dgchat pull {wanted.full} goes on."
        )
    raise ModelNotFoundError(f"The model {wanted.given} is not in the hub's cache: dgchat pull {wanted.full} gets it.")


def look(name: HubName) -> CachedModel | None:
    """What is here of a model: of the revision named, or of main, or whatever else is whole."""
    folder = folder_of(name.repo)
    known_files = {manifest.commit: manifest for manifest in manifests.read_all(folder)}
    commits = _commits(folder, name.revision, list(known_files))
    snapshots = folder / "snapshots"
    whole = next((commit for commit in commits if _is_whole(snapshots / commit, known_files.get(commit))), None)
    begun = (commit for commit in commits if commit in known_files or _has_files(snapshots / commit))
    commit = whole or next(begun, None)
    if commit is None:
        return None
    done, total = _progress(folder, known_files.get(commit))
    return CachedModel(
        name.repo,
        State.WHOLE if whole else State.PARTIAL,
        commit,
        snapshots / commit,
        _bytes_below(folder),
        done,
        total,
    )


def _commits(folder: Path, revision: str | None, listed: list[str]) -> list[str]:
    """The versions that a revision may mean, the likeliest first."""
    if revision is not None:
        commit = revision if is_commit(revision) else _ref(folder, revision)
        # A branch that is being fetched has no ref yet: it is written when all is here.
        return [commit] if commit else []
    kept = sorted(path.name for path in (folder / "snapshots").glob("*") if is_commit(path.name))
    return list(dict.fromkeys([*filter(None, [_ref(folder, "main")]), *listed, *kept]))


def _ref(folder: Path, revision: str) -> str | None:
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def _is_whole(snapshot: Path, manifest: Manifest | None) -> bool:
    return manifest.is_whole(snapshot) if manifest else _is_whole_by_itself(snapshot)


def _has_files(snapshot: Path) -> bool:
    return snapshot.is_dir() and any(snapshot.iterdir())


def _is_whole_by_itself(snapshot: Path) -> bool:
    """Whether a snapshot that another program fetched has its configuration and all its weights at full length."""
    if not (snapshot / "config.json").is_file():
        return False
    index = snapshot / "model.safetensors.index.json"
    if not index.is_symlink() and not index.exists():
        return _is_full_length(snapshot / "model.safetensors")
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return bool(shards) and all(_is_full_length(snapshot / Path(str(shard)).name) for shard in shards)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _is_full_length(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says: eight bytes, the header, then the tensors."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > _LARGEST_HEADER:
                return False
            header = json.loads(stream.read(length))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return file.stat().st_size == 8 + length + int(max(ends, default=0))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _progress(folder: Path, manifest: Manifest | None) -> tuple[int, int]:
    """Bytes that are here of a version, parts of files counted, and of how many."""
    if manifest is None:
        return 0, 0
    return sum(here(folder, manifest.commit, file) for file in manifest.files), manifest.size


def here(folder: Path, commit: str, file: manifests.ModelFile) -> int:
    """Bytes of a file that need not be fetched again."""
    blob = folder / "blobs" / file.digest
    whole = file.size in (size_of(folder / "snapshots" / commit / file.name), size_of(blob))
    part = size_of(part_of(blob))
    return file.size if whole else part if 0 <= part <= file.size else 0


def part_of(blob: Path) -> Path:
    """Where the part of a file lies that has come so far."""
    return blob.with_name(f"{blob.name}.incomplete")


def _bytes_below(folder: Path) -> int:
    """What the files below a folder take, links not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            try:
                total += 0 if path.is_symlink() else path.stat().st_size
            except OSError:  # gone in the meantime
                continue
    return total


def cached_models() -> list[CachedModel]:
    """The DiffusionGemma models of which something is in the cache, by name."""
    repos = sorted(
        path.name.removeprefix("models--").replace("--", "/", 1)
        for path in root().glob("models--*--*")
        if path.is_dir()
    )
    return [model for repo in repos if (model := _looked_at(repo))]


def _looked_at(repo: str) -> CachedModel | None:
    """A model of ours; one that may not be read, such as what another user fetched, is none."""
    try:
        return look(HubName(repo, repo)) if _is_ours(repo) else None
    except PermissionError:
        return None


def _is_ours(repo: str) -> bool:
    """Whether it was fetched by dgchat, or is of the kind that it runs."""
    folder = folder_of(repo)
    if known(repo) or manifests.folder_of(folder).is_dir():
        return True
    return any(kind_of(config) == KIND for config in (folder / "snapshots").glob("*/config.json"))


def kind_of(config: Path) -> str | None:
    """The `model_type` of a config.json; None where it tells none."""
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None
    return kind if isinstance(kind, str) else None


def remove(name: str) -> int:
    """Removes all versions of a model from the cache, and parts of them; returns the bytes that are free now.

    Raises:
        ModelNotFoundError: it is not there, or is no model that dgchat runs.
        DownloadError: it is just being fetched, or cannot be removed.
    """
    wanted = _kept(name)
    folder = folder_of(wanted.repo)
    try:
        with lock(wanted):
            freed = _bytes_below(folder)
            shutil.rmtree(folder)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be removed: {error.strerror or error}.") from error
    return freed


def removable(name: str) -> int:
    """The bytes that `remove` would free.

    Raises:
        ModelNotFoundError: as there.
    """
    return _bytes_below(folder_of(_kept(name).repo))


def _kept(name: str) -> HubName:
    wanted = parse(name)
    if wanted is None or wanted.revision or not folder_of(wanted.repo).is_dir():
        raise ModelNotFoundError(f"There is no model {name} in the hub's cache; dgchat models lists them.")
    if not _is_ours(wanted.repo):
        raise ModelNotFoundError(f"{name} is no DiffusionGemma model; `hf cache rm` removes others from the cache.")
    return wanted


@contextmanager
def lock(name: HubName) -> Iterator[None]:
    """Held while a model is fetched or removed; the system gives it back when a process dies.

    Raises:
        DownloadError: another process holds it. OSError: the cache cannot be written.
    """
    from filelock import FileLock, Timeout

    # Not within the model's own folder, which `remove` takes away; the library keeps its locks here, too.
    path = root() / ".locks" / folder_of(name.repo).name / "dgchat.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(path, timeout=0.2))
        except Timeout:
            said = f"Another dgchat is just fetching or removing {name.given}: wait for it to end."
            raise DownloadError(said) from None
        except NotImplementedError:
            pass  # a file system without locks: what two downloads at once spoil, the hash finds out
        yield
