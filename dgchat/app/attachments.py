"""Images on the screen: chips of those that go with the next message, and lines of those that a question has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual import on
from textual.app import ComposeResult
from textual.containers import HorizontalScroll, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Static

from dgchat.images.attaching import Attachment, label_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from dgchat.history.records import KeptImage

_CHIP = (16, 4)  # columns and rows of a preview above the editor
_LINE = (40, 10)  # and in the transcript
_LABEL = 36  # characters of a chip


@runtime_checkable
class Gallery(Protocol):
    """Knows where the images of a chat are."""

    def image_file(self, image: KeptImage) -> Path | None:
        """A file that holds it; None where there is none any more."""


class Preview(Static):
    """A small picture of an image. Its size is known before it is drawn, so that nothing moves then."""

    def __init__(self, width: int, height: int, most: tuple[int, int]) -> None:
        """Of an image of `width` by `height` pixels; `most`: columns and rows at most."""
        super().__init__(classes="preview", markup=False)
        scale = min(most[0] / max(width, 1), 2 * most[1] / max(height, 1), 1.0)
        self._columns = max(1, round(width * scale))
        self._rows = max(1, -(-round(height * scale) // 2))
        self.styles.width, self.styles.height = self._columns, self._rows

    def draw(self, image: Image) -> None:
        """Shows the image."""
        from dgchat.images.preview import half_blocks  # and with it what draws it, for which nothing else waits

        self.update(half_blocks(image, self._columns, self._rows))


class Chip(Vertical):
    """An image that goes with the next message; its button takes it away."""

    def __init__(self, image: Attachment) -> None:
        super().__init__(classes="chip")
        self.image = image

    def compose(self) -> ComposeResult:
        preview = Preview(self.image.width, self.image.height, _CHIP)
        preview.draw(self.image.preview)
        yield preview
        label = self.image.label
        shown = label if len(label) <= _LABEL else f"…{label[-_LABEL:]}"
        yield Button(Content(f"✕ {shown}"), classes="take-away", compact=True)  # a text would be read as markup


class Attachments(HorizontalScroll):
    """The chips, side by side; not there where there are none."""

    can_focus = False

    class TakenAway(Message):
        """The user has taken an image away."""

    def on_mount(self) -> None:
        """There are none yet."""
        self.display = False

    @property
    def images(self) -> tuple[Attachment, ...]:
        """In the order in which they came."""
        return tuple(chip.image for chip in self.query(Chip))

    async def add(self, image: Attachment) -> None:
        """One more; the same image twice is once."""
        if image.digest not in [known.digest for known in self.images]:
            self.display = True
            await self.mount(Chip(image))

    async def remove_all(self) -> None:
        """None any more."""
        self.display = False
        await self.query(Chip).remove()

    async def remove_last(self) -> None:
        """Takes the last one away."""
        chips = list(self.query(Chip))
        if chips:
            await chips[-1].remove()
            self.post_message(self.TakenAway())
        self.display = len(chips) > 1

    @on(Button.Pressed, ".take-away")
    async def take_away(self, pressed: Button.Pressed) -> None:
        """The mouse's way, and that of Tab and Enter, to take one away."""
        pressed.stop()
        chip = pressed.button.parent
        assert isinstance(chip, Chip)
        await chip.remove()
        self.display = bool(self.images)
        self.post_message(self.TakenAway())


class ImageLine(Vertical):
    """An image of a question: its name, and a preview as soon as that is read."""

    def __init__(self, image: KeptImage) -> None:
        super().__init__(classes="image")
        self._image = image

    def compose(self) -> ComposeResult:
        yield Preview(self._image.width, self._image.height, _LINE)
        yield Static(self._label, markup=False, classes="image-name")

    @property
    def _label(self) -> str:
        return label_of(Path(self._image.path).name, self._image.width, self._image.height)

    def on_mount(self) -> None:
        """Reads the preview beside everything else."""
        gallery = self.screen
        if isinstance(gallery, Gallery):
            self.run_worker(self._show(gallery), exit_on_error=False)

    async def _show(self, gallery: Gallery) -> None:
        image = await asyncio.to_thread(_read, gallery, self._image)
        preview = self.query_one(Preview)
        if image is not None:
            preview.draw(image)
            return
        preview.display = False
        self.query_one(".image-name", Static).update(f"{self._label}, which is gone")


def _read(gallery: Gallery, image: KeptImage) -> Image | None:
    """A small picture of an image; None where it cannot be read."""
    from dgchat.images.attaching import attach
    from dgengine.errors import ImageError

    path = gallery.image_file(image)
    try:
        return attach(path).preview if path is not None else None
    except ImageError:
        return None
