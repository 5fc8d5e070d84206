"""The database of chats.

Every change is a short transaction of its own in SQLite's write-ahead mode: what a method has written when it returns
survives the end of the program, however sudden, and other instances may read and write meanwhile.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from dgchat.history.records import Conversation, Hit, KeptImage, Message, NewAnswer, Role
from dgchat.history.schema import prepare

BUSY_SECONDS: Final = 10.0  # how long a write waits for another instance's
KEPT_DELETED_SECONDS: Final = 24 * 3600.0  # how long what was deleted can be brought back
FOUND_BEGIN, FOUND_END = "\x02", "\x03"
_TITLE_LENGTH = 60
_EXCERPT_WORDS = 12

_CONVERSATION = """
SELECT id, title, model, system, created, updated, leaf,
       (SELECT count(*) FROM messages WHERE messages.conversation = conversations.id)
FROM conversations
"""
_MESSAGE = """
SELECT id, conversation, parent, role, text, thought, created, ids, reason, stats,
       EXISTS (SELECT 1 FROM traces WHERE traces.message = messages.id)
FROM messages
"""
_PATH = """
WITH RECURSIVE path (id, parent, depth) AS (
    SELECT id, parent, 0 FROM messages WHERE id = ?
    UNION ALL
    SELECT messages.id, messages.parent, path.depth + 1 FROM messages JOIN path ON messages.id = path.parent
)
SELECT id FROM path ORDER BY depth DESC
"""
_NEWEST_LEAF = """
WITH RECURSIVE below (id, depth) AS (
    SELECT ?, 0
    UNION ALL
    SELECT (SELECT max(id) FROM messages WHERE parent = below.id), depth + 1 FROM below
    WHERE EXISTS (SELECT 1 FROM messages WHERE parent = below.id)
)
SELECT id FROM below ORDER BY depth DESC LIMIT 1
"""
_DIGESTS = """
SELECT DISTINCT images.digest FROM images
JOIN messages ON messages.id = images.message JOIN conversations ON conversations.id = messages.conversation
WHERE conversations.deleted <= ?
"""


class Store:
    """An open database. Used from one thread.

    Attributes:
        on_disk: whether it outlasts the program.
    """

    def __init__(self, path: Path | None) -> None:
        """Opens the file, which need not exist, and brings it up to date; None keeps everything in memory only.

        Raises:
            NewerDatabaseError: the file is a later version's.
            sqlite3.Error: it cannot be opened, or is damaged; OSError: nor can its folder be made.
        """
        self.on_disk = path is not None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = ":memory:" if path is None else str(path)
        self._db = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None)
        self._db.text_factory = lenient_text
        try:
            if path is not None:
                path.chmod(0o600)  # what people ask is theirs alone
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA secure_delete = ON")
            prepare(self._db)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Ends the use of the file."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ---- writing

    def add_question(
        self,
        conversation: int | None,
        parent: int | None,
        text: str,
        *,
        model: str = "",
        system: str | None = None,
        title: str | None = None,
        images: Sequence[KeptImage] = (),
    ) -> Message:
        """Keeps a question; with `conversation` None it begins a chat with this model, system prompt and title.

        The title is, by default, the question's first words. `images` are those of the question.

        The chat as it stands then ends in the question.

        Raises:
            LookupError: no such conversation, or a deleted one, or `parent` is no message of it.
        """
        with self._transaction():
            if conversation is not None and not self._is_listed(conversation):
                raise LookupError(f"conversation {conversation} is deleted")
            if conversation is None:
                now = time.time()
                row = self._db.execute(
                    "INSERT INTO conversations (title, model, system, created, updated) VALUES (?, ?, ?, ?, ?)",
                    (title_of(title or text), model, system, now, now),
                )
                conversation = int(row.lastrowid or 0)
            question = self._add(conversation, parent, "user", NewAnswer(text))
            self._db.executemany(
                "INSERT INTO images (message, place, path, digest, width, height) VALUES (?, ?, ?, ?, ?, ?)",
                [(question.id, place, *astuple(image)) for place, image in enumerate(images)],
            )
            return self.message(question.id)

    def _is_listed(self, conversation: int) -> bool:
        there = self._db.execute("SELECT 1 FROM conversations WHERE id = ? AND deleted IS NULL", (conversation,))
        return there.fetchone() is not None

    def add_answer(self, parent: int, answer: NewAnswer) -> Message:
        """Keeps an answer to the question `parent`, and its trace; the chat as it stands then ends in it.

        Raises:
            LookupError: no such question (another instance may have deleted it).
        """
        with self._transaction():
            row = self._db.execute("SELECT conversation FROM messages WHERE id = ?", (parent,)).fetchone()
            if row is None:
                raise LookupError(f"no message {parent}")
            return self._add(row[0], parent, "assistant", answer)

    def _add(self, conversation: int, parent: int | None, role: Role, said: NewAnswer) -> Message:
        self.conversation(conversation)
        known = self._db.execute("SELECT 1 FROM messages WHERE (conversation, id) = (?, ?)", (conversation, parent))
        if parent is not None and known.fetchone() is None:
            raise LookupError(f"no message {parent} in conversation {conversation}")
        now = time.time()
        ids, stats = array("i", said.ids).tobytes(), json.dumps(dict(said.stats))
        row = self._db.execute(
            "INSERT INTO messages (conversation, parent, role, text, thought, ids, created, reason, stats)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (conversation, parent, role, said.text, said.thought, ids or None, now, said.reason, stats),
        )
        number = int(row.lastrowid or 0)
        if said.trace is not None:
            self._db.execute("INSERT INTO traces (message, data) VALUES (?, ?)", (number, said.trace))
        self._db.execute("UPDATE conversations SET leaf = ?, updated = ? WHERE id = ?", (number, now, conversation))
        return self.message(number)

    def choose(self, message: int) -> list[Message]:
        """Goes to the branch that `message` is on, and to the newest messages below it; returns the chat as it stands.

        Raises:
            LookupError: no such message.
        """
        with self._transaction():
            conversation = self.message(message).conversation
            (leaf,) = self._db.execute(_NEWEST_LEAF, (message,)).fetchone()
            self._db.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (leaf, conversation))
        return self.path(leaf)

    def rename(self, conversation: int, title: str) -> None:
        """Gives a chat another title.

        Raises:
            LookupError: no such conversation.
        """
        self._change("UPDATE conversations SET title = ? WHERE id = ?", title, conversation)

    def set_system(self, conversation: int, system: str | None) -> None:
        """Gives a chat another system prompt.

        Raises:
            LookupError: no such conversation.
        """
        self._change("UPDATE conversations SET system = ? WHERE id = ?", system, conversation)

    def delete(self, conversation: int) -> None:
        """Takes a chat out of every list. `restore` brings it back, until `purge` removes it for good.

        Raises:
            LookupError: no such conversation.
        """
        self._change("UPDATE conversations SET deleted = ? WHERE id = ?", time.time(), conversation)

    def restore(self, conversation: int) -> None:
        """Undoes `delete`.

        Raises:
            LookupError: no such conversation; it may have been purged.
        """
        self._change("UPDATE conversations SET deleted = ? WHERE id = ?", None, conversation)

    def _change(self, statement: str, value: object, conversation: int) -> None:
        with self._transaction():
            if not self._db.execute(statement, (value, conversation)).rowcount:
                raise LookupError(f"no conversation {conversation}")

    def purge(
        self, older_than: float = KEPT_DELETED_SECONDS, forget: Callable[[str], object] = lambda digest: None
    ) -> int:
        """Removes for good what was deleted more than so many seconds ago; returns how many chats that were.

        Args:
            older_than: seconds.
            forget: called with the digest of each image that no chat holds any more. No other instance writes
                meanwhile: none can begin to hold it between the look and the call.
        """
        before = (time.time() - older_than,)
        if self._db.execute("SELECT 1 FROM conversations WHERE deleted <= ? LIMIT 1", before).fetchone() is None:
            return 0  # as nearly always, and nobody has to wait for that
        with self._transaction():
            digests = self._db.execute(_DIGESTS, before).fetchall()
            gone = self._db.execute("DELETE FROM conversations WHERE deleted <= ?", before)
            for (digest,) in digests:
                if self._db.execute("SELECT 1 FROM images WHERE digest = ? LIMIT 1", (digest,)).fetchone() is None:
                    forget(digest)
            return gone.rowcount

    # ---- reading

    def conversation(self, conversation: int) -> Conversation:
        """One chat, deleted or not.

        Raises:
            LookupError: no such conversation.
        """
        row = self._db.execute(_CONVERSATION + "WHERE id = ?", (conversation,)).fetchone()
        if row is None:
            raise LookupError(f"no conversation {conversation}")
        return Conversation(*row)

    def conversations(self, limit: int = -1) -> list[Conversation]:
        """The chats that are not deleted, the one used last first; of more than `limit`, the first ones."""
        rows = self._db.execute(
            _CONVERSATION + "WHERE deleted IS NULL ORDER BY updated DESC, id DESC LIMIT ?", (limit,)
        )
        return [Conversation(*row) for row in rows]

    def message(self, message: int) -> Message:
        """One message.

        Raises:
            LookupError: no such message.
        """
        row = self._db.execute(_MESSAGE + "WHERE id = ?", (message,)).fetchone()
        if row is None:
            raise LookupError(f"no message {message}")
        return self._message(row)

    def path(self, leaf: int | None) -> list[Message]:
        """The messages from the first one down to `leaf`; none for None."""
        if leaf is None:
            return []
        return [self.message(number) for (number,) in self._db.execute(_PATH, (leaf,)).fetchall()]

    def tree(self, conversation: int) -> list[Message]:
        """All messages of a chat, oldest first."""
        rows = self._db.execute(_MESSAGE + "WHERE conversation = ? ORDER BY id", (conversation,)).fetchall()
        return [self._message(row) for row in rows]

    def trace(self, message: int) -> bytes | None:
        """The trace kept beside an answer; None where there is none."""
        row = self._db.execute("SELECT data FROM traces WHERE message = ?", (message,)).fetchone()
        return None if row is None else bytes(row[0])

    def search(self, words: str, limit: int = 50) -> list[Hit]:
        """Messages with all of the words, in any order and upper or lower case; the last may be the beginning of one.

        Best first; titles are searched too. Words are plain text: no sign in them has a meaning of its own.
        """
        query = _query(words)
        if query is None:
            return []
        found = self._db.execute(
            "SELECT m.id, m.conversation, m.role, snippet(words, 0, ?, ?, ' … ', ?) FROM words"
            " JOIN messages AS m ON m.id = words.rowid JOIN conversations AS c ON c.id = m.conversation"
            " WHERE words MATCH ? AND c.deleted IS NULL ORDER BY rank LIMIT ?",
            (FOUND_BEGIN, FOUND_END, _EXCERPT_WORDS, query, limit),
        ).fetchall()
        hits = [Hit(self.conversation(chat), message, role, excerpt) for message, chat, role, excerpt in found]
        return (self._titled(words) + hits)[:limit]

    def _titled(self, words: str) -> list[Hit]:
        """A hit for each chat whose title has the words, unless that is but the beginning of its first question."""
        wanted = [word.casefold() for word in words.split()]
        hits = []
        for chat in self.conversations():
            if all(word in chat.title.casefold() for word in wanted):
                first = self.tree(chat.id)[:1]
                if first and title_of(first[0].text) != chat.title:
                    hits.append(Hit(chat, chat.leaf or first[0].id, "user", chat.title))
        return hits

    def _message(self, row: Sequence[Any]) -> Message:
        number, conversation, parent, role, text, thought, created, ids, reason, stats, traced = row
        siblings = self._db.execute(
            "SELECT id FROM messages WHERE conversation = ? AND parent IS ? AND role = ? ORDER BY id",
            (conversation, parent, role),
        )
        images = self._db.execute(
            "SELECT path, digest, width, height FROM images WHERE message = ? ORDER BY place", (number,)
        )
        try:
            tokens, counts = tuple(array("i", ids or b"")), json.loads(stats or "{}")
        except ValueError as error:
            raise sqlite3.DatabaseError(f"message {number} is damaged: {error}") from error
        return Message(
            number, conversation, parent, role, text, created, thought=thought, ids=tokens, reason=reason, stats=counts,
            siblings=tuple(sibling for (sibling,) in siblings), traced=bool(traced),
            images=tuple(KeptImage(*image) for image in images),
        )  # fmt: skip


def lenient_text(data: bytes) -> str:
    """SQLite stores any bytes as text; of a damaged file not all are UTF-8."""
    return data.decode("utf-8", "replace")


def title_of(text: str) -> str:
    """A title for the chat that begins with this question: its first words."""
    line = " ".join(text.split())
    if len(line) <= _TITLE_LENGTH:
        return line
    return line[:_TITLE_LENGTH].rsplit(" ", 1)[0] + " …"


def _query(words: str) -> str | None:
    """`words` in the language of FTS5, each one quoted; None when there is no word."""
    terms = re.findall(r"\w+", words)
    if not terms:
        return None
    return " ".join(f'"{term}"' for term in terms) + "*"
