"""Fetches a model from the hub, whole, or leaves what came for the next time."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from dgengine.errors import CheckpointError, DownloadError, ModelNotFoundError
from dgengine.hub import manifest as manifests
from dgengine.hub.amounts import amount, share
from dgengine.hub.cache import KIND, find, folder_of, here, kind_of, lock, look, root, snapshot_of
from dgengine.hub.catalogue import HubName, is_commit, parse
from dgengine.hub.fetching import Fetcher, Stopped
from dgengine.hub.listing import ask
from dgengine.hub.manifest import Manifest
from dgengine.hub.meter import Meter, Transfer
from dgengine.hub.sentences import explain, http_error

Progress: TypeAlias = Callable[[Transfer], None]

_WORKERS = 4  # files at once
_TICK = 0.1  # seconds between two reports
_PARTING = 1.0  # seconds that threads get to end by themselves
_MARGIN = 256_000_000  # bytes that stay free on the disk, or
_MARGIN_SHARE = 0.02  # so much of the model, if that is more


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is here.

    Attributes:
        repo: "org/name".
        commit: its version.
        path: its directory.
        bytes: of all its files.
        fetched: of those that came over the network now; 0 where everything was here.
    """

    repo: str
    commit: str
    path: Path
    bytes: int
    fetched: int


def pull(name: str, revision: str | None = None, progress: Progress | None = None) -> Pulled:
    """Fetches a model into the hub's cache, or what is missing of it.

    Commit, files, sizes and hashes are asked for once; all files are of that commit. Each is compared with its hash
    before it comes into the snapshot. Whatever ends this early, Ctrl-C too, leaves parts that the next call goes on
    from, and `find` takes nothing for whole that is not.

    Args:
        name: a short name, or "org/name", with "@" and a revision if wanted.
        revision: a branch, a tag or a commit, where the name has none; the main branch by default.
        progress: called in this thread some times a second; what it raises ends the download.

    Raises:
        ModelNotFoundError: nothing goes by that name, or its licence asks to be accepted.
        CheckpointError: it is no DiffusionGemma model.
        DownloadError: no network, no room, a file that is not what the hub says.
    """
    wanted = parse(name, revision)
    if wanted is None:
        raise ModelNotFoundError(f"{name!r} is no name of a model on the hub, such as nvfp4 or org/name@revision.")
    try:
        manifest = ask(wanted)
        with lock(wanted):
            return _Pull(wanted, manifest, progress or _silent).run()
    except (http_error(), OSError, ValueError) as error:
        raise explain(error, wanted) from error


def locate(name: str, offline: bool = False, progress: Progress | None = None) -> Path:
    """The directory of a model on the hub: from the cache, or fetched where the cache has nothing of it.

    Raises:
        ModelNotFoundError: it is neither here nor to be had, or only a part of it is here.
        CheckpointError, DownloadError: as `pull` does.
    """
    from huggingface_hub import is_offline_mode

    wanted = parse(name)
    if wanted is not None and look(wanted) is None:
        if offline or is_offline_mode():
            why, remedy = "HF_HUB_OFFLINE is set", "unset it"
            if offline:
                why, remedy = "offline was asked for", "allow the download"
            raise ModelNotFoundError(
                f"The model {name} is not in the hub's cache, and {why}: {remedy}, or give 'pocket'."
            )
        return pull(name, progress=progress).path
    return find(wanted or name)


class _Pull:
    """One call of `pull`, once the hub has said what there is; the model is locked."""

    def __init__(self, name: HubName, manifest: Manifest, report: Progress) -> None:
        self._name, self._manifest, self._report = name, manifest, report
        self._folder = folder_of(name.repo)
        self._files = {file.digest: file for file in manifest.files}  # the same contents are fetched once
        done = sum(here(self._folder, manifest.commit, file) for file in self._files.values())
        self._meter = Meter(sum(file.size for file in self._files.values()), done)
        checked = {digest for kept in manifests.read_all(self._folder) for digest in kept.checked}
        self._fetcher = Fetcher(name, manifest.commit, self._meter, checked & set(self._files), self._keep)
        self._failures: list[Exception] = []
        self._keeping = threading.Lock()
        self._begun = False

    def run(self) -> Pulled:
        """Fetches what is missing, and makes the version that of its branch."""
        path = snapshot_of(self._name.repo, self._manifest.commit)
        try:
            self._check_kind(path)
            self._begun = True
            self._keep()
            self._check_room()
            self._fetch_all()
            self._set_ref()
        except (http_error(), OSError) as error:
            raise explain(error, self._name, self._so_far()) from error
        return Pulled(self._name.repo, self._manifest.commit, path, self._manifest.size, self._meter.fetched)

    def _so_far(self) -> str:
        now = self._meter.read()
        return share(now.done, now.total) if now.stage == "download" and now.done else ""

    def _check_kind(self, path: Path) -> None:
        """The configuration comes first: a model of another kind is refused before its weights come."""
        self._fetcher.fetch(next(file for file in self._manifest.files if file.name == "config.json"))
        kind = kind_of(path / "config.json")
        if kind != KIND:
            raise CheckpointError(
                f"The model {self._name.repo} is of the kind {kind!r}; only DiffusionGemma can be run."
            )

    def _keep(self) -> None:
        """Writes what has been checked down, for the next time."""
        with self._keeping:
            if self._begun:
                manifests.write(self._folder, self._manifest, self._fetcher.checked)

    def _check_room(self) -> None:
        """Refuses what does not fit on the disk before it is full.

        Raises:
            DownloadError: with the numbers.
        """
        now = self._meter.read()
        missing = now.total - now.done if now.stage == "download" else 0
        spare = max(_MARGIN, int(self._meter.total * _MARGIN_SHARE))
        free = shutil.disk_usage(self._folder).free
        if missing and free < missing + spare:
            raise DownloadError(
                f"There is no room for {self._name.given}: {amount(missing)} are to come, with {amount(spare)} to "
                f"spare, but {amount(free)} are free in {root()}: make room, or set HF_HOME to a folder elsewhere."
            )

    def _fetch_all(self) -> None:
        """Fetches in threads, and reports in this one, which Ctrl-C comes to."""
        # Small files first: what is wrong with one shows before the large ones are here.
        jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
        for digest in sorted(self._files, key=lambda digest: self._files[digest].size):
            jobs.put(digest)
        # Daemons: a thread that waits for the network must not keep the program.
        threads = [threading.Thread(target=self._work, args=(jobs,), daemon=True) for _ in range(_WORKERS)]
        for thread in threads:
            thread.start()
        try:
            while (busy := next((thread for thread in threads if thread.is_alive()), None)) and not self._failures:
                self._report(self._meter.read())
                busy.join(_TICK)
        except KeyboardInterrupt:
            self._report(self._meter.read())  # for the sentence that says how far it came
            raise
        finally:
            self._fetcher.stop.set()
            _part_with(threads)
        if self._failures:
            raise self._failures[0]
        self._report(self._meter.read())

    def _work(self, jobs: queue.SimpleQueue[str]) -> None:
        try:
            while not self._fetcher.stop.is_set():
                digest = jobs.get_nowait()
                for file in self._manifest.files:
                    if file.digest == digest:
                        self._fetcher.fetch(file)
        except (queue.Empty, Stopped):
            return
        except Exception as error:  # noqa: BLE001 - raised again in the thread that called
            self._failures.append(error)

    def _set_ref(self) -> None:
        """Only now: until here the branch leads to what was whole before."""
        revision = self._name.revision or "main"
        if is_commit(revision):
            return
        ref = self._folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        fresh = ref.with_name(f"{ref.name}.new")
        fresh.write_text(self._manifest.commit, encoding="ascii")
        os.replace(fresh, ref)


def _part_with(threads: Iterable[threading.Thread]) -> None:
    """Waits a little for the threads to end."""
    end = time.monotonic() + _PARTING
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0))


def _silent(_: Transfer) -> None:
    """No progress is asked for."""
