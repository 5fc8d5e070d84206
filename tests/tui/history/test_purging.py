"""What was deleted long ago is removed for good, with the copies of its images, also where others write meanwhile."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from dgchat.history.command import history
from dgchat.history.purging import copies_beside, purge
from dgchat.history.records import KeptImage
from dgchat.history.store import KEPT_DELETED_SECONDS, Store
from dgchat.images.attaching import Attachment, attach
from dgchat.images.copies import Copies
from dgchat.paths import history_file, images_folder
from tests.tui.images.files import image_file


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def images(tmp_path: Path) -> list[Attachment]:
    return [attach(image_file(tmp_path, f"{color}.png", color=color)) for color in ("red", "blue")]


def chat_with(store: Store, images: Sequence[Attachment]) -> int:
    kept = [KeptImage(str(image.path), image.digest, image.width, image.height) for image in images]
    chat = store.add_question(None, None, "What is this?", images=kept).conversation
    for image in images:
        copies_beside(store).keep(image)
    return chat


def delete(store: Store, chat: int, ago: float = KEPT_DELETED_SECONDS + 60) -> None:
    store.delete(chat)
    store._db.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (time.time() - ago, chat))


def there() -> set[str]:
    return {path.name for path in images_folder().iterdir()}


def test_copies_go_with_the_last_chat_that_needs_them(images: list[Attachment]) -> None:
    red, blue = images
    with Store(history_file()) as store:
        first, second = chat_with(store, [red, blue]), chat_with(store, [blue])
        delete(store, first)
        purge(store, copies_beside(store))
        assert there() == {blue.digest}
        delete(store, second)
        purge(store, copies_beside(store))
        assert there() == set()
        assert not store.conversations()


def test_what_can_still_be_brought_back_stays(images: list[Attachment]) -> None:
    with Store(history_file()) as store:
        chat = chat_with(store, images)
        delete(store, chat, ago=KEPT_DELETED_SECONDS - 60)
        purge(store, copies_beside(store))
        store.restore(chat)
        assert there() == {image.digest for image in images}


def test_no_other_instance_can_take_an_image_up_while_its_copy_goes(images: list[Attachment]) -> None:
    red, _ = images
    seen = []
    with Store(history_file()) as store, Store(history_file()) as other:
        delete(store, chat_with(store, [red]))
        other._db.execute("PRAGMA busy_timeout = 0")

        def forget(digest: str) -> None:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                chat_with(other, [red])
            seen.append(digest)

        assert store.purge(forget=forget) == 1
        assert seen == [red.digest]
        chat_with(other, [red])  # first the question, then the copy
        assert there() == {red.digest}


def test_a_database_that_others_write_is_purged_another_time(images: list[Attachment]) -> None:
    with Store(history_file()) as store, Store(history_file()) as other:
        chat = chat_with(store, images)
        delete(store, chat)
        store._db.execute("PRAGMA busy_timeout = 0")
        with other._transaction():
            purge(store, copies_beside(store))
        assert len(there()) == 2
        purge(store, copies_beside(store))
        assert there() == set()


def test_nothing_to_do_waits_for_nobody() -> None:
    with Store(history_file()) as store, Store(history_file()) as other:
        store._db.execute("PRAGMA busy_timeout = 0")
        with other._transaction():
            assert store.purge() == 0


def test_a_copy_that_cannot_be_removed_is_no_failure(images: list[Attachment], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: Path) -> None:
        raise PermissionError(path)

    with Store(history_file()) as store:
        delete(store, chat_with(store, images))
        monkeypatch.setattr(Path, "unlink", refuses)
        purge(store, copies_beside(store))
        assert not store.conversations()


def test_a_store_in_memory_has_no_copies(images: list[Attachment]) -> None:
    with Store(None) as store:
        copies_beside(store).keep(images[0])
    assert not images_folder().exists()
    Copies(None).remove(images[0].digest)


def test_the_command_purges_as_well(images: list[Attachment], capsys: pytest.CaptureFixture[str]) -> None:
    with Store(history_file()) as store:
        delete(store, chat_with(store, images))
        history([], as_json=False)
        assert there() == set()
    assert "no chats" in capsys.readouterr().err
