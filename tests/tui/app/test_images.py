"""Images in the chat: attached, taken away, sent, refused, kept and shown again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.widgets import Button, Static

from dgchat.app.attachments import Attachments, Chip, ImageLine, Preview
from dgchat.app.chat import chat
from dgchat.exits import Exit, Failure
from dgchat.history.export import export
from dgchat.history.purging import copies_beside
from dgchat.history.records import KeptImage
from dgchat.history.store import KEPT_DELETED_SECONDS, Store
from dgchat.images.attaching import MOST, attach
from dgchat.paths import history_file, images_folder
from dgchat.settings import load
from tests.tui.app.play import (
    Player,
    answered,
    app_of,
    ask,
    composer,
    ready,
    say,
    screen,
    shown,
    status,
    transcript,
    until,
)
from tests.tui.app.snapshots import check
from tests.tui.fakes import FakeEngine
from tests.tui.images.files import image_file


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the app is started."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def seeing() -> FakeEngine:
    engine = FakeEngine("A fox.")
    engine.sees = True
    return engine


async def paste(pilot: Player, text: str) -> None:
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()


def chips(app: Any) -> list[str]:
    return [str(button.label) for button in screen(app).query(".take-away").results(Button)]


async def attached(pilot: Player, *names: str) -> None:
    await until(pilot, lambda: chips(pilot.app) == [f"✕ {name} 48×32" for name in names])


def asked_with(engine: FakeEngine) -> list[Path]:
    content = engine.asked[-1][-1]["content"]
    return [Path(part["path"]) for part in content if part["type"] == "image"] if isinstance(content, list) else []


async def test_a_pasted_path_is_attached_and_sent_and_kept(folder: Path) -> None:
    engine, path = seeing(), image_file(folder, "my fox.png")
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        composer(app).insert("What is this?")
        await paste(pilot, f"{str(path).replace(' ', chr(92) + ' ')}\n")
        await attached(pilot, "my fox.png")
        assert composer(app).text == "What is this?"
        assert status(app) == "my fox.png goes with the next message; Backspace at its beginning takes it away"
        await pilot.press("enter")
        await answered(pilot)
        assert chips(app) == [] and not screen(app).query_one(Attachments).display
        assert engine.asked[-1][-1]["content"][-1] == {"type": "text", "text": "What is this?"}
        (copy,) = asked_with(engine)
        assert copy.parent == images_folder() and copy.read_bytes() == path.read_bytes()
        assert [str(line.content) for line in screen(app).query(".image-name").results(Static)] == ["my fox.png 48×32"]
        await until(pilot, lambda: screen(app).query_one(ImageLine).query_one(Preview).content)
        path.unlink()
        await say(pilot, "And its colour?")
        await answered(pilot)
        assert engine.asked[-1][0]["content"][0] == {"type": "image", "path": str(copy)}
    with Store(history_file()) as store:
        assert "![my fox.png](<" in export(store, store.conversations()[0].id, "md")
        assert '"path": ' in export(store, store.conversations()[0].id, "json")


async def test_text_is_pasted_as_ever(folder: Path) -> None:
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)
        for text in ("no.png", "a fox"):
            await paste(pilot, text)
        assert composer(app).text == "no.pnga fox" and chips(app) == []


async def test_the_command_completes_paths_and_gives_back_what_is_wrong(folder: Path) -> None:
    image_file(folder, "a fox.png")
    (folder / "notes.txt").write_text("?")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)
        composer(app).insert("/image a")
        await pilot.pause()
        await pilot.press("tab")
        assert composer(app).text == "/image a fox.png "
        await pilot.press("enter")
        await attached(pilot, "a fox.png")
        assert composer(app).text == ""
        await say(pilot, "/image broken.png")
        await until(
            pilot, lambda: status(app) == "broken.png is no image that can be read: give a PNG, JPEG or WebP image."
        )
        assert composer(app).text == "/image broken.png"
        composer(app).clear()
        await say(pilot, "/image")
        await until(pilot, lambda: status(app).startswith("/image takes the name of a file"))
        await attached(pilot, "a fox.png")


async def test_images_are_taken_away_by_key_and_mouse(folder: Path) -> None:
    paths = [image_file(folder, f"{color}.png", color=color) for color in ("red", "blue", "green")]
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)
        await paste(pilot, "\n".join(map(str, paths)))
        await attached(pilot, "red.png", "blue.png", "green.png")
        await paste(pilot, str(paths[0]))
        await pilot.click(screen(app).query(".take-away").first())
        await attached(pilot, "blue.png", "green.png")
        composer(app).insert("a")
        composer(app).editor.focus()
        await pilot.press("backspace")
        await attached(pilot, "blue.png", "green.png")
        await pilot.press("backspace")
        await attached(pilot, "blue.png")
        assert status(app).startswith("blue.png goes with the next message")
        await pilot.press("backspace", "backspace")
        assert chips(app) == [] and composer(app).text == ""
        await until(pilot, lambda: status(app) == "")


async def test_a_model_that_cannot_see_leaves_everything_where_it_is(folder: Path) -> None:
    engine = FakeEngine("No.")
    app = app_of(engine)
    async with app.run_test(size=(120, 30)) as pilot:
        await ready(pilot)
        await paste(pilot, str(image_file(folder)))
        await attached(pilot, "fox.png")
        await until(pilot, lambda: status(app) == "fake cannot see images. /models shows others")
        await say(pilot, "What is this?")
        await until(pilot, lambda: status(app).startswith("fake cannot see images. Take the image away"))
        assert composer(app).text == "What is this?"
        await attached(pilot, "fox.png")
        assert not engine.asked


async def test_an_image_without_a_question_waits_for_one(folder: Path) -> None:
    engine = seeing()
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await paste(pilot, str(image_file(folder)))
        await attached(pilot, "fox.png")
        await pilot.press("enter")
        await until(pilot, lambda: status(app).startswith("write a question to go with the image"))
        await attached(pilot, "fox.png")


async def test_images_of_the_command_line_go_with_the_first_message(folder: Path) -> None:
    engine = seeing()
    app = app_of(engine, images=[image_file(folder)])
    async with app.run_test() as pilot:
        await attached(pilot, "fox.png")
        await until(pilot, lambda: status(app).startswith("fox.png goes with the next message"))
        await ask(pilot, "What is this?")
        assert len(asked_with(engine)) == 1


def test_a_file_of_the_command_line_that_is_no_image_is_told_before_there_is_a_screen(folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG")
    for name, said in (("nope.png", "nope.png: check its name"), ("broken.png", "is no image that can be read")):
        with pytest.raises(Failure, match=said) as raised:
            chat(load({}, {}), images=[image_file(folder), folder / name])
        assert raised.value.code == Exit.INPUT


async def test_so_many_and_no_more(folder: Path) -> None:
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)
        paths = [image_file(folder, f"{place}.png", color=f"rgb({place},0,0)") for place in range(MOST + 1)]
        await paste(pilot, "\n".join(map(str, paths)))
        await until(pilot, lambda: status(app) == f"a message holds {MOST} images at most")
        assert len(chips(app)) == MOST


async def test_editing_a_question_brings_its_images_back_and_escape_lets_go(folder: Path) -> None:
    engine, path = seeing(), image_file(folder)
    app = app_of(engine)
    async with app.run_test() as pilot:
        await ready(pilot)
        await paste(pilot, str(path))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        path.unlink()
        await say(pilot, "/edit")
        await attached(pilot, "fox.png")
        await pilot.press("escape")
        await until(pilot, lambda: chips(app) == [])
        await say(pilot, "/edit")
        await attached(pilot, "fox.png")
        await pilot.press("enter")
        await answered(pilot)
        assert len(engine.asked) == 2
        assert asked_with(engine)[0].parent == images_folder()
        assert [image.digest for image in app.chat._conversation.path[0].images] == [asked_with(engine)[0].name]


async def test_an_image_that_is_gone_is_said_and_left_out(folder: Path) -> None:
    engine, path = seeing(), image_file(folder)
    app = app_of(engine)
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await paste(pilot, str(path))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        path.unlink()
        for copy in images_folder().iterdir():
            copy.unlink()
        await say(pilot, "/again")
        await answered(pilot)
        assert engine.asked[-1][-1]["content"] == "What is this?"
        await until(pilot, lambda: "The model answers without fox.png: file and copy are gone." in shown(app))
        await until(pilot, lambda: "fox.png 48×32, which is gone" in shown(app))


async def test_editing_says_which_images_are_gone(folder: Path) -> None:
    path = image_file(folder)
    app = app_of(seeing())
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await paste(pilot, str(path))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        path.unlink()
        for copy in images_folder().iterdir():
            copy.unlink()
        await say(pilot, "/edit")
        await until(pilot, lambda: status(app) == "fox.png cannot be attached again: file and copy are gone")
        assert chips(app) == [] and composer(app).text == "What is this?"


async def test_an_image_that_is_taken_away_while_the_model_is_asked_of_it(folder: Path) -> None:
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)

        async def why_not_see() -> str | None:
            await composer(app).take_images_away()
            return None

        app.chat.why_not_see = why_not_see  # type: ignore[method-assign]
        assert await app.chat.attach([image_file(folder)])
        assert chips(app) == []


async def test_a_start_removes_what_was_deleted_long_ago(folder: Path) -> None:
    image = attach(image_file(folder, "old.png", color="purple"))
    with Store(history_file()) as store:
        copies = copies_beside(store)
        kept = KeptImage("/old.png", image.digest, 48, 32)
        question = store.add_question(None, None, "What?", images=[kept])
        copies.keep(image)
        assert copies.find(image.digest)
        store.delete(question.conversation)
        store._db.execute("UPDATE conversations SET deleted = deleted - ?", (KEPT_DELETED_SECONDS + 1,))
        async with app_of(seeing()).run_test() as pilot:
            await ready(pilot)
            await until(pilot, lambda: copies.find(image.digest) is None)
        with pytest.raises(LookupError):
            store.conversation(question.conversation)


async def test_another_model_that_cannot_see_goes_on_with_the_chat(folder: Path) -> None:
    engine = seeing()
    app = app_of(engine)
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await paste(pilot, str(image_file(folder)))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        engine.sees = False
        await ask(pilot, "And that?")
        assert [message["content"] for message in engine.asked[-1] if message["role"] == "user"] == [
            "What is this?", "And that?",
        ]  # fmt: skip
        assert "fake cannot see images. It answers without those of this chat." in shown(app)


async def test_without_a_history_no_copy_is_made(folder: Path) -> None:
    before = set(images_folder().iterdir()) if images_folder().exists() else set()
    engine, path = seeing(), image_file(folder, color="pink")
    app = app_of(engine, history=False)
    async with app.run_test() as pilot:
        await ready(pilot)
        await paste(pilot, str(path))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        assert asked_with(engine) == [path]
    assert (set(images_folder().iterdir()) if images_folder().exists() else set()) == before


async def test_a_name_with_markup_and_control_characters_is_shown_plainly(folder: Path) -> None:
    app = app_of(seeing())
    async with app.run_test() as pilot:
        await ready(pilot)
        await composer(app).attach(attach(image_file(folder, "[bold]a\x1b[2J.png")))
        await until(pilot, lambda: chips(app) == ["✕ [bold]a.png 48×32"])
        assert len(screen(app).query(Chip)) == 1


@pytest.mark.parametrize("theme", ["night", "day", "mono"])
async def test_the_looks_of_a_chip_and_of_an_image_that_was_asked_about(theme: str, folder: Path) -> None:
    app = app_of(seeing(), theme=theme)
    async with app.run_test(size=(80, 32)) as pilot:
        await ready(pilot)
        await paste(pilot, str(image_file(folder)))
        await attached(pilot, "fox.png")
        await ask(pilot, "What is this?")
        await until(pilot, lambda: screen(app).query_one(ImageLine).query_one(Preview).content)
        await paste(pilot, str(image_file(folder, "kite.png", (64, 64), "red")))
        await until(pilot, lambda: chips(app) == ["✕ kite.png 64×64"])
        assert transcript(app)
        await check(pilot, f"images-{theme}")
