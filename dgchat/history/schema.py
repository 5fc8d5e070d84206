"""The database's tables, and the steps from each older version of them to the next.

`PRAGMA user_version` counts the steps that a file has seen. A step is never changed once it has been released: what
has to be different becomes a step of its own.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

APPLICATION_ID: Final = 0x64676368  # "dgch": tells our files from other programs' databases

_CHATS = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    model TEXT NOT NULL,
    system TEXT,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    deleted REAL,
    leaf INTEGER REFERENCES messages (id) ON DELETE SET NULL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent INTEGER REFERENCES messages (id) ON DELETE SET NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL,
    thought TEXT NOT NULL DEFAULT '',
    ids BLOB,
    created REAL NOT NULL,
    reason TEXT,
    stats TEXT
);
CREATE INDEX conversations_by_time ON conversations (updated);
CREATE INDEX messages_by_conversation ON messages (conversation);
CREATE INDEX messages_by_parent ON messages (parent);
"""

_SEARCH = """
CREATE VIRTUAL TABLE words USING fts5 (
    text, content='messages', content_rowid='id', tokenize="unicode61 remove_diacritics 2", prefix='2 3'
);
INSERT INTO words (words) VALUES ('rebuild');
CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TRIGGER message_changed AFTER UPDATE OF text ON messages BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
"""

_TRACES = """
CREATE TABLE traces (
    message INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    data BLOB NOT NULL
);
"""

_IMAGES = """
CREATE TABLE images (
    message INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    PRIMARY KEY (message, place)
) WITHOUT ROWID;
"""

STEPS: Final = (_CHATS, _SEARCH, _TRACES, _IMAGES)


class NewerDatabaseError(Exception):
    """The file was written by a later version of dgchat."""


def prepare(connection: sqlite3.Connection) -> None:
    """Brings a database up to date, all steps in one transaction.

    Raises:
        NewerDatabaseError: it has seen steps that this version does not know.
        sqlite3.DatabaseError: it is damaged, or another program's.
    """
    if _version(connection) == len(STEPS):
        _check_owner(connection)
        _check_schema(connection)
        return
    connection.execute("BEGIN IMMEDIATE")  # of two that start at once, one waits here and then finds nothing to do
    try:
        version = _version(connection)
        if version > len(STEPS):
            raise NewerDatabaseError
        if version or _tables(connection):
            _check_owner(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for step in STEPS[version:]:
            _run(connection, step)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _check_owner(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is a database of another program")


def _check_schema(connection: sqlite3.Connection) -> None:
    """What SQLite finds no fault with may still have lost a letter of a column's name."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        for step in STEPS:
            _run(fresh, step)
        if not _objects(fresh) <= _objects(connection):
            raise sqlite3.DatabaseError("its tables are damaged")


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master"))


def _run(connection: sqlite3.Connection, script: str) -> None:
    """Like `executescript`, which would commit the transaction that is open."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if statement.strip() and sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    assert not statement.strip(), statement
