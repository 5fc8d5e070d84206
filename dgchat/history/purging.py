"""Removes for good what was deleted long ago: chats, and the copies of their images."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from dgchat.history.store import Store
from dgchat.images.copies import Copies
from dgchat.paths import images_folder


def copies_beside(store: Store) -> Copies:
    """The copies of images that belong to a store; one in memory has none."""
    return Copies(images_folder() if store.on_disk else None)


def purge(store: Store, copies: Copies) -> None:
    """Removes chats that were deleted longer ago than `KEPT_DELETED_SECONDS`, and copies that no chat needs any more.

    Where that cannot be done now (another instance writes, no right to), a later start does it.
    """
    with suppress(sqlite3.Error):
        store.purge(forget=copies.remove)
