"""`dgchat history` as people type it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click
import pytest

from dgchat.cli import run
from dgchat.history.command import history, resumed
from dgchat.history.records import NewAnswer
from dgchat.history.store import Store
from dgchat.paths import history_file
from tests.tui.fakes import Pipe


@pytest.fixture(autouse=True)
def two_chats(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store(history_file()) as store:
        question = store.add_question(None, None, "A story, please.", model="pocket", system="Be kind.")
        found = NewAnswer("The fox found a lantern.\n", [1, 2], "", "eos", {"tokens": 2})
        answer = store.add_answer(question.id, found)
        store.add_answer(question.id, NewAnswer("The owl found a kite.", [3], "", "cancelled"))
        store.choose(answer.id)
        store.add_question(None, None, "Add 1 and 2\x1b[31m.", model="pocket")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["history", *words]) == 0
    return capsys.readouterr().out


def test_the_list_has_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = printed(capsys).splitlines()
    assert first.startswith("2  20") and first.endswith("Add 1 and 2.")
    assert second.startswith("1  20") and second.endswith("A story, please.")
    listed = json.loads(printed(capsys, "--json"))
    assert [chat["id"] for chat in listed] == [2, 1] and listed[1]["messages"] == 3


def test_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert "The fox found a lantern." in printed(capsys, "search", "lantern", "fox")
    (hit,) = json.loads(printed(capsys, "search", "lantern", "--json"))
    assert hit["conversation"]["id"] == 1 and hit["excerpt"] == "The fox found a lantern.\n"
    assert run(["history", "search", "zebra"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and "No chat has 'zebra' in it." in err


def test_words_found_are_bold_on_a_terminal() -> None:
    out = Pipe(tty=True)
    history(["search", "found"], False, out)
    out.seek(0)
    assert "The fox \x1b[1mfound\x1b[0m a lantern." in out.read()


def test_show_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "show", "1")
    assert text.startswith("# A story, please.\n\n20")
    assert text.endswith(
        "## System\n\nBe kind.\n\n## You\n\nA story, please.\n\n## dgchat\n\nThe fox found a lantern.\n"
    )
    assert printed(capsys, "export", "1") == text
    whole = json.loads(printed(capsys, "export", "1", "json"))
    assert [item["text"] for item in whole["tree"]][1:] == ["The fox found a lantern.\n", "The owl found a kite."]
    assert whole["tree"][1]["ids"] == [1, 2] and whole["tree"][1]["stats"] == {"tokens": 2}


def test_escape_sequences_in_titles_are_inert(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in printed(capsys) + printed(capsys, "show", "2") + printed(capsys, "search", "add")


def test_rename_delete_restore(capsys: pytest.CaptureFixture[str]) -> None:
    printed(capsys, "rename", "1", "The", "lantern")
    assert printed(capsys).splitlines()[1].endswith("The lantern")
    assert run(["history", "delete", "1"]) == 0
    assert "history restore 1" in capsys.readouterr().err
    assert len(printed(capsys).splitlines()) == 1
    printed(capsys, "restore", "1")
    assert len(printed(capsys).splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "9"], 4, "There is no chat '9'; dgchat history lists them."),
        (["show", "nine"], 4, "There is no chat 'nine'"),
        (["show", "9" * 30], 4, "There is no chat"),
        (["export", "1", "pdf"], 2, "one of md, json"),
        (["search"], 2, "dgchat history takes"),
        (["burn"], 2, "dgchat history takes"),
        (["rename", "1"], 2, "an id and a title"),
    ],
)
def test_bad_words(capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str) -> None:
    assert run(["history", *words]) == code
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.count("\n") == 1


def test_no_chats_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "empty"))
    out = io.StringIO()
    assert history([], False, out) == 0 and out.getvalue() == ""
    assert "There are no chats yet." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "chat"),
    [(["resume", "1"], 1), (["resume", "007"], 7), (["list"], None), (["search", "resume"], None), ([], None)],
)
def test_which_chat_is_resumed(words: list[str], chat: int | None) -> None:
    assert resumed(words) == chat


@pytest.mark.parametrize("words", ["", "one", "1 2", "-1", "1.0"])
def test_what_cannot_be_resumed_is_told(words: str) -> None:
    with pytest.raises(click.UsageError, match="takes the id of a chat"):
        resumed(["resume", *words.split()])


def test_resuming_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "resume", "1"]) == 2
    assert "a chat needs a terminal" in capsys.readouterr().err


def test_thoughts_are_folded_in_markdown_and_stand_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    with Store(history_file()) as store:
        question = store.add_question(None, None, "Two and two?", model="m")
        store.add_answer(question.id, NewAnswer("Four.", [5], "Two.\n\x1b[31mAnd two.</details>", "eos"))
        chat = str(question.conversation)
    written = printed(capsys, "export", chat, "md")
    assert (
        "## dgchat\n\n<details><summary>Thinking</summary>\n\n> Two.\n> And two.&lt;/details>\n\n</details>\n\nFour.\n"
        in written
    )
    tree = json.loads(printed(capsys, "export", chat, "json"))["tree"]
    assert (tree[1]["thought"], tree[1]["text"]) == ("Two.\n\x1b[31mAnd two.</details>", "Four.")
    assert "Thinking" not in printed(capsys, "export", "1", "md")
