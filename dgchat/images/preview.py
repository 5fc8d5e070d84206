"""An image in a terminal, two pixels to a cell: this needs colours, and no protocol for graphics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich_pixels import Pixels


def half_blocks(image: Image, columns: int, rows: int) -> Pixels:
    """The image as large as `columns` by `rows` cells allow, for whatever renders for Rich."""
    from rich_pixels import Pixels

    small = image.copy()
    small.thumbnail((columns, 2 * rows))
    pixels: Pixels = Pixels.from_image(small)
    return pixels
