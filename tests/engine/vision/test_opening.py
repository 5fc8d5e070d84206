"""Image files, good and bad."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dgengine.errors import ImageError
from dgengine.vision import opening
from tests.engine.vision.seeing import picture_bytes, picture_file


def opened(data: bytes, name: str = "x.png") -> Image.Image:
    return opening.decode(data, name)


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("JPEG", {}), ("WEBP", {"lossless": True})])
def test_the_three_formats(form: str, options: dict[str, bool]) -> None:
    assert opened(picture_bytes(40, 30, form=form, **options)).size == (40, 30)


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused_whatever_they_are_called(form: str) -> None:
    with pytest.raises(ImageError, match=r"x\.png is no image that can be read: give a PNG, JPEG or WebP image\."):
        opened(picture_bytes(form=form))


@given(st.binary(max_size=200))
def test_anything_else_is_one_sentence(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^x\.png [^\n]*\.$"):
        opened(data)


@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.floats(0.0, 0.95))
def test_a_file_that_is_cut_short(form: str, share: float) -> None:
    data = picture_bytes(form=form)
    with pytest.raises(ImageError, match=r"^x\.png [^\n]*\.$"):
        opened(data[: int(len(data) * share)])


@given(st.data())
def test_a_file_with_a_changed_byte_opens_or_is_refused(data: st.DataObject) -> None:
    file = bytearray(picture_bytes(16, 16, form=data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))))
    place = data.draw(st.integers(0, len(file) - 1))
    file[place] ^= data.draw(st.integers(1, 255))
    try:
        opened(bytes(file))
    except ImageError as error:
        assert "\n" not in str(error)


def png_of(width: int, height: int) -> bytes:
    """A PNG that announces a size, and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1)])
def test_a_decompression_bomb(width: int, height: int) -> None:
    with pytest.raises(ImageError, match="more than 89 million pixels: make it smaller"):
        opened(png_of(width, height))


def test_a_bomb_among_a_png_s_texts() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("comment", "a" * 80_000_000, zip=True)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG", pnginfo=info)
    with pytest.raises(ImageError):
        opened(file.getvalue())


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (20, 10), color) for color in ("red", "blue", "green")]
    for form in ("PNG", "WEBP"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:], lossless=True)
        assert opened(file.getvalue()).convert("RGB").getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_stands_upright_as_its_exif_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 10))  # the upper left quarter
    image.save(file, "PNG", exif=exif)
    found = opened(file.getvalue())
    assert found.size == opening.measure(file.getvalue(), "x.png")
    assert found.size == ((40, 20) if orientation < 5 else (20, 40))
    corners = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    x, y = corners[orientation]
    assert found.convert("L").getpixel((x * (found.width - 1), y * (found.height - 1))) == 255


def test_exif_that_is_damaged_is_passed_over() -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 20)
    assert opened(file.getvalue()).size == (4, 4)


def test_sixteen_bits_of_grey_are_scaled() -> None:
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(file, "PNG")
    assert np.asarray(opened(file.getvalue())).tolist() == [[0, 128, 255]]


def test_a_large_jpeg_is_decoded_smaller_where_that_suffices() -> None:
    data = picture_bytes(1600, 1200, form="JPEG")
    assert opening.decode(data, "x.jpg").size == (1600, 1200)
    assert opening.decode(data, "x.jpg", (100, 100)).size == (200, 150)


# ---- files


def refused(path: Path) -> str:
    with pytest.raises(ImageError) as raised:
        opening.read_file(path)
    return str(raised.value)


def test_the_bytes_of_a_file(tmp_path: Path) -> None:
    assert opening.read_file(picture_file(tmp_path)) == picture_bytes()


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.png") == f"There is no image file {opening.shown(str(tmp_path / 'no.png'))}: " \
        "check its name."  # fmt: skip
    (tmp_path / "folder.png").mkdir()
    assert refused(tmp_path / "folder.png") == "folder.png is a folder: give a PNG, JPEG or WebP image."
    (tmp_path / "empty.png").touch()
    assert refused(tmp_path / "empty.png") == "empty.png is empty: give a PNG, JPEG or WebP image."
    assert "cannot be read" in refused(tmp_path / "a\0b.png")
    assert "cannot be read" in refused(tmp_path / ("a" * 300))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refused(tmp_path / "pipe.png") == "pipe.png is a device or a pipe: give a PNG, JPEG or WebP image."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    path.chmod(0)
    assert refused(path) == "picture.png cannot be read: Permission denied."


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(opening.LARGEST_FILE + 1)
    assert refused(path) == "large.png is larger than 32 MiB: make it smaller."


@given(st.text(min_size=1))
def test_a_name_is_shown_on_one_line_without_control_characters(name: str) -> None:
    shown = opening.shown(name)
    assert shown.isprintable()
    assert len(shown) <= 81
