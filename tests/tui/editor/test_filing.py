"""The editor and its file: typing, finding, saving, what others do to it, leaving."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from textual.widgets import Input

from dgchat.documents import DocumentError
from dgchat.editor.dialogs import Choice
from dgchat.editor.files import TextFile
from tests.tui.editor.editing import (
    FOUND,
    SIZE,
    STORY,
    Player,
    area,
    drawn,
    editor_of,
    proposed,
    ready,
    screen,
    select,
    status,
    title,
    until,
)


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.md"
    path.write_text(STORY)
    return path


def asks(pilot: Player) -> bool:
    return isinstance(pilot.app.screen, Choice)


async def test_it_is_typed_and_saved_and_the_mark_goes(story: Path) -> None:
    story.chmod(0o640)
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert title(app).startswith("story.md ") and "●" not in title(app)
        await pilot.press("end", *" and Finn", "enter")
        assert "●" in title(app) and story.read_text() == STORY
        await pilot.press("ctrl+s")
        assert "saved story.md" in status(app) and "●" not in title(app)
        assert story.read_text().startswith("Once there was a quiet fox named Mia. and Finn\n\n")
        await pilot.press("ctrl+z", "ctrl+z")
        assert "●" in title(app)
        await pilot.press("ctrl+y", "ctrl+y")
        assert "●" not in title(app)
        await pilot.press("ctrl+q")
    assert not app.is_running and stat.S_IMODE(story.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "data",
    [
        b"", b"a", b"a\r\nb\r\n", b"a\nb\r\nc\rd", b"\xef\xbb\xbfx\n", b"\x1b[31mred\x07\x0c\n",
        "\u2028x\u202e\x85".encode(),
    ],
)  # fmt: skip
async def test_saving_what_was_not_changed_changes_no_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    app = editor_of(path)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "saved" in status(app))
        assert path.read_bytes() == data
        assert "\x1b" not in app.export_screenshot() and "\x1b" not in "".join(drawn(app))
        await pilot.press("x", "backspace", "ctrl+s")
        assert path.read_bytes() == data


async def test_lines_keep_their_own_endings_while_others_change(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"a\r\nb\r\nc\nd\r\n")
    app = editor_of(path)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert "end in different ways" in status(app) and any("c␊" in row for row in drawn(app))
        await pilot.press("end", "enter", "x", "ctrl+s")
        assert path.read_bytes() == b"a\r\nx\r\nb\r\nc\nd\r\n"


async def test_what_is_pasted_has_no_controls(story: Path) -> None:
    from textual.events import Paste

    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        app.post_message(Paste("one\x1b[31m\rtwo"))
        await until(pilot, lambda: area(app).document[1].startswith("two"))
        assert area(app).document[0] == "one"


async def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    app = editor_of(path)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert "a new file" in status(app)
        await pilot.press(*"Hello", "ctrl+s")
        assert path.read_text() == "Hello" and "●" not in title(app)


async def test_a_new_file_that_someone_else_has_made_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "new.txt"
    app = editor_of(path)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        path.write_text("theirs")
        await pilot.press(*"ours", "ctrl+s")
        await until(pilot, lambda: asks(pilot))
        await pilot.press("o")
        await until(pilot, lambda: path.read_text() == "ours")


@pytest.mark.parametrize(
    ("key", "disk", "text"),
    [("r", "theirs\n", "theirs\n"), ("o", "x" + STORY, "x" + STORY), ("k", "theirs\n", "x" + STORY)],
)  # fmt: skip
async def test_a_file_that_was_changed_on_disk_is_noticed_on_saving(
    story: Path, key: str, disk: str, text: str
) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x")
        story.write_text("theirs\n")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: asks(pilot))
        assert area(app).text == "x" + STORY
        await pilot.press(key)
        await until(pilot, lambda: not asks(pilot))
        assert story.read_text() == disk and area(app).text == text
        if key == "k":  # it asks once, and again where it matters
            screen(app).look_at_file()
            await pilot.pause()
            assert not asks(pilot)
            await pilot.press("ctrl+s")
            await until(pilot, lambda: asks(pilot))


async def test_a_file_that_was_changed_on_disk_is_noticed_after_a_while(
    story: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgchat.editor.filing_screen._LOOK", 0.05)
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+r")  # not while something is asked
        story.write_text("theirs\n")
        await pilot.pause(0.3)
        assert not asks(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: asks(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: area(app).text == "theirs\n")
        assert "●" not in title(app) and "anew" in status(app)


@pytest.mark.parametrize(("key", "runs", "saved"), [("s", False, True), ("d", False, False), ("b", True, False)])
async def test_leaving_with_unsaved_changes_asks(story: Path, key: str, runs: bool, saved: bool) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x", "ctrl+q", "ctrl+q")
        await until(pilot, lambda: asks(pilot))
        assert app.is_running
        await pilot.press(key)
        await pilot.pause(0.05)
        assert app.is_running is runs and story.read_text() == ("x" if saved else "") + STORY


async def test_quitting_with_a_proposal_open_loses_nothing(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, *FOUND)
        await pilot.press("ctrl+r", "enter")
        await proposed(pilot)
        assert not screen(app).modified
        await pilot.press("ctrl+q")
        await until_left(pilot)
    assert story.read_text() == STORY


async def test_quitting_with_a_proposal_and_changes_asks(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x")
        select(app, *FOUND)
        await pilot.press("ctrl+r", "enter")
        await proposed(pilot)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: asks(pilot))
        await pilot.press("s")
        await until_left(pilot)
    assert story.read_text() == "x" + STORY


async def test_it_quits_from_other_screens_too(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x", "f1")
        await until(pilot, lambda: app.screen.query("#help-keys"))
        await pilot.press("ctrl+q")
        await until(pilot, lambda: asks(pilot))
        await pilot.press("d")
        await until_left(pilot)


async def until_left(pilot: Player) -> None:
    """The app ends by itself."""
    for _ in range(500):
        if not pilot.app.is_running:
            return
        await pilot.pause(0.01)
    pytest.fail("it is still running")


async def test_the_mouse_selects(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        left = area(app).gutter_width + 1
        await pilot.mouse_down(area(app), offset=(left + 12, 1))
        await pilot.hover(area(app), offset=(left + 42, 1))
        await pilot.mouse_up(area(app), offset=(left + 42, 1))
        assert area(app).selected == FOUND


async def test_a_file_that_cannot_be_written_stays_unsaved(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x")
        story.chmod(0o400)
        await pilot.press("ctrl+q", "s")
        await until(pilot, lambda: any("read-only" in toast.message for toast in app._notifications))
        assert app.is_running and "●" in title(app) and story.read_text() == STORY


async def test_words_are_found(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+f", *"lantern")
        assert area(app).selected == ((1, 20), (1, 27))
        await pilot.press("enter")
        assert area(app).selected == ((2, 16), (2, 23))
        await pilot.press("down")
        assert area(app).selected == ((1, 20), (1, 27))
        await pilot.press("up", "up")
        assert area(app).selected == ((1, 20), (1, 27))
        await pilot.press(*"qq")
        assert "does not stand" in status(app)
        await pilot.press("escape")
        assert app.focused is area(app)
        screen(app)._found = "Mia"
        await pilot.press("f3")
        assert area(app).selected == ((0, 33), (0, 36))
        await pilot.press("shift+f3")
        assert area(app).selected == ((1, 8), (1, 11))


async def test_escape_lets_go_of_the_selection_and_nothing_else(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        select(app, *FOUND)
        await pilot.press("escape")
        assert area(app).selection.is_empty and area(app).cursor_location == FOUND[1]
        await pilot.press("escape")
        assert app.is_running and "Ctrl+Q" in status(app) and app.focused is area(app)


async def test_long_lines_are_wrapped_or_not(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("word " * 60)
    app = editor_of(path)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        assert area(app).wrapped_document.height > 1
        await pilot.press("alt+z")
        assert area(app).wrapped_document.height == 1 and "go on to the right" in status(app)
        await pilot.press("end", "x", "alt+z")
        assert area(app).wrapped_document.height > 1 and area(app).text.endswith(" x")


async def test_own_keys_and_help(story: Path) -> None:
    app = editor_of(story, keys={"save": "f12"})
    app.settings.keys["save"] = "f12"  # type: ignore[index]
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("x", "f12")
        assert story.read_text() == "x" + STORY
        await pilot.press("f1")
        await until(pilot, lambda: pilot.app.screen.query("#help-keys"))
        assert "EDITOR" in str(pilot.app.screen.query_one("#help-keys").render())
        await pilot.press("escape")
        await pilot.press("ctrl+t", "down", "enter")
        assert app.focused is area(app)


def test_files_that_cannot_be_edited(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\0\1")
    for path in (tmp_path, tmp_path / "binary", tmp_path / "no" / "file"):
        with pytest.raises(DocumentError):
            TextFile.open(path)
    with pytest.raises(DocumentError):
        TextFile("answer.md", "x").move_to(tmp_path)


async def test_typing_at_once_is_not_lost(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"abc")
        await ready(pilot)
        await until(pilot, lambda: area(app).text == "abc" + STORY)


def test_the_file_knows_what_others_do(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    file = TextFile.open(path)
    assert not file.changed() and not file.is_new
    path.write_text("other")
    assert file.changed()
    file.let_be()
    assert not file.changed() and file.differs()
    os.unlink(path)
    assert file.changed()
    file.write("mine", over=True)
    assert path.read_text() == "mine" and not file.differs()


async def test_the_field_for_an_instruction_takes_all_keys_of_a_line(story: Path) -> None:
    app = editor_of(story)
    async with app.run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+r", *"r2px", "space", "left", "q")
        assert pilot.app.screen.query_one(Input).value == "r2pxq "
