"""The open chat: branches, and a store that fails under it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dgchat.app.conversation import Conversation
from dgchat.history.records import Message, NewAnswer
from dgchat.history.store import Store
from tests.engine.test_chat import EOS, byte_fallback


class Said(list[str]):
    """What the user was told."""


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def chat(tmp_path: Path, said: Said) -> Conversation:
    return Conversation(Store(tmp_path / "history.db"), "pocket", "Be kind.", said.append)


def answer(chat: Conversation, text: str) -> Message:
    return chat.answer(NewAnswer(text, [1, 2], reason="eos", stats={"tokens": 2}))


def texts(chat: Conversation) -> list[str]:
    return [message.text for message in chat.path]


def test_messages_for_the_engine_carry_the_ids_of_past_answers(chat: Conversation) -> None:
    chat.ask("Hello?")
    answer(chat, "Hi.")
    chat.ask("And?")
    assert chat.messages() == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hi.", "ids": [1, 2]},
        {"role": "user", "content": "And?"},
    ]


def test_another_model_reads_past_answers_as_text(chat: Conversation, tmp_path: Path, said: Said) -> None:
    chat.ask("Hello?")
    first = answer(chat, "Hi.")
    chat.model = "nvfp4"
    chat.ask("And?")
    second = chat.answer(NewAnswer("So.", [7], reason="eos", stats={"model": "nvfp4"}))
    assert not chat.is_own(first) and chat.is_own(second)
    assert ["ids" in message for message in chat.messages()] == [False, False, False, False, True]
    chat.model = "pocket"
    assert chat.is_own(first) and not chat.is_own(second)
    assert chat.id is not None
    again = Conversation(Store(tmp_path / "history.db"), "other", None, said.append)
    again.open(chat.id)
    assert not any("ids" in message for message in again.messages())  # pocket began it


def test_a_question_without_an_answer_gives_way_to_the_next(chat: Conversation) -> None:
    chat.ask("One?")
    chat.ask("Two?")
    assert texts(chat) == ["Two?"]
    assert len(chat.path[0].siblings) == 2
    assert len(chat.store.conversations()) == 1


def test_regenerating_and_editing_make_branches(chat: Conversation) -> None:
    first = chat.ask("One?")
    answer(chat, "First.")
    chat.ask("Two?")
    answer(chat, "Second.")
    assert chat.again() is not None
    answer(chat, "Second, again.")
    assert texts(chat) == ["One?", "First.", "Two?", "Second, again."]
    assert chat.switch(chat.path[3], -1) and texts(chat)[3] == "Second."
    assert not chat.switch(chat.path[3], -1)
    chat.edit(first, "One, edited?")
    assert texts(chat) == ["One, edited?"]
    answer(chat, "Edited.")
    assert chat.switch(chat.path[0], -1)
    assert texts(chat) == ["One?", "First.", "Two?", "Second, again."]
    assert chat.switch(chat.path[0], 1) and texts(chat) == ["One, edited?", "Edited."]


def test_new_and_open(chat: Conversation) -> None:
    chat.ask("One?")
    answer(chat, "First.")
    old = chat.id
    assert old is not None
    chat.system = "Be brief."
    chat.new()
    assert chat.path == [] and chat.system == "Be kind."
    chat.ask("Two?")
    assert chat.id != old
    chat.open(old)
    assert texts(chat) == ["One?", "First."] and chat.system == "Be kind."
    with pytest.raises(LookupError):
        chat.open(99)
    assert chat.id == old


def test_a_store_that_fails_does_not_end_the_chat(
    chat: Conversation, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat.ask("One?")
    answer(chat, "First.")

    def full(*_: object, **__: object) -> Message:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(chat.store, "add_question", full)
    chat.ask("Two?")
    answer(chat, "Second.")
    assert texts(chat) == ["One?", "First.", "Two?", "Second."]
    assert chat.path[1].ids == (1, 2)
    assert len(said) == 1 and "disk is full" in said[0]


@pytest.mark.parametrize("purged", [False, True])
def test_a_chat_deleted_elsewhere_becomes_a_new_one(
    chat: Conversation, said: Said, tmp_path: Path, purged: bool
) -> None:
    chat.ask("One?")
    answer(chat, "First.")
    old = chat.id
    assert old is not None
    with Store(tmp_path / "history.db") as other:
        other.delete(old)
        if purged:
            other.purge(0)
    chat.ask("Two?")
    answer(chat, "Second.")
    assert texts(chat) == ["One?", "First.", "Two?", "Second."]
    assert said == ["This chat was deleted elsewhere; what is on the screen goes on as a new one."]
    with Store(tmp_path / "history.db") as other:
        assert [item.messages for item in other.conversations()] == [4]


def test_escape_sequences_are_not_kept(chat: Conversation) -> None:
    assert chat.ask("red \x1b[31mfox").text == "red fox"


def test_a_thought_is_kept_and_stripped_from_later_turns_by_its_ids(chat: Conversation) -> None:
    """As the template asks, and through what the app itself gives the engine."""
    tokenizer = byte_fallback()
    assert tokenizer.can_think and tokenizer.thought_marks is not None
    opening, closing = tokenizer.thought_marks
    thought, words = tokenizer.tokens("a b"), tokenizer.tokens("ab a")
    ids = [opening, *tokenizer.tokens("thought"), *thought, closing, *words, EOS[0]]
    chat.ask("a")
    chat.answer(NewAnswer("ab a", ids, "a b", "eos", {"model": "pocket"}))
    chat.ask("b")
    assert chat.path[1].thought == "a b" and chat.messages()[2]["ids"] == ids
    for thinking in (False, True):
        encoded = tokenizer.encode_chat(chat.messages(), thinking)
        assert closing not in encoded
        place = next(at for at in range(len(encoded)) if encoded[at : at + len(words)] == words)
        without = tokenizer.encode_chat([*chat.messages()[:2], {"role": "assistant", "ids": words}], thinking)
        assert encoded[:place] == without[:place]
