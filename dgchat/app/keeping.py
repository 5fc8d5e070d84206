"""What the database of chats may refuse: it is told in a sentence, and the app goes on. Knows no screen."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def told(say: Callable[[str], object]) -> Iterator[None]:
    """Says why the store could not do what stands within, where it could not; the rest of that is left out."""
    try:
        yield
    except LookupError:
        say("that chat is gone")
    except (sqlite3.Error, OSError) as error:
        say(f"the chat history cannot be used now: {error}")
