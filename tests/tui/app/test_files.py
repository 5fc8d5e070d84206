"""Files as context: what stands in front of a message, and how it is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dgchat.app.files import LARGEST_FILE, Context, FileError, split_files, with_files
from dgchat.sanitize import clean
from tests.tui.app.play import answered, app_of, ask, composer, drawn, folded, questions, ready, say, shown, status
from tests.tui.fakes import FakeEngine


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the app is started."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_file_stands_in_front_of_the_message(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n")
    (folder / "b.md").write_text("Code:\n```\nx\n```\n")
    text = with_files("Compare @a.txt, @b.md and @a.txt.", folder)
    assert text == "a.txt:\n```\nOne.\nTwo.\n```\n\nb.md:\n````\nCode:\n```\nx\n```\n````\n\n" + (
        "Compare @a.txt, @b.md and @a.txt."
    )
    assert split_files(text) == (
        [Context("a.txt", "One.\nTwo."), Context("b.md", "Code:\n```\nx\n```")],
        "Compare @a.txt, @b.md and @a.txt.",
    )


@pytest.mark.parametrize("text", ["Ask @nobody.", "me@a.txt", "@", "@\0", "@" + "x" * 5000, "@~nobody/x", "@."])
def test_what_is_no_file_stays_a_word(folder: Path, text: str) -> None:
    (folder / "a.txt").write_text("One.")
    assert with_files(text, folder) == text


def test_a_file_that_cannot_be_given(folder: Path) -> None:
    (folder / "large.txt").write_bytes(b"x" * (LARGEST_FILE + 1))
    (folder / "picture.png").write_bytes(b"abc\xff\xfe")
    with pytest.raises(FileError, match=r"@large.txt is larger than 1 MiB; give a part of it."):
        with_files("@large.txt", folder)
    with pytest.raises(FileError, match=r"@picture.png is not UTF-8 text \(byte 3\)."):
        with_files("@picture.png", folder)
    (folder / "just.txt").write_bytes(b"x" * LARGEST_FILE)
    assert len(with_files("@just.txt", folder)) > LARGEST_FILE


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / "secret").touch(mode=0)
    with pytest.raises(FileError, match=r"@secret cannot be read: Permission denied."):
        with_files("@secret", folder)


def test_a_block_that_the_user_wrote_is_no_file(folder: Path) -> None:
    text = "Look at this:\n```\nx = 1\n```\n\nWhat is it?"
    assert split_files(text) == ([], text)


TEXTS = st.text(st.one_of(st.sampled_from("`\n :@.a\t\x1b["), st.characters(exclude_categories=["Cs"])))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS, TEXTS)
@example("", "", "")
@example("``\x07`\n\nend", "a.txt:\n```\nx\n```\n\n", " @a.txt")
def test_any_file_and_any_message_come_apart_again(folder: Path, content: str, before: str, after: str) -> None:
    (folder / "a.txt").write_bytes(content.encode())
    message = clean(f"{before} @a.txt {after}").strip()
    files, words = split_files(clean(with_files(message, folder)))
    assert words == message
    # Where escape sequences swallow the @word there is no file.
    assert files == ([Context("a.txt", clean(content).strip("\n"))] if with_files(message, folder) != message else [])


async def test_a_file_is_shown_folded_and_the_engine_is_given_all_of_it(folder: Path) -> None:
    (folder / "notes.txt").write_text("One.\nTwo.\n")
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ask(pilot, "What is in @notes.txt?")
        assert folded(app) == [("notes.txt, 2 lines", "One.\nTwo.")]
        assert drawn(questions(app)[0].query(".words").first()) == "What is in @notes.txt?"
        assert "One." not in shown(app) and "@notes.txt" in app.store.conversations()[0].title
        await pilot.click("CollapsibleTitle")
        await pilot.pause()
        assert "Two." in shown(app)
        # Recalled or edited it is what was written: the file is read anew.
        await pilot.press("escape", "up")
        assert composer(app).text == "What is in @notes.txt?"
        composer(app).clear()
        (folder / "notes.txt").write_text("Three.\n")
        await pilot.press("f8", "enter")
        await answered(pilot)
    assert engine.asked[0][0]["content"] == "notes.txt:\n```\nOne.\nTwo.\n```\n\nWhat is in @notes.txt?"
    assert engine.asked[1][0]["content"] == "notes.txt:\n```\nThree.\n```\n\nWhat is in @notes.txt?"


async def test_a_file_that_cannot_be_given_is_told_and_the_message_stays(folder: Path) -> None:
    (folder / "picture.png").write_bytes(b"\xff\xfe")
    engine = FakeEngine("Fine.")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "See @picture.png")
        assert status(app) == "@picture.png is not UTF-8 text (byte 0)."
        assert composer(app).text == "See @picture.png" and engine.asked == []


@pytest.mark.parametrize("name", ["[bold]x[/bold].txt", "[/].txt", "[@click=quit]x"])
async def test_a_files_name_and_text_have_no_meaning_of_their_own(folder: Path, name: str) -> None:
    (folder / name.replace("/", "")).write_text("red \x1b[31m[red]fox[/]\n")
    name = name.replace("/", "")
    app = app_of(FakeEngine("Fine."))
    async with app.run_test() as pilot:
        await ask(pilot, f"See @{name}")
        assert folded(app) == [(f"{name}, 1 line", "red [red]fox[/]")]
        assert f"▶ {name}, 1 line" in shown(app)
