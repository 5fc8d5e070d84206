"""The database of chats: what goes in comes out, and nothing that was written is lost."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.history import schema
from dgchat.history.records import NewAnswer
from dgchat.history.store import FOUND_BEGIN, FOUND_END, Store, title_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "deep" / "history.db")


def ask(store: Store, *texts: str) -> int:
    """A chat of questions and answers in turns; returns its id."""
    chat: int | None = None
    parent: int | None = None
    for place, text in enumerate(texts):
        if place % 2 == 0:
            message = store.add_question(chat, parent, text, model="pocket")
        else:
            assert parent is not None
            message = store.add_answer(parent, NewAnswer(text, [5, 7, 2**31 - 1], "hm", "eos", {"tokens": 3}))
        chat, parent = message.conversation, message.id
    assert chat is not None
    return chat


def test_what_goes_in_comes_out(store: Store, tmp_path: Path) -> None:
    chat = ask(store, "Tell me a story.", "Once there was a fox.", "Another.", "Once there was an owl.")
    store.close()
    with Store(tmp_path / "deep" / "history.db") as again:
        (listed,) = again.conversations()
        assert (listed.id, listed.title, listed.model, listed.messages) == (chat, "Tell me a story.", "pocket", 4)
        path = again.path(listed.leaf)
    assert [item.text for item in path][::3] == ["Tell me a story.", "Once there was an owl."]
    assert [item.role for item in path] == ["user", "assistant"] * 2
    assert path[1].thought == "hm" and path[0].thought == ""
    assert path[1].ids == (5, 7, 2**31 - 1) and path[1].stats == {"tokens": 3} and path[1].reason == "eos"
    assert abs(path[0].created - time.time()) < 60
    assert not path[0].traced


def test_only_its_owner_may_read_it(store: Store, tmp_path: Path) -> None:
    ask(store, "A secret.")
    assert (tmp_path / "deep" / "history.db").stat().st_mode & 0o077 == 0
    assert (tmp_path / "deep").stat().st_mode & 0o077 == 0


def test_branches(store: Store) -> None:
    chat = ask(store, "One?", "First.", "Two?", "Second.")
    first, answer, second, _ = store.tree(chat)
    other = store.add_answer(first.id, NewAnswer("First, again."))
    assert [item.text for item in store.path(store.conversation(chat).leaf)] == ["One?", "First, again."]
    assert store.message(answer.id).siblings == (answer.id, other.id)
    edited = store.add_question(chat, answer.id, "Two, edited?")
    assert store.message(second.id).siblings == (second.id, edited.id)
    # Going to the old answer leads to the newest of what lies below it.
    assert [item.text for item in store.choose(answer.id)] == ["One?", "First.", "Two, edited?"]
    assert [item.text for item in store.choose(second.id)] == ["One?", "First.", "Two?", "Second."]
    assert store.conversation(chat).leaf == store.tree(chat)[3].id
    root = store.add_question(chat, None, "Begun otherwise?")
    assert store.message(root.id).siblings == (first.id, root.id)


def test_another_system_prompt(store: Store) -> None:
    chat = ask(store, "One?", "First.")
    assert store.conversation(chat).system is None
    store.set_system(chat, "Be brief.\nBe kind.")
    assert store.conversation(chat).system == "Be brief.\nBe kind."
    store.set_system(chat, None)
    assert store.conversation(chat).system is None
    with pytest.raises(LookupError):
        store.set_system(99, "To nobody.")


def test_a_title_may_differ_from_the_question(store: Store) -> None:
    message = store.add_question(None, None, "notes.txt: ...", model="pocket", title="What is in it?")
    assert store.conversation(message.conversation).title == "What is in it?"


def test_a_long_chat_can_be_deleted_for_good(store: Store) -> None:
    """SQLite allows 1,000 levels of triggers; a chat must not need one a message."""
    chat = ask(store, *["again"] * 2400)
    assert len(store.path(store.conversation(chat).leaf)) == 2400
    store.delete(chat)
    assert store.purge(0) == 1
    assert store.search("again") == [] and store.tree(chat) == []


def test_deleting_can_be_undone_until_it_is_purged(store: Store) -> None:
    kept, gone = ask(store, "Keep the fox."), ask(store, "Drop the fox.")
    store.delete(gone)
    assert [chat.id for chat in store.conversations()] == [kept]
    assert [hit.conversation.id for hit in store.search("fox")] == [kept]
    assert store.purge() == 0
    store.restore(gone)
    assert {chat.id for chat in store.conversations()} == {kept, gone}
    store.delete(gone)
    assert store.purge(0) == 1
    with pytest.raises(LookupError):
        store.restore(gone)
    assert [chat.id for chat in store.conversations()] == [kept]


def test_what_is_not_there(store: Store) -> None:
    chat = ask(store, "Here.")
    message = store.tree(chat)[0].id
    for call in (
        lambda: store.add_answer(99, NewAnswer("To nobody.")),
        lambda: store.add_question(99, None, "Nowhere."),
        lambda: store.add_question(chat, 99, "After nothing."),
        lambda: store.add_question(ask(store, "Other."), message, "After a message of another chat."),
        lambda: store.rename(99, "Title"),
        lambda: store.choose(99),
        lambda: store.conversation(99),
    ):
        with pytest.raises(LookupError):
            call()
    assert [item.text for item in store.tree(chat)] == ["Here."]
    assert store.path(None) == [] and store.trace(message) is None


def test_traces_stand_beside_answers(store: Store) -> None:
    question = store.add_question(None, None, "Why?", model="pocket")
    answer = store.add_answer(question.id, NewAnswer("Because.", trace=b"\x00trace"))
    assert answer.traced and store.trace(answer.id) == b"\x00trace"
    store.delete(question.conversation)
    store.purge(0)
    assert store.trace(answer.id) is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("lantern", {0}), ("LANTERN fox", {0}), ("lan", {0}), ("fox", {0, 1}), ("cafe", {1}), ("café", {1}),
        ("nothing here", set()), ("", set()), ('"', set()), ("fox AND", set()), ("the-fox", {0, 1}),
        ("fox OR owl", set()),
        ("fox's lantern", set()), ("(", set()), ("col:fox", set()), ("*", set()), ("日本", {2}),
    ],
)  # fmt: skip
def test_search(store: Store, words: str, found: set[int]) -> None:
    chats = [
        ask(store, "A story, please.", "The fox found a lantern."),
        ask(store, "Where is the fox?", "In the café."),
        ask(store, "日本 の 話"),
    ]
    assert {chats.index(hit.conversation.id) for hit in store.search(words)} == found


def test_a_hit_shows_the_words_in_their_place(store: Store) -> None:
    ask(store, "A story.", "word " * 50 + "the Lantern hung there " + "word " * 50)
    (hit,) = store.search("lantern")
    assert hit.role == "assistant" and f"the {FOUND_BEGIN}Lantern{FOUND_END} hung" in hit.excerpt
    assert len(hit.excerpt) < 120


def test_titles_are_searched(store: Store) -> None:
    chat = ask(store, "A story, please.")
    store.rename(chat, "The kite of Otto")
    assert [hit.conversation.id for hit in store.search("otto")] == [chat]
    assert [hit.conversation.id for hit in store.search("story")] == [chat]


def test_the_title_is_the_beginning_of_the_first_question() -> None:
    assert title_of("  Sort\nthese  words ") == "Sort these words"
    long = title_of("word " * 40)
    assert len(long) <= 64 and long.endswith("word …")
    assert title_of("x" * 500).startswith("xxx")


@given(st.text(), st.text())
def test_any_text_is_kept_and_any_words_can_be_looked_for(text: str, words: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    with Store(None) as store:
        question = store.add_question(None, None, text, model="pocket")
        assert store.message(question.id).text == text
        store.search(words)
        store.search(text)


def migrated(path: Path, version: int) -> None:
    """A database as version `version` left it, with one chat."""
    with sqlite3.connect(path) as database:
        for script in schema.STEPS[:version]:
            database.executescript(script)
        database.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("INSERT INTO conversations VALUES (1, 'Old', 'pocket', NULL, 1.0, 2.0, NULL, NULL)")
        values = "(1, 1, NULL, 'user', 'an old lantern', '', NULL, 1.0, NULL, NULL)"
        database.execute(f"INSERT INTO messages VALUES {values}")
        database.execute("UPDATE conversations SET leaf = 1")
    database.close()


@pytest.mark.parametrize("version", range(1, len(schema.STEPS) + 1))
def test_older_databases_are_brought_up_to_date(tmp_path: Path, version: int) -> None:
    migrated(tmp_path / "history.db", version)
    with Store(tmp_path / "history.db") as store:
        assert [chat.title for chat in store.conversations()] == ["Old"]
        assert [hit.message for hit in store.search("lantern")] == [1]
        answer = store.add_answer(1, NewAnswer("a new one", trace=b"x"))
        assert answer.traced and len(store.search("new")) == 1


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.db"
    migrated(path, 1)
    before = path.read_bytes()
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "CREATE TABLE more (x);\nINSERT INTO nowhere VALUES (1);\n"))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(path)
    assert path.read_bytes() == before


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    path, failures = tmp_path / "history.db", []

    def work(number: int) -> None:
        try:
            with Store(path) as store:
                for place in range(20):
                    ask(store, f"thread {number} question {place}", "answer")
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(path) as store:
        assert len(store.conversations()) == 80
        assert all(chat.messages == 2 for chat in store.conversations())


_WRITER = """
import sys
from pathlib import Path
from dgchat.history.records import NewAnswer
from dgchat.history.store import Store
store = Store(Path(sys.argv[1]))
parent = chat = None
number = 0
while True:
    message = store.add_question(chat, parent, f"question {number}", model="pocket")
    chat = message.conversation
    print("q", number, flush=True)
    parent = store.add_answer(message.id, NewAnswer(f"answer {number}", range(100), trace=bytes(20000))).id
    print("a", number, flush=True)
    number += 1
"""


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.soak)])
def test_a_kill_loses_nothing_that_was_written(tmp_path: Path, kills: int) -> None:
    path, rain = tmp_path / "history.db", random.Random(7)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for attempt in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(rain.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            lines += [line for line in process.stdout if line.endswith("\n")]
        with Store(path) as store:
            chats = store.conversations()
            assert len(chats) == attempt + 1
            texts = [item.text for item in store.path(chats[0].leaf)]
            said = [("question " if kind == "q" else "answer ") + number for kind, number in map(str.split, lines)]
            assert texts[: len(said)] == said and len(texts) <= len(said) + 1
