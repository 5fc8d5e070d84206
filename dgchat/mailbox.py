"""What the engine's thread tells a screen, and the mailbox that it puts that into."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgengine import Event


@dataclass(frozen=True)
class Loading:
    """What the engine is busy with before it can answer."""

    text: str


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    engine: Backend


@dataclass(frozen=True)
class Failed:
    """Loading (`turn` 0) or an answer ended in an error.

    Attributes:
        text: one sentence.
        details: the traceback, for a report.
    """

    turn: int
    text: str
    details: str = ""


@dataclass(frozen=True)
class Answered:
    """An event of the answer that `ask` numbered `turn`."""

    turn: int
    event: Event


Post: TypeAlias = Loading | Ready | Failed | Answered


class Mailbox:
    """Posts in order, from one thread to another. Of steps in a row only the newest is kept; nothing else is lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: deque[tuple[Post, bool, object]] = deque()

    def put(self, post: Post, replaceable: bool = False, kind: object = None) -> bool:
        """Adds a post; tells whether there was none.

        Args:
            post: what to add.
            replaceable: whether a later one of its `kind` may take its place, and it that of an earlier one: as long
                as nothing that is not replaceable has come between.
            kind: what it is about.
        """
        with self._lock:
            was_empty = not self._posts
            if replaceable:
                self._drop_older(kind)
            self._posts.append((post, replaceable, kind))
            return was_empty

    def _drop_older(self, kind: object) -> None:
        for place in range(len(self._posts) - 1, -1, -1):
            _, replaceable, about = self._posts[place]
            if not replaceable:
                return
            if about == kind:
                del self._posts[place]
                return

    def drain(self) -> list[Post]:
        """Takes all posts out, oldest first."""
        with self._lock:
            posts = [post for post, _, _ in self._posts]
            self._posts.clear()
            return posts


@dataclass(frozen=True)
class Outlet:
    """A mailbox, and what is called, on the host's thread, when it has something after it was empty."""

    notify: Callable[[], object]
    mailbox: Mailbox = field(default_factory=Mailbox)

    def put(self, post: Post, replaceable: bool = False, kind: object = None) -> None:
        """As the mailbox takes it."""
        if self.mailbox.put(post, replaceable, kind):
            self.notify()
