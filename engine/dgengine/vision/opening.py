"""Image files: what is read, and in which sentence anything else is refused.

Nothing in a file is trusted: its size, its dimensions and its format are looked at before any pixel is decoded.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from dgengine.errors import ImageError

FORMATS: Final = ("PNG", "JPEG", "WEBP")
LARGEST_FILE: Final = 32 * 2**20  # bytes
MOST_PIXELS: Final = 89_478_485  # Pillow's own limit, above which it warns: a quarter of a GiB as RGB
_LONGEST_NAME = 80
_ORIENTATION = 0x0112  # the EXIF tag
_LYING = (5, 6, 7, 8)  # its values that turn an image by a quarter
_KINDS = "give a PNG, JPEG or WebP image"


def read_file(path: Path) -> bytes:
    """The bytes of an image file, which is not decoded yet.

    Raises:
        ImageError: it is not there, no regular file, not readable, empty, or larger than `LARGEST_FILE`.
    """
    name = shown(path.name or str(path))
    try:
        mode = path.stat().st_mode  # before it is opened: a pipe would wait for a writer
        data = _read(path) if stat.S_ISREG(mode) else b""
    except FileNotFoundError as error:
        raise ImageError(f"There is no image file {shown(str(path))}: check its name.") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(mode):
        raise ImageError(f"{name} is a {'folder' if stat.S_ISDIR(mode) else 'device or a pipe'}: {_KINDS}.")
    if not data:
        raise ImageError(f"{name} is empty: {_KINDS}.")
    if len(data) > LARGEST_FILE:
        raise ImageError(f"{name} is larger than {LARGEST_FILE >> 20} MiB: make it smaller.")
    return data


def decode(data: bytes, name: str, around: tuple[int, int] | None = None) -> Image.Image:
    """The image in `data`, decoded, upright as its EXIF says; of an animation the first frame.

    Args:
        data: of an image file.
        name: of the file, for errors.
        around: width and height that suffice; a larger JPEG is decoded at a fraction of its size, which takes less.

    Raises:
        ImageError: another format, damaged or cut short, or more pixels than `MOST_PIXELS`.
    """
    with _opened(data, name) as opened:
        if around is not None:
            opened.draft(None, around)
        opened.load()
        return _eight_bits(_upright(opened))


def measure(data: bytes, name: str) -> tuple[int, int]:
    """Width and height in pixels of the image in `data`, upright; nothing is decoded.

    Raises:
        ImageError: as for `decode`, as far as that shows.
    """
    with _opened(data, name) as opened:
        with suppress(Exception):  # as in `_upright`
            if opened.getexif().get(_ORIENTATION) in _LYING:
                return opened.height, opened.width
        return opened.size


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet; what goes wrong with it becomes an ImageError."""
    name = shown(name)
    try:
        # Pillow warns where the pixels are looked at here, and of EXIF data that is of no use to anybody.
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            yield opened
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} has more than {MOST_PIXELS // 10**6} million pixels: make it smaller.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is no image that can be read: {_KINDS}.") from error
    except MemoryError as error:
        raise ImageError(f"There is not enough memory to read {name}: make it smaller.") from error
    except Exception as error:  # the decoders raise whatever they like for a broken file
        raise ImageError(f"{name} cannot be read: the file is damaged or cut short.") from error


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def shown(name: str) -> str:
    """A name as a sentence may quote it: one line, without control characters, not too long."""
    plain = name if name.isprintable() else ascii(name)
    return plain if len(plain) <= _LONGEST_NAME else f"…{plain[-_LONGEST_NAME:]}"


def _upright(image: Image.Image) -> Image.Image:
    with suppress(Exception):  # what cannot be read of the EXIF is not there
        return ImageOps.exif_transpose(image)
    return image.copy()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow cuts sixteen bits of grey off at 255 where it should scale them."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
