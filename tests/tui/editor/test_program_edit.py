"""The editor as its user meets it: the real program on a terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

from tests.tui.chatting import ESCAPE, FAKE, QUIT, Chat
from tests.tui.editor.editing import STORY

RIGHT, SHIFT_RIGHT, DOWN, TAB = "\x1b[C", "\x1b[1;2C", "\x1b[B", "\t"
REWRITE, SAVE, UNDO = "\x12", "\x13", "\x1a"
OLD = "found a lantern near the river"


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """With little between one step and the next."""
    return {**environment, "DGCHAT_PACE": "60"}


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.md"
    path.write_text(STORY)
    return path


def edit(command: list[str], environment: dict[str, str], path: Path, *args: str) -> Chat:
    chat = Chat([*command, *args, "edit", str(path)], environment, 100, 24)
    chat.shows(lambda text: path.name in text and "Save" in text)
    return chat


def select_old(chat: Chat) -> None:
    chat.send(DOWN + RIGHT * len("One day Mia "))
    chat.send(SHIFT_RIGHT * len(OLD))
    chat.shows(f"{len(OLD)} selected")


def test_pocket_rewrites_a_file_watched_undone_and_saved(
    command: list[str], environment: dict[str, str], story: Path
) -> None:
    environment["DGCHAT_PACE"] = "12"
    chat = edit(command, environment, story, "--model", "pocket", "--seed", "3")
    select_old(chat)
    chat.send(REWRITE)
    chat.shows("instruction")
    chat.send("\r")
    chat.shows(lambda text: "tokens decided" in text or "candidate 1 of" in text)
    screen = chat.shows(lambda text: "candidate 1 of" in text and OLD not in text.split("candidate 1 of")[0])
    assert "One day Mia " in screen
    assert "They shared the lantern and laughed until dark." in screen
    chat.send("\r")
    chat.shows("story.md ●")
    assert story.read_text() == STORY
    chat.send(SAVE)
    chat.shows("saved story.md")
    new = story.read_text()
    start, end = STORY.index(OLD), STORY.index(OLD) + len(OLD)
    assert new != STORY and new.startswith(STORY[:start]) and new.endswith(STORY[end:])
    chat.send(UNDO + SAVE)
    chat.shows(lambda text: OLD in text.split("saved")[0] and "●" not in text)
    chat.quit()
    assert story.read_text() == STORY


def test_pocket_writes_at_the_cursor_and_escape_leaves_it(
    command: list[str], environment: dict[str, str], story: Path
) -> None:
    chat = edit(command, environment, story, "--model", "pocket", "--seed", "3")
    chat.send(DOWN + RIGHT * len("One day Mia found a lantern near the river.") + REWRITE)
    chat.shows("writes at the cursor")
    chat.send("\r")
    chat.shows("candidate 1 of")
    chat.send(TAB + ESCAPE)
    chat.shows("original stays")
    chat.send(SAVE)
    chat.shows("saved")
    chat.quit()
    assert story.read_text() == STORY


def test_control_characters_of_a_file_do_not_reach_the_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    data = b"red \x1b]0;title\x07 \x1b[31m\xc2\x9b1m\r\nnext\n"
    path.write_bytes(data)
    chat = edit(list(FAKE), environment, path, "--model", "x")
    assert "␛]0;title" in chat.display.text
    assert "\x1b]0;title" not in chat.output and "\x9b" not in chat.output
    chat.send("x")
    chat.shows("odd.txt ●")
    chat.send("\x7f" + SAVE)
    chat.shows("saved")
    chat.quit()
    assert path.read_bytes() == data


def test_leaving_with_changes_asks_and_the_terminal_is_left_in_order(environment: dict[str, str], story: Path) -> None:
    chat = edit(list(FAKE), environment, story, "--model", "x")
    chat.send("x")
    chat.shows("story.md ●")
    chat.send(QUIT)
    chat.shows("changes that are not saved")
    chat.send("d")
    assert chat.close() == 0
    chat.left_in_order()
    assert story.read_text() == STORY


def test_a_signal_ends_it_with_the_terminal_in_order(environment: dict[str, str], story: Path) -> None:
    chat = edit(list(FAKE), environment, story, "--model", "x")
    os.kill(chat.process.pid, signal.SIGTERM)
    assert chat.close() == 143
    chat.left_in_order()


def test_a_file_that_cannot_be_edited_is_told_before_the_app_starts(
    environment: dict[str, str], tmp_path: Path
) -> None:
    chat = Chat([*FAKE, "edit", str(tmp_path)], environment)
    assert chat.close() == 4
    assert "is a folder" in chat.output and "\x1b[?1049h" not in chat.output
