"""Small copies of the images of kept chats: what the model has seen can be shown to it again when the file is gone."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Final

from dgchat.images.attaching import Attachment

AS_IT_IS: Final = 2**20  # bytes up to which a file is copied as it is
_SIDE: Final = (1536, 1536)  # pixels that a smaller copy has at most: more than a model looks at
_QUALITY = 90


class Copies:
    """A folder with a file for each image, named after the SHA-256 of the original."""

    def __init__(self, folder: Path | None) -> None:
        """None keeps no copies."""
        self._folder = folder

    def keep(self, image: Attachment) -> None:
        """Makes a copy, if there is none yet. Where that cannot be done, the file itself has to stay."""
        if self._folder is None or self.find(image.digest) is not None:
            return
        from dgengine.errors import ImageError

        with suppress(OSError, ImageError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(self._folder / image.digest, _small(image))

    def remove(self, digest: str) -> None:
        """Takes a copy away, if there is one and that can be done."""
        copy = self.find(digest)
        if copy is not None:
            with suppress(OSError):
                copy.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f".{secrets.token_hex(8)}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise

    def find(self, digest: str) -> Path | None:
        """The copy of an image; None where there is none."""
        if self._folder is None or not digest.isalnum():
            return None
        path = self._folder / digest
        return path if path.is_file() else None


def _small(image: Attachment) -> bytes:
    if len(image.data) <= AS_IT_IS:
        return image.data
    from dgengine.vision import opening

    small = opening.decode(image.data, image.path.name, _SIDE)
    small.thumbnail(_SIDE)
    has_alpha = "A" in small.getbands() or "transparency" in small.info
    file = BytesIO()
    small.convert("RGBA" if has_alpha else "RGB").save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()
