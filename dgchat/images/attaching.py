"""An image that is to go with a message."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from PIL.Image import Image

MOST: Final = 16  # images that a message may hold
_PREVIEW: Final = (96, 96)  # pixels: more than any preview in a terminal has


@dataclass(frozen=True)
class Attachment:
    """An image file that has been read, and found to be one.

    Attributes:
        path: where it was.
        digest: SHA-256 of its bytes, in hexadecimal.
        width, height: in pixels, upright.
        data: its bytes.
        preview: a small one.
    """

    path: Path
    digest: str
    width: int
    height: int
    data: bytes = field(repr=False)
    preview: Image = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        """ "fox.png 640×480", safe for a terminal."""
        return label_of(self.path.name, self.width, self.height)


def label_of(name: str, width: int, height: int) -> str:
    """What a chip says of an image; a name is untrusted."""
    return f"{clean_line(name) or 'image'} {width}×{height}"


def attach(path: Path) -> Attachment:
    """Reads an image file; takes a second for a very large one.

    Raises:
        dgengine.errors.ImageError: it cannot be read, or is no image that models take; one sentence.
    """
    from dgengine.vision import opening

    data = opening.read_file(path)
    width, height = opening.measure(data, path.name)
    preview = opening.decode(data, path.name, _PREVIEW)
    preview.thumbnail(_PREVIEW)
    return Attachment(path.absolute(), hashlib.sha256(data).hexdigest(), width, height, data, preview.convert("RGBA"))
