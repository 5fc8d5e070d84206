"""The images of a prompt on the command line: read before anything heavy is loaded, and shown where one watches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from dgchat.images.attaching import Attachment

_COLUMNS, _ROWS = 40, 10
_COLORFUL: Final = ("256", "truecolor")


def read_images(paths: Sequence[Path]) -> list[Attachment]:
    """The images in these files.

    Raises:
        dgengine.errors.ImageError: one cannot be read.
    """
    if not paths:
        return []
    from dgchat.images.attaching import attach

    return [attach(path) for path in paths]


def show_images(images: Sequence[Attachment], out: TextIO) -> None:
    """Previews, on a terminal with colours enough."""
    if not images or not out.isatty():
        return
    from rich.console import Console

    console = Console(file=out)
    if console.no_color or console.color_system not in _COLORFUL:
        return
    from rich.text import Text

    from dgchat.images.preview import half_blocks

    for image in images:
        label = Text(image.label)  # a text would be read as markup
        console.print(half_blocks(image.preview, min(_COLUMNS, console.width - 1), _ROWS), label, sep="")
