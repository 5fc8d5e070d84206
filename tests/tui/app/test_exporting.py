"""A chat as a file: never over another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgchat.app.exporting import ExportError, write_chat
from dgchat.history.store import Store
from tests.tui.app.play import app_of, ask, keep, ready, say, status
from tests.tui.fakes import FakeEngine


@pytest.fixture
def store() -> Store:
    store = Store(None)
    keep(store, "What is a Fox, really?", "An animal.")
    return store


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the app is started."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_name_comes_from_the_title_and_is_a_new_one(store: Store, folder: Path) -> None:
    paths = [write_chat(store, 1, words, folder) for words in ("", "md", "json", " ")]
    assert [path.name for path in paths] == [
        "what-is-a-fox-really.md",
        "what-is-a-fox-really-2.md",
        "what-is-a-fox-really.json",
        "what-is-a-fox-really-3.md",
    ]
    assert "## dgchat\n\nAn animal." in paths[0].read_text("utf-8")
    assert [item["text"] for item in json.loads(paths[2].read_text("utf-8"))["tree"]][1] == "An animal."


def test_the_form_comes_from_the_words_or_the_name(store: Store, folder: Path) -> None:
    assert write_chat(store, 1, "a.json", folder).read_text("utf-8").startswith("{")
    assert write_chat(store, 1, "json my chat.txt", folder).name == "my chat.txt"
    assert write_chat(store, 1, "b.txt", folder).read_text("utf-8").startswith("# What")
    assert write_chat(store, 1, f"md {folder}/c", Path("/")).read_text("utf-8").startswith("# What")


@pytest.mark.parametrize("title", ["../../etc/passwd", "\x1b[31m", "日本", "...", "a" * 300])
def test_any_title_gives_a_plain_name_in_the_folder(store: Store, folder: Path, title: str) -> None:
    store.rename(1, title)
    path = write_chat(store, 1, "", folder)
    assert path.parent == folder and path.name.isascii() and path.name.isprintable() and len(path.name) < 50


def test_a_file_is_never_overwritten(store: Store, folder: Path) -> None:
    (folder / "mine.md").write_text("Mine.")
    with pytest.raises(ExportError, match=r"mine.md is there already; give another name\."):
        write_chat(store, 1, "mine.md", folder)
    assert (folder / "mine.md").read_text() == "Mine."


@pytest.mark.parametrize("name", ["no/such/folder.md", ".", "a\0b", "x" * 5000, "~nobody-of-this-name/x"])
def test_where_nothing_can_be_written(store: Store, folder: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"^The chat cannot be written.*: .*\.$|is there already"):
        write_chat(store, 1, name, folder)
    assert list(folder.iterdir()) == []


async def test_the_command_says_where_it_went(folder: Path) -> None:
    app = app_of(FakeEngine("Fine."))
    async with app.run_test(size=(200, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "/export")
        assert status(app) == "there is nothing to export yet"
        await ask(pilot, "Hello you")
        await say(pilot, "/export md")
        assert status(app) == f"written to {folder / 'hello-you.md'}"
        await say(pilot, "/export json out.json")
        assert status(app) == f"written to {folder / 'out.json'}"
        await say(pilot, "/export json out.json")
        assert status(app) == "out.json is there already; give another name."
    assert (folder / "hello-you.md").read_text("utf-8").endswith("## dgchat\n\nFine.\n")
    assert json.loads((folder / "out.json").read_text("utf-8"))["title"] == "Hello you"
