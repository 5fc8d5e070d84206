"""Fetches one file into the hub's cache: in parts that outlive the process, compared with its hash at the end.

`huggingface_hub` keeps no parts any more (since its version 2 a file that was cut begins anew), which will not do for
files of ten gigabytes. So its session, addresses, headers and errors are used here, and its cache's layout, but a part
stays where it is until it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dgengine.errors import DownloadError
from dgengine.hub.amounts import amount
from dgengine.hub.cache import folder_of, part_of, snapshot_of
from dgengine.hub.catalogue import HubName
from dgengine.hub.manifest import ModelFile, size_of
from dgengine.hub.meter import Meter
from dgengine.hub.sentences import is_passing, wait_of

_TRIES = 5  # in a row that bring nothing
_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 8.0)  # seconds before each
_LONGEST_WAIT = 60  # seconds that the hub may ask to wait while the program stays
_CHUNK = 1 << 20  # bytes hashed at once


class Stopped(Exception):
    """The download was told to stop."""


@dataclass
class Fetcher:
    """Fetches files of one version of a model.

    Attributes:
        name: the model.
        commit: the version, the same for all files.
        meter: told of every byte.
        checked: digests that have been compared; grows.
        on_checked: called after each file that is in its place.
        stop: makes every thread end soon.
    """

    name: HubName
    commit: str
    meter: Meter
    checked: set[str]
    on_checked: Callable[[], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def fetch(self, file: ModelFile) -> None:
        """Puts the file into the snapshot: from the cache, from a part, or from the hub.

        Raises:
            DownloadError: it is not what the hub says it is; what came is removed. Stopped.
            Exception: of the hub's client, or OSError.
        """
        place = snapshot_of(self.name.repo, self.commit) / file.name
        blob = folder_of(self.name.repo) / "blobs" / file.digest
        blob.parent.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not self._is_here(file, place, blob):
            self._receive(file, part_of(blob))
            self._compare(file, part_of(blob))
            os.replace(part_of(blob), blob)
        if size_of(place) != file.size:
            _link(blob, place)
        self.checked.add(file.digest)
        self.on_checked()

    def _is_here(self, file: ModelFile, place: Path, blob: Path) -> bool:
        """Whether the cache has it already; what is there and wrong is removed."""
        found = next((path for path in (place, blob) if size_of(path) == file.size), None)
        if found is not None and file.digest in self.checked:
            self.meter.compare(file.size)
            return True
        if found is not None and self._has_digest(file, found):
            return True
        if found is not None:
            self.meter.lose(file.size)
            self.meter.compare(-file.size)
        place.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        return False

    def _receive(self, file: ModelFile, part: Path) -> None:
        """Gets what is missing of a part, again and again where the connection is cut."""
        tries = 0
        if size_of(part) > file.size:
            part.unlink()
        while (before := max(size_of(part), 0)) < file.size or not part.exists():
            trouble: Exception | None = None
            try:
                self._stream(file, part, before)
            except Exception as error:
                if not is_passing(error) or (wait_of(error) or 0) > _LONGEST_WAIT:
                    raise
                trouble = error
            tries = 0 if size_of(part) > before else tries + 1
            if tries > _TRIES:
                raise trouble or DownloadError(f"The hub does not send the rest of {file.name}: try again later.")
            if trouble or tries:
                self._pause(trouble, tries)

    def _pause(self, trouble: Exception | None, tries: int) -> None:
        asked = wait_of(trouble) if trouble else None
        delay = _DELAYS[min(max(tries, 1), len(_DELAYS)) - 1]
        if self.stop.wait(delay if asked is None else asked):
            raise Stopped

    def _stream(self, file: ModelFile, part: Path, have: int) -> None:
        """One request for the bytes from `have` on."""
        from huggingface_hub import constants, get_session, hf_hub_url, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented all the same

        url = hf_hub_url(self.name.repo, file.name, revision=self.commit, endpoint=constants.ENDPOINT)
        headers = {**build_hf_headers(library_name="dgchat"), "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.status_code == 416:  # the file on the hub is shorter than the part
                self._begin_anew(part, have)
                return
            hf_raise_for_status(response)
            if have and response.status_code != 206:  # it sends the whole file instead
                self._begin_anew(part, have)
                have = 0
            self._check_size(file, part, response, have)
            self._write(file, part, response, have)

    def _begin_anew(self, part: Path, have: int) -> None:
        part.unlink(missing_ok=True)
        self.meter.lose(have)

    def _check_size(self, file: ModelFile, part: Path, response: Any, have: int) -> None:
        """Refuses before a byte comes what is not the file that was promised."""
        if response.headers.get("content-encoding", "identity") != "identity":
            return  # the length is that of the compressed file
        if have:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("content-range", ""))
            if match is None or int(match[1]) != have:
                raise DownloadError(f"The hub sends another part of {file.name} than it was asked for.")
            length = match[2]
        else:
            length = response.headers.get("content-length", str(file.size))
        if length != str(file.size):
            self._refuse(file, part, f"is {amount(int(length))} ({length} bytes) long and not {file.size} bytes")

    def _write(self, file: ModelFile, part: Path, response: Any, have: int) -> None:
        with part.open("ab") as out:
            for chunk in response.iter_bytes():
                if self.stop.is_set():
                    raise Stopped
                have += len(chunk)
                if have > file.size:
                    break
                out.write(chunk)
                out.flush()  # whatever happens now, this much is here the next time
                self.meter.fetch(len(chunk))
        if have > file.size:
            self._refuse(file, part, f"is longer than {file.size} bytes")

    def _compare(self, file: ModelFile, part: Path) -> None:
        if not self._has_digest(file, part):
            self._refuse(file, part, "does not have the hash that the hub states")

    def _refuse(self, file: ModelFile, part: Path, why: str) -> None:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{file.name} of {self.name.given} {why}: it was removed; dgchat pull {self.name.full} fetches it again."
        )

    def _has_digest(self, file: ModelFile, path: Path) -> bool:
        """Whether the bytes on the disk, not those that came, have the hash."""
        known = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(usedforsecurity=False)
        if len(file.digest) == 40:
            known.update(b"blob %d\0" % file.size)  # what git puts before the contents
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                if self.stop.is_set():
                    raise Stopped
                known.update(chunk)
                self.meter.compare(len(chunk))
        return known.hexdigest() == file.digest


def _link(blob: Path, place: Path) -> None:
    """Puts a blob into a snapshot; where there are no links it is moved, as `huggingface_hub` does."""
    place.unlink(missing_ok=True)
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        os.replace(blob, place)
