"""Whatever lies where the database should be, the program starts, and the file is not lost."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from dgchat.history import schema
from dgchat.history.opening import open_history
from dgchat.history.store import Store
from tests.amounts import examples


def write(path: Path, chats: int = 1) -> None:
    with Store(path) as store:
        for number in range(chats):
            store.add_question(None, None, f"question {number} " + "word " * 200, model="pocket")


def test_a_sound_file_is_opened_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    for _ in range(2):
        opened = open_history(path)
        assert opened.remark is None
        opened.store.add_question(None, None, "kept", model="pocket")
        opened.store.close()
    with Store(path) as store:
        assert len(store.conversations()) == 2


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but some text that somebody left here" * 20, b"SQLite format 3\0" + bytes(2000)],
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(content)
    opened = open_history(path)
    assert opened.remark is not None and "set aside as history.damaged-" in opened.remark
    (aside,) = tmp_path.glob("history.damaged-*.db")
    assert aside.read_bytes() == content
    opened.store.add_question(None, None, "new", model="pocket")
    opened.store.close()
    assert open_history(path).remark is None


def test_a_file_damaged_in_its_middle_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    write(path, 100)
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 12] = os.urandom(4096 * 9)
    path.write_bytes(data)
    opened = open_history(path)
    assert opened.remark is not None and "set aside" in opened.remark
    (aside,) = tmp_path.glob("history.damaged-*.db")
    assert aside.read_bytes() == data
    assert opened.store.conversations() == []


def test_another_programs_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookmarks (url)")
    database.close()
    before = path.read_bytes()
    opened = open_history(path)
    assert opened.remark is not None and "another program" in opened.remark
    (aside,) = tmp_path.glob("history.damaged-*.db")
    assert aside.read_bytes() == before


def test_a_newer_file_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    write(path)
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")
    database.close()
    before = path.read_bytes()
    for expected in (1, 2):
        opened = open_history(path)
        assert opened.remark is not None and "newer dgchat" in opened.remark
        opened.store.add_question(None, None, "kept by the older version", model="pocket")
        assert len(opened.store.conversations()) == expected
        opened.store.close()
    assert path.read_bytes() == before


def test_where_no_file_can_be_the_chats_last_as_long_as_the_program(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("no folder")
    opened = open_history(blocker / "history.db")
    assert opened.remark is not None and "not kept" in opened.remark
    opened.store.add_question(None, None, "for now", model="pocket")
    assert len(opened.store.conversations()) == 1
    assert blocker.read_text() == "no folder"


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "history.db").mkdir()
    opened = open_history(tmp_path / "history.db")
    assert opened.remark is not None and "not kept" in opened.remark
    assert (tmp_path / "history.db").is_dir()


def test_a_column_whose_name_has_lost_a_letter(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    write(path, 3)
    path.write_bytes(path.read_bytes().replace(b"message INTEGER PRIMARY KEY", b"messagA INTEGER PRIMARY KEY"))
    opened = open_history(path)
    with opened.store as store:
        assert opened.remark is not None and "its tables are damaged" in opened.remark
        assert store.conversations() == []
    assert len(list(tmp_path.glob("history.damaged-*.db"))) == 1


@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64)), min_size=1, max_size=8)
)
def test_any_damage_is_survived(tmp_path: Path, damage: list[tuple[float, bytes]]) -> None:
    """Either the file is still sound, or it is set aside; the program can always keep a chat."""
    path = tmp_path / "fuzz.db"
    for old in tmp_path.glob("fuzz*"):
        old.unlink()
    write(path, 5)
    data = bytearray(path.read_bytes())
    for where, content in damage:
        start = int(where * len(data))
        data[start : start + len(content)] = content[: len(data) - start]
    path.write_bytes(data)
    opened = open_history(path)
    with opened.store as store:
        try:
            assert len([store.tree(chat.id) for chat in store.conversations()]) <= 5
        except sqlite3.DatabaseError as error:
            assert "damaged" in str(error) or "malformed" in str(error)
    kept = [file.read_bytes() for file in tmp_path.glob("fuzz.*db")]
    assert opened.remark is None or bytes(data) in kept
