"""The chat that is open, and its place in the store. Knows no screen."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dgchat.app.files import split_files
from dgchat.history.records import KeptImage, Message, NewAnswer
from dgchat.history.store import Store
from dgchat.images.attaching import Attachment
from dgchat.images.content import content_of
from dgchat.images.copies import Copies
from dgchat.sanitize import clean


class Conversation:
    """The open chat: the path through its tree of messages that is on the screen.

    All that is said is kept at once. Where the store fails (no room, a file that went away), the chat goes on in
    memory, and `troubled` is told once; so it is where another instance has deleted the chat.

    Attributes:
        id: of the chat in the store; None before its first question.
        model: the one that answers now.
        path: the messages on the screen, from the first to the last.
        system: the system prompt; None for none.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        system: str | None,
        troubled: Callable[[str], None],
        copies: Copies = Copies(None),  # noqa: B008 - it keeps none, and so has no state
    ) -> None:
        self._store = store
        self._copies = copies
        self._troubled = troubled
        self.model = model
        self._began_with = model
        self._default_system = system
        self.system = system
        self.id: int | None = None
        self.path: list[Message] = []

    @property
    def store(self) -> Store:
        """The store in use."""
        return self._store

    @property
    def title(self) -> str:
        """The chat's title; "" before its first question, and where the store no longer knows it."""
        with suppress(LookupError, sqlite3.Error, OSError):
            return self._store.conversation(self.id).title if self.id is not None else ""
        return ""

    def messages(self, sees: bool = True) -> list[dict[str, Any]]:
        """The chat as the engine takes it; past answers of its own carry the ids that were generated.

        Args:
            sees: whether it takes images. Those that are gone are left out in any case.
        """
        said: list[dict[str, Any]] = []
        if self.system and self.system.strip():
            said.append({"role": "system", "content": self.system})
        for message in self.path:
            found = (self.image_file(image) for image in message.images) if sees else ()
            content = content_of(message.text, [path for path in found if path is not None])
            entry: dict[str, Any] = {"role": message.role, "content": content}
            if message.ids and self.is_own(message):
                entry["ids"] = list(message.ids)
            said.append(entry)
        return said

    def image_file(self, image: KeptImage) -> Path | None:
        """A file that holds an image of the chat: its copy, or what it was read from if that is still the same."""
        copy = self._copies.find(image.digest)
        if copy is not None:
            return copy
        try:
            data = Path(image.path).read_bytes()
        except (OSError, ValueError):
            return None
        return Path(image.path) if hashlib.sha256(data).hexdigest() == image.digest else None

    def lost_images(self) -> list[KeptImage]:
        """Images of the chat of which nothing is left."""
        return [image for message in self.path for image in message.images if self.image_file(image) is None]

    @property
    def has_images(self) -> bool:
        """Whether a message of the chat holds an image."""
        return any(message.images for message in self.path)

    def is_own(self, message: Message) -> bool:
        """Whether the model that answers now wrote it: then its tokens mean the same."""
        return bool(message.stats.get("model", self._began_with) == self.model)

    def new(self) -> None:
        """Leaves the chat, and begins another with its first question."""
        self.id, self.path, self.system = None, [], self._default_system
        self._began_with = self.model

    def open(self, conversation: int) -> None:
        """Goes on with a chat from the store.

        Raises:
            LookupError: there is no such chat.
        """
        chat = self._store.conversation(conversation)
        self.path = self._store.path(chat.leaf)
        self.id, self.system, self._began_with = chat.id, chat.system, chat.model

    def ask(self, text: str, images: Sequence[Attachment] = ()) -> Message:
        """Adds a question to the end of the path. One that had no answer yet gives way to it, as another branch."""
        if self.path and self.path[-1].role == "user":
            return self.edit(self.path[-1], text, images)
        return self._question(text, self.path[-1].id if self.path else None, images)

    def keep_copies(self, images: Sequence[Attachment]) -> None:
        """Makes copies of the images of a question that has been added; may be called on any thread.

        Not before it is added: what no chat holds, another instance may take away.
        """
        for image in images:
            self._copies.keep(image)

    def edit(self, question: Message, text: str, images: Sequence[Attachment] = ()) -> Message:
        """Asks otherwise in the place of `question`: a branch of its own, which the path follows."""
        place = self.path.index(question)
        self.path = self.path[:place]
        return self._question(text, question.parent, images)

    def again(self) -> Message | None:
        """Takes the last answer off the path, for another to be given; returns the question, None if there is none."""
        if self.path and self.path[-1].role == "assistant":
            self.path = self.path[:-1]
        return self.path[-1] if self.path else None

    def reopen(self, answer: Message) -> bool:
        """Takes an answer and all that follows off the path, for another to be given; False where it is not on it."""
        places = [place for place, message in enumerate(self.path) if message.id == answer.id]
        if places:
            self.path = self.path[: places[0]]
        return bool(places)

    def answer(self, answer: NewAnswer) -> Message:
        """Adds an answer to the end of the path, which must be a question."""
        assert self.path[-1].role == "user"
        return self._append(lambda: self._store.add_answer(self.path[-1].id, answer))

    def switch(self, message: Message, by: int) -> bool:
        """Goes to the branch that is `by` places after that of `message`; False at either end."""
        siblings = self._store.message(message.id).siblings
        place = siblings.index(message.id) + by
        if not 0 <= place < len(siblings):
            return False
        self.path = self._store.choose(siblings[place])
        return True

    def set_system(self, system: str | None) -> None:
        """Another system prompt, from the next question on; None for none."""
        self.system = system
        if self.id is not None:
            self._store.set_system(self.id, system)

    def refresh(self) -> None:
        """Reads the path's messages anew: branches may have been added beside them. What is gone stays as it was."""
        with suppress(LookupError, sqlite3.Error, OSError):
            self.path = [self._store.message(message.id) for message in self.path]

    def _question(self, text: str, parent: int | None, images: Sequence[Attachment]) -> Message:
        kept = [_kept(image) for image in images]

        def keep() -> Message:
            before = self.path[-1].id if self.path else parent if self.id is not None else None
            return self._store.add_question(
                self.id, before, clean(text), model=self.model, system=self.system, title=split_files(text)[1],
                images=kept,
            )  # fmt: skip

        message = self._append(keep)
        self.id = message.conversation
        return message

    def _append(self, keep: Callable[[], Message]) -> Message:
        """Adds what `keep` returns to the path; where the store has failed, the chat is moved into one in memory."""
        message = self._kept(keep)
        self.path.append(message)
        return message

    def _kept(self, keep: Callable[[], Message]) -> Message:
        try:
            return keep()
        except LookupError:  # another instance has deleted the chat
            self._troubled("This chat was deleted elsewhere; what is on the screen goes on as a new one.")
            self._move(self._store)
        except (sqlite3.Error, OSError) as error:
            self._troubled(f"The chat cannot be kept on disk ({error}); it lasts as long as the program.")
            self._move(Store(None))
        return keep()

    def _move(self, store: Store) -> None:
        """Writes the path into `store` as a new chat."""
        old, self.path, self.id, source, self._store = self.path, [], None, self._store, store
        for message in old:
            if message.role == "user":
                before = self.path[-1].id if self.path else None
                title = split_files(message.text)[1]
                self.path.append(
                    store.add_question(
                        self.id,
                        before,
                        message.text,
                        model=self.model,
                        system=self.system,
                        title=title,
                        images=message.images,
                    )
                )
                self.id = self.path[-1].conversation
            else:
                trace = None
                with suppress(sqlite3.Error, OSError):  # the steps may be lost, the words must not be
                    trace = source.trace(message.id)
                answer = NewAnswer(message.text, message.ids, message.thought, message.reason, message.stats, trace)
                self.path.append(store.add_answer(self.path[-1].id, answer))


def _kept(image: Attachment) -> KeptImage:
    """What the store keeps of an image; SQLite takes no names that are not UTF-8."""
    path = str(image.path).encode("utf-8", "replace").decode("utf-8")
    return KeptImage(path, image.digest, image.width, image.height)
