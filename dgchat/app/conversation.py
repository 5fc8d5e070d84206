"""The chat that is open, and its place in the store. Knows no screen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dgchat.app.files import split_files
from dgchat.history.records import Message, NewAnswer
from dgchat.history.store import Store
from dgchat.sanitize import clean


class Conversation:
    """The open chat: the path through its tree of messages that is on the screen.

    All that is said is kept at once. Where the store fails (no room, a file that went away), the chat goes on in
    memory, and `troubled` is told once.

    Attributes:
        id: of the chat in the store; None before its first question.
        model: the one that answers now.
        path: the messages on the screen, from the first to the last.
        system: the system prompt; None for none.
    """

    def __init__(self, store: Store, model: str, system: str | None, troubled: Callable[[str], None]) -> None:
        self._store = store
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

    def messages(self) -> list[dict[str, Any]]:
        """The chat as the engine takes it; past answers of its own carry the ids that were generated."""
        said: list[dict[str, Any]] = []
        if self.system and self.system.strip():
            said.append({"role": "system", "content": self.system})
        for message in self.path:
            entry: dict[str, Any] = {"role": message.role, "content": message.text}
            if message.ids and self.is_own(message):
                entry["ids"] = list(message.ids)
            said.append(entry)
        return said

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

    def ask(self, text: str) -> Message:
        """Adds a question to the end of the path. One that had no answer yet gives way to it, as another branch."""
        if self.path and self.path[-1].role == "user":
            return self.edit(self.path[-1], text)
        return self._question(text, self.path[-1].id if self.path else None)

    def edit(self, question: Message, text: str) -> Message:
        """Asks otherwise in the place of `question`: a branch of its own, which the path follows."""
        place = self.path.index(question)
        self.path = self.path[:place]
        return self._question(text, question.parent)

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

    def _question(self, text: str, parent: int | None) -> Message:
        def keep() -> Message:
            before = self.path[-1].id if self.path else parent if self.id is not None else None
            return self._store.add_question(
                self.id, before, clean(text), model=self.model, system=self.system, title=split_files(text)[1]
            )

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
        except LookupError:  # another instance has deleted the chat: what is on the screen becomes a new one
            self._move(self._store)
        except (sqlite3.Error, OSError) as error:
            self._troubled(f"The chat cannot be kept on disk ({error}); it lasts as long as the program.")
            self._move(Store(None))
        return keep()

    def _move(self, store: Store) -> None:
        """Writes the path into `store` as a new chat."""
        old, self.path, self.id, self._store = self.path, [], None, store
        for message in old:
            if message.role == "user":
                before = self.path[-1].id if self.path else None
                title = split_files(message.text)[1]
                self.path.append(
                    store.add_question(
                        self.id, before, message.text, model=self.model, system=self.system, title=title
                    )
                )
                self.id = self.path[-1].conversation
            else:
                answer = NewAnswer(message.text, message.ids, message.thought, message.reason, message.stats)
                self.path.append(store.add_answer(self.path[-1].id, answer))
