"""The part of the chat's screen that is about images."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import on

from dgchat.app.attachments import Attachments
from dgchat.app.chats_screen import ChatsScreen
from dgchat.app.composer import Composer
from dgchat.app.messages import Remark
from dgchat.app.transcript import Transcript
from dgchat.images.attaching import MOST, Attachment, attach
from dgchat.images.pasting import named_file
from dgchat.offered import why_not
from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgchat.history.records import KeptImage


class ImagesScreen(ChatsScreen):
    """A screen with a chat that may hold images."""

    @property
    def transcript(self) -> Transcript:
        """The messages."""
        raise NotImplementedError

    def image_file(self, image: KeptImage) -> Path | None:
        """See `Conversation.image_file`."""
        return self._conversation.image_file(image)

    async def why_not_see(self) -> str | None:
        """Why the model cannot see; None where it can, or is not loaded yet."""
        return await asyncio.to_thread(why_not, self._engine, "images")

    @on(Composer.Dropped)
    async def dropped(self, dropped: Composer.Dropped) -> None:
        """Image files go with the next message."""
        await self.attach(dropped.paths)

    @on(Attachments.TakenAway)
    async def taken_away(self) -> None:
        """What was said of that image holds no more."""
        self.say("")
        await self.tell_attached()

    async def action_image(self, words: str = "") -> None:
        """Has the image file of this name go with the next message."""
        if not words.strip():
            self.say("/image takes the name of a file, such as /image fox.png")
        elif not await self.attach([named_file(words, Path.cwd())]):
            self.composer.give_back(f"/image {words}")

    async def attach(self, paths: Sequence[Path]) -> bool:
        """Has image files go with the next message; says so, or why one cannot. False where one cannot."""
        from dgengine.errors import ImageError

        for path in paths:
            if len(self.composer.images) >= MOST:
                self.say(f"a message holds {MOST} images at most")
                return False
            try:
                image = await asyncio.to_thread(attach, path)
            except ImageError as error:
                self.say(str(error))
                return False
            await self.composer.attach(image)
        if paths:
            await self.tell_attached()
        return True

    async def tell_attached(self) -> None:
        """Says what goes with the next message, or that the model does not see it."""
        reason = await self.why_not_see()
        images = self.composer.images
        if not images:  # none any more: they can be taken away meanwhile
            return
        name = clean_line(images[-1].path.name)
        said = f"{name} goes with the next message; Backspace at its beginning takes it away"
        self.say(f"{reason} /models shows others" if reason is not None else said)

    async def attach_again(self, images: Sequence[KeptImage]) -> None:
        """Has the images of an earlier message, and no others, go with the next one; says which of them are gone."""
        await self.composer.take_images_away()
        gone = []
        for kept in images:
            image = await asyncio.to_thread(self._again, kept)
            if image is None:
                gone.append(clean_line(Path(kept.path).name))
            else:
                await self.composer.attach(image)
        if gone:
            self.say(f"{', '.join(gone)} cannot be attached again: file and copy are gone")

    def _again(self, kept: KeptImage) -> Attachment | None:
        """An image as it was attached, though its file may be a copy now."""
        from dgengine.errors import ImageError

        path = self.image_file(kept)
        try:
            found = attach(path) if path is not None else None
        except ImageError:
            return None
        return found and replace(found, path=Path(kept.path), digest=kept.digest, width=kept.width, height=kept.height)

    def messages_to_ask(self) -> list[dict[str, Any]]:
        """The chat as the model takes it; says so where it sees less than the chat holds."""
        if not self._conversation.has_images:
            return self._conversation.messages()
        reason = why_not(self._engine, "images")
        lost = [clean_line(Path(image.path).name) for image in self._conversation.lost_images()]
        if reason is not None:
            self.call_later(self.transcript.show, Remark(f"{reason} It answers without those of this chat."))
        elif lost:
            names = ", ".join(lost)
            self.call_later(self.transcript.show, Remark(f"The model answers without {names}: file and copy are gone."))
        return self._conversation.messages(sees=reason is None)
