"""The file behind the editor: one that is there, one that will be, or none yet. Knows no screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from dgchat.documents import Document, DocumentError

_Signature: TypeAlias = tuple[int, int, int] | None


class TextFile:
    """A text, and where it is kept.

    Attributes:
        name: what it is called on the screen.
        path: where it lies; None while it has no place.
        text: as it was read, or written last.
    """

    def __init__(self, name: str, text: str, path: Path | None = None, document: Document | None = None) -> None:
        self.name, self.text, self.path = name, text, path
        self._document = document
        self._let_be: _Signature = None  # the state on disk that the user has decided to leave alone

    @classmethod
    def open(cls, path: Path) -> TextFile:
        """The file at `path`; one that is not there begins empty.

        Raises:
            DocumentError: it cannot be used.
        """
        if not os.path.lexists(path):
            _check_folder(path)
            return cls(path.name, "", path)
        document = Document.read(path)
        return cls(path.name, document.text, path, document)

    @property
    def is_new(self) -> bool:
        """Whether there is no file yet."""
        return self._document is None

    def changed(self) -> bool:
        """Whether someone else has changed the file since, and the user does not know."""
        return self._signature() != self._let_be and self.differs()

    def differs(self) -> bool:
        """Whether someone else has changed the file since it was read or written here."""
        if self._document is not None:
            return self._document.changed_on_disk()
        return self.path is not None and os.path.lexists(self.path)

    def let_be(self) -> None:
        """The user knows of what is on disk now, and goes on with their own text."""
        self._let_be = self._signature()

    def _signature(self) -> _Signature:
        try:
            stat = self.path.stat() if self.path is not None else None
        except OSError:
            return (0, 0, 0)
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat is not None else None

    def reload(self) -> None:
        """Reads it anew.

        Raises:
            DocumentError: it cannot be used any more.
        """
        assert self.path is not None  # only a file that is somewhere changes on disk
        self._document = Document.read(self.path)
        self.text, self._let_be = self._document.text, None

    def write(self, text: str, over: bool = False) -> None:
        """Writes it whole, or not at all.

        Args:
            text: what is to stand in it.
            over: write even over what someone else has put there.

        Raises:
            DocumentError: it cannot be written.
        """
        assert self.path is not None  # the screen has asked for one
        document = self._document or Document.create(self.path)
        document.write(text, over)
        self._document = document
        self.text, self._let_be = text, None

    def move_to(self, path: Path) -> None:
        """From now on it lies there.

        Raises:
            DocumentError: nothing can be written there.
        """
        _check_folder(path)
        self.path, self.name, self._document = path, path.name, None


def _check_folder(path: Path) -> None:
    if path.is_dir():
        raise DocumentError(f"{path} is a folder; name a file.")
    if not path.parent.is_dir():
        raise DocumentError(f"There is no folder {path.parent}.")
