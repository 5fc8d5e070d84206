"""A text file as it is on disk: read without changing a byte, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from dgchat.exits import Exit, Failure

Newline: TypeAlias = Literal["\n", "\r\n", "\r", "mixed"]

LIMIT: Final = 64 << 20  # bytes; what is longer is no text that anyone edits by hand
BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
# C0 but backspace, tab, newline, vertical tab, form feed, return and ESC, and DEL. Logs may hold a few of them.
_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {*range(8, 14), 0x1B})
_MOST_CONTROLS: Final = 0.1  # share of the bytes
_WRITE_BITS: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NEWLINE: Final = re.compile(r"\r\n|\n|\r")


class DocumentError(Failure):
    """A file that cannot be read or written as text: one sentence that says what is wrong and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.INPUT)


class Contents:
    """A text as its bytes say it.

    Attributes:
        text: exactly as decoded: newlines are as they were.
        bom: whether a UTF-8 byte order mark stands before the text; it is no part of it.
        newline: what ends its lines, where all end alike; "mixed" where not, "\\n" where there is but one line.
    """

    def __init__(self, text: str, bom: bool = False) -> None:
        self.text, self.bom = text, bom
        self.newline = newline_of(text)

    @classmethod
    def of(cls, data: bytes, name: str) -> Contents:
        """The text that `data` is; `name` says where it comes from.

        Raises:
            DocumentError: it is binary, not UTF-8, or too long.
        """
        return cls(*_decode(data, name))

    def encode(self, text: str) -> bytes:
        """The bytes of another text in the place of this one, after the same byte order mark.

        Raises:
            DocumentError: it has lone surrogates.
        """
        try:
            return (BOM if self.bom else b"") + text.encode()
        except UnicodeEncodeError as error:
            raise DocumentError(f"The text has a lone surrogate at {error.start:,}; nothing was done.") from error


class _Fingerprint(NamedTuple):
    size: int
    mtime_ns: int
    sha256: str


class Document(Contents):
    """A file and its text.

    Attributes:
        path: as it was named.
    """

    def __init__(self, path: Path, data: bytes, seen: _Fingerprint | None) -> None:
        """For `read` and `create`."""
        super().__init__(*_decode(data, str(path)))
        self.path = path
        self._seen = seen  # what is on disk, as far as we know; None where nothing is

    @classmethod
    def read(cls, path: Path) -> Document:
        """The file at `path`.

        Raises:
            DocumentError: it is not there, no regular file, not readable, binary, not UTF-8, or longer than `LIMIT`.
        """
        data, seen = _read(path)
        return cls(path, data, seen)

    @classmethod
    def create(cls, path: Path) -> Document:
        """An empty document, to be written to `path`. What may be there now is not read, and is written over.

        Raises:
            DocumentError: what is there is no regular file, or cannot be read.
        """
        seen = _read(path)[1] if os.path.lexists(path) and path.exists() else None
        return cls(path, b"", seen)

    def changed_on_disk(self) -> bool:
        """Whether someone else has changed, removed or made the file since it was read or written here.

        Looks at size and time first, so that it may be asked often; the same bytes at a new time are no change.
        """
        try:
            found = os.stat(self.path)
        except OSError:
            return self._seen is not None
        if self._seen is not None and (found.st_size, found.st_mtime_ns) == self._seen[:2]:
            return False
        return self._differs()

    def _differs(self) -> bool:
        """The same by its bytes."""
        try:
            seen = _read(self.path)[1] if self.path.exists() else None
        except (DocumentError, OSError):
            return True
        if seen is None or self._seen is None or seen.sha256 != self._seen.sha256:
            return seen != self._seen
        self._seen = seen
        return False

    @property
    def writable(self) -> bool:
        """Whether the file may be written. The bits of its mode count for the superuser, too."""
        return self._hindrance() is None

    def check_writable(self) -> None:
        """Refuses a file that may not be written, before there is anything to write.

        Raises:
            DocumentError: it is read-only, or its folder is.
        """
        hindrance = self._hindrance()
        if hindrance:
            raise DocumentError(hindrance)

    def _hindrance(self) -> str | None:
        folder = Path(os.path.realpath(self.path)).parent
        with suppress(OSError):
            mode = os.stat(self.path).st_mode
            if not stat.S_ISREG(mode):
                return f"{self.path} is no regular file; name a text file."
            if not mode & _WRITE_BITS or not os.access(self.path, os.W_OK):
                return f"{self.path} is read-only; chmod u+w makes it writable."
        if not folder.is_dir():
            return f"There is no folder {folder}."
        if not os.access(folder, os.W_OK):
            return f"{self.path} cannot be written safely: its folder {folder} is read-only."
        return None

    def write(self, text: str, over: bool = False) -> None:
        """Puts `text` into the file: all of it, or nothing.

        A new file is made beside the old one and takes its place; it has the same mode and, where that is allowed,
        the same owner. A symbolic link stays one: the file that it leads to is written.

        Args:
            over: write even over a file that someone else has changed.

        Raises:
            DocumentError: the file is read-only, was changed by someone else, or the disk does not take it. It is as
                it was then.
        """
        data = self.encode(text)
        self.check_writable()
        if not over and self._differs():
            raise DocumentError(f"{self.path} has been changed on disk since it was read; nothing was written.")
        try:
            found = _replace(Path(os.path.realpath(self.path)), data)
        except OSError as error:
            raise DocumentError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        self._seen = _Fingerprint(len(data), found, hashlib.sha256(data).hexdigest())
        self.text, self.newline = text, newline_of(text)


def newline_of(text: str) -> Newline:
    """What ends the lines of a text."""
    pairs = text.count("\r\n")
    counts: dict[Newline, int] = {"\n": text.count("\n") - pairs, "\r\n": pairs, "\r": text.count("\r") - pairs}
    found = [newline for newline, count in counts.items() if count]
    return "mixed" if len(found) > 1 else found[0] if found else "\n"


def fit_newlines(replacement: str, contents: Contents) -> str:
    """`replacement` with the newlines of a text whose lines all end alike; a mixed one takes it as it is."""
    if contents.newline == "mixed":
        return replacement
    return _NEWLINE.sub(lambda _: contents.newline, replacement)


def _decode(data: bytes, name: str) -> tuple[str, bool]:
    """The text of the bytes, and whether a byte order mark stood before it."""
    if len(data) > LIMIT:
        raise DocumentError(f"{name} is longer than {LIMIT >> 20} MiB; give a smaller file.")
    if data.startswith(_UTF16):
        raise DocumentError(f"{name} is not UTF-8 text but UTF-16; convert it first, for example with iconv.")
    if b"\0" in data:
        raise DocumentError(f"{name} is a binary file (a zero byte at offset {data.index(0):,}); name a text file.")
    if len(data) - len(data.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(data):
        raise DocumentError(f"{name} is a binary file (many control characters); name a text file.")
    bom = data.startswith(BOM)
    try:
        return (data[len(BOM) :] if bom else data).decode(), bom
    except UnicodeDecodeError as error:
        place = error.start + (len(BOM) if bom else 0)
        raise DocumentError(
            f"{name} is not UTF-8 text: byte 0x{data[place]:02x} at offset {place:,}; "
            "convert it first, for example with iconv."
        ) from error


def _read(path: Path) -> tuple[bytes, _Fingerprint]:
    """The bytes of a regular file, and what to know them by."""
    try:
        _check_kind(path, os.stat(path).st_mode)  # before it is opened: a pipe would wait for a writer
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            _check_kind(path, found.st_mode)
            if found.st_size > LIMIT:
                raise DocumentError(f"{path} is longer than {LIMIT >> 20} MiB; give a smaller file.")
            data = file.read(LIMIT + 1)
    except FileNotFoundError as error:
        raise DocumentError(f"There is no file {path}; check its name.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise DocumentError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return data, _Fingerprint(len(data), found.st_mtime_ns, hashlib.sha256(data).hexdigest())


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise DocumentError(f"{path} is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise DocumentError(f"{path} is a device or a pipe; name a file.")


def _replace(path: Path, data: bytes) -> int:
    """Writes a file beside the one at `path` and moves it there; returns its time of change in nanoseconds."""
    old = os.stat(path) if path.exists() else None
    beside = path.parent / f".dgchat-{secrets.token_hex(8)}"
    # Not readable for others before it has the mode of the old one; a new file has what umask leaves.
    mode = 0o600 if old else 0o666
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if old is not None:
                _dress(beside, path, old)
            os.fsync(file.fileno())
            time = os.fstat(file.fileno()).st_mtime_ns
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
    _settle(path.parent)
    return time


def _dress(beside: Path, path: Path, old: os.stat_result) -> None:
    """Gives a new file the owner, the extended attributes and the mode of the old one."""
    if hasattr(os, "chown"):
        with suppress(OSError):
            os.chown(beside, -1, old.st_gid)
        with suppress(OSError):
            os.chown(beside, old.st_uid, -1)
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for name in os.listxattr(path):
                os.setxattr(beside, name, os.getxattr(path, name))
    os.chmod(beside, stat.S_IMODE(old.st_mode))


def _settle(folder: Path) -> None:
    """Makes the new name last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
