"""Images that are attached, and the copies that are kept of them."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgchat.history.export import to_markdown
from dgchat.history.records import Conversation, KeptImage, Message, NewAnswer
from dgchat.history.store import Store
from dgchat.images.attaching import attach, label_of
from dgchat.images.copies import AS_IT_IS, Copies
from dgchat.images.preview import half_blocks
from dgengine.errors import ImageError
from tests.tui.images.files import image_file


def test_an_attachment_knows_its_file(tmp_path: Path) -> None:
    path = image_file(tmp_path)
    image = attach(path)
    assert (image.path, image.width, image.height, image.data) == (path, 48, 32, path.read_bytes())
    assert image.label == "fox.png 48×32"
    assert max(image.preview.size) <= 96


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(image_file(tmp_path).read_bytes()[:60])
    with pytest.raises(ImageError, match=r"^fox\.png cannot be read: the file is damaged or cut short\.$"):
        attach(tmp_path / "fox.png")


def test_a_label_is_safe() -> None:
    assert label_of("a\x1b]0;title\x07b\n.png", 1, 2) == "ab .png 1×2"
    assert label_of("\x1b[2J", 1, 2) == "image 1×2"


def test_a_small_file_is_copied_as_it_is_and_for_oneself_alone(tmp_path: Path) -> None:
    image = attach(image_file(tmp_path))
    copies = Copies(tmp_path / "data" / "images")
    copies.keep(image)
    copies.keep(image)
    found = copies.find(image.digest)
    assert found is not None and found.read_bytes() == image.data
    if os.name != "nt":
        assert stat.S_IMODE(found.stat().st_mode) == 0o600
        assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700
    assert list(found.parent.iterdir()) == [found]


def test_a_large_file_gets_a_smaller_copy(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 4), dtype=np.uint8)
    Image.fromarray(noise, "RGBA").save(tmp_path / "large.png")
    image = attach(tmp_path / "large.png")
    assert len(image.data) > AS_IT_IS
    copies = Copies(tmp_path / "images")
    copies.keep(image)
    found = copies.find(image.digest)
    assert found is not None
    small = Image.open(io.BytesIO(found.read_bytes()))
    assert (small.size, small.mode) == ((1536, 1152), "RGBA")


def test_no_folder_keeps_nothing_and_one_that_cannot_be_had_is_no_failure(tmp_path: Path) -> None:
    image = attach(image_file(tmp_path))
    Copies(None).keep(image)
    assert Copies(None).find(image.digest) is None
    (tmp_path / "file").touch()
    copies = Copies(tmp_path / "file" / "images")
    copies.keep(image)
    assert copies.find(image.digest) is None
    assert Copies(tmp_path).find("../fox") is None


def test_a_file_of_which_no_smaller_copy_can_be_made_is_no_failure(tmp_path: Path) -> None:
    image = attach(image_file(tmp_path))
    broken = replace(image, data=image.data[: len(image.data) // 2] + bytes(AS_IT_IS))
    copies = Copies(tmp_path / "images")
    copies.keep(broken)
    assert copies.find(image.digest) is None


def test_a_preview_has_two_pixels_to_a_cell() -> None:
    from rich.console import Console

    console = Console(width=80, color_system="truecolor", force_terminal=True)
    lines = console.render_lines(half_blocks(Image.new("RGB", (100, 50), "red"), 20, 4), pad=False)
    cells = [[segment.text for segment in line] for line in lines if line]
    assert (len(cells), {len(row) for row in cells}) == (4, {16})
    assert {text for row in cells for text in row} == {"▄"}


def test_the_store_keeps_images_in_order_and_forgets_them_with_their_chat(tmp_path: Path) -> None:
    images = [KeptImage(f"/x/{place}.png", f"d{place}", place, 2) for place in range(3)]
    with Store(tmp_path / "history.db") as store:
        question = store.add_question(None, None, "What?", model="m", images=images)
        assert store.message(question.id).images == tuple(images)
        answer = store.add_answer(question.id, NewAnswer("A fox.", [1]))
        assert [message.images for message in store.path(answer.id)] == [tuple(images), ()]
        store.delete(question.conversation)
        store.purge(-1)
    with Store(tmp_path / "history.db") as store, pytest.raises(LookupError):
        store.message(question.id)


def test_an_export_links_to_images_whatever_they_are_called() -> None:
    chat = Conversation(1, "t", "m", None, 0.0, 0.0, 1, 1)
    image = KeptImage("/tmp/a [fox](x) <b>\x1b[2J\n.png", "d", 1, 1)
    text = to_markdown(chat, [Message(1, 1, None, "user", "What?", 0.0, images=(image,))])
    assert "\n![a \\[fox\\](x) \\<b\\> .png](</tmp/a %5Bfox%5D%28x%29 %3Cb%3E%1B%5B2J%0A.png>)\n" in text
    assert "\x1b" not in text
