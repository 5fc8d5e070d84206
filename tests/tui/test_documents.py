"""Text files: what is read is written back, whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat import documents
from dgchat.documents import Contents, Document, DocumentError, fit_newlines, newline_of
from dgchat.exits import Exit
from dgengine.infill.request import splice

# Combining marks, controls of direction, an emoji of several characters, and every kind of newline.
AWKWARD = st.sampled_from(
    ["e\u0301", "\u202e", "👩\u200d🚀", "\r\n", "\r", "\n", "\t", "\u2028", "\x0c", "\ufeff", "한", "a"]
)
TEXTS = st.lists(AWKWARD | st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


def made(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@given(text=TEXTS, bom=st.booleans())
def test_what_is_read_is_written_back(folder: Path, text: str, bom: bool) -> None:
    data = b"\xef\xbb\xbf" * bom + text.encode()
    path = made(folder / "a.txt", data)
    document = Document.read(path)
    document.write(document.text)
    assert path.read_bytes() == data
    assert not document.changed_on_disk()
    assert [file.name for file in folder.iterdir()] == ["a.txt"]


@given(text=TEXTS, bom=st.booleans(), new=TEXTS, ends=st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_no_byte_outside_a_span_changes(folder: Path, text: str, bom: bool, new: str, ends: tuple[int, int]) -> None:
    path = made(folder / "b.txt", b"\xef\xbb\xbf" * bom + text.encode())
    document = Document.read(path)
    start, end = sorted(min(place, len(document.text)) for place in ends)
    old, span = path.read_bytes(), document.text[start:end].encode()
    first = 3 * document.bom + len(document.text[:start].encode())
    fitted = fit_newlines(new, document)
    document.write(splice(document.text, [(start, end)], [fitted]))
    assert path.read_bytes() == old[:first] + fitted.encode() + old[first + len(span) :]


@pytest.mark.parametrize(
    ("text", "newline"),
    [
        ("", "\n"), ("a", "\n"), ("a\nb", "\n"), ("a\r\nb\r\n", "\r\n"), ("a\rb", "\r"),
        ("a\r\nb\n", "mixed"), ("a\n\rb", "mixed"),
    ],
)  # fmt: skip
def test_the_kind_of_newline(text: str, newline: str) -> None:
    assert newline_of(text) == newline
    wanted = "x\ny\r\nz" if newline == "mixed" else f"x{newline}y{newline}z"
    assert fit_newlines("x\ny\r\nz", Contents(text)) == wanted


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\0b", "is a binary file (a zero byte at offset 1)"),
        (bytes(range(1, 32)) * 9, "is a binary file (many control characters)"),
        (b"caf\xe9!", "is not UTF-8 text: byte 0xe9 at offset 3"),
        (b"\xef\xbb\xbfcaf\xe9!", "byte 0xe9 at offset 6"),
        ("text".encode("utf-16"), "is not UTF-8 text but UTF-16"),
    ],
)
def test_what_is_no_text(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(DocumentError) as failed:
        Document.read(made(tmp_path / "file", data))
    assert said in str(failed.value) and failed.value.code is Exit.INPUT


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, said in [("none", "There is no file"), (".", "is a folder"), ("pipe", "a device or a pipe"),
                           ("socket", "a device or a pipe"), ("a\0b", "cannot be read")]:  # fmt: skip
            with pytest.raises(DocumentError, match=said):
                Document.read(tmp_path / name)


def test_a_log_with_some_escape_sequences_is_text(tmp_path: Path) -> None:
    assert Document.read(made(tmp_path / "log", b"\x1b[31mred\x1b[0m and \x07 text that is quite long")).text


def test_what_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LIMIT", 9)
    assert Document.read(made(tmp_path / "file", b"123456789")).text
    with pytest.raises(DocumentError, match="longer than"):
        Document.read(made(tmp_path / "file", b"1234567890"))


def test_a_file_of_ten_megabytes_is_read_and_written(tmp_path: Path) -> None:
    data = "A line with ünïcode in it.\n".encode() * 350_000
    document = Document.read(made(tmp_path / "file", data))
    document.write(document.text + "x")
    assert (tmp_path / "file").stat().st_size == len(data) + 1


def test_what_others_do_is_noticed(tmp_path: Path) -> None:
    path = made(tmp_path / "file", b"one")
    document = Document.read(path)
    os.utime(path, (1, 1))
    assert not document.changed_on_disk()  # the same bytes at another time
    path.write_bytes(b"two")
    assert document.changed_on_disk()
    with pytest.raises(DocumentError, match="has been changed on disk"):
        document.write("mine")
    assert path.read_bytes() == b"two" and document.text == "one"
    document.write("mine", over=True)
    assert path.read_bytes() == b"mine" and document.text == "mine" and not document.changed_on_disk()
    path.unlink()
    assert document.changed_on_disk()


def test_a_change_that_size_and_time_hide_is_noticed_before_writing(tmp_path: Path) -> None:
    path = made(tmp_path / "file", b"one")
    document, found = Document.read(path), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(DocumentError, match="has been changed on disk"):
        document.write("mine")


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o640])
def test_mode_and_link_stay(tmp_path: Path, mode: int) -> None:
    path = made(tmp_path / "file", b"one")
    path.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to("file")
    document = Document.read(link)
    document.write("two")
    assert link.is_symlink() and path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_read_only_file_is_refused_even_to_root(tmp_path: Path) -> None:
    path = made(tmp_path / "file", b"one")
    path.chmod(0o444)
    document = Document.read(path)
    assert not document.writable
    with pytest.raises(DocumentError, match="is read-only"):
        document.write("two")
    assert path.read_bytes() == b"one"


def test_a_new_file(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        document = Document.create(tmp_path / "new")
        assert document.text == "" and document.writable and not document.changed_on_disk()
        document.write("one\n")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    Document.create(tmp_path / "new").write("two\n")  # what was there when it was created is written over
    assert (tmp_path / "new").read_bytes() == b"two\n"


def test_a_new_file_that_someone_else_has_made_meanwhile(tmp_path: Path) -> None:
    document = Document.create(tmp_path / "new")
    made(tmp_path / "new", b"theirs")
    assert document.changed_on_disk()
    with pytest.raises(DocumentError, match="has been changed on disk"):
        document.write("mine")
    with pytest.raises(DocumentError, match="There is no folder"):
        Document.create(tmp_path / "none" / "new").write("mine")
    with pytest.raises(DocumentError, match="is a folder"):
        Document.create(tmp_path)


@pytest.mark.parametrize("failing", ["write", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_lost_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    path = made(tmp_path / "file", b"one")
    document = Document.read(path)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        if failing == "write":
            patched.setattr(documents.os, "fdopen", fail)  # type: ignore[attr-defined]
        else:
            patched.setattr(documents.os, failing, fail)  # type: ignore[attr-defined]
        with pytest.raises((DocumentError, KeyboardInterrupt)) as failed:
            document.write("two")
    assert isinstance(failed.value, KeyboardInterrupt) or "No space left on device" in str(failed.value)
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path] and document.text == "one"


def test_a_lone_surrogate_is_not_written(tmp_path: Path) -> None:
    document = Document.read(made(tmp_path / "file", b"one"))
    with pytest.raises(DocumentError, match="lone surrogate at 2"):
        document.write("ab\ud800")
    assert (tmp_path / "file").read_bytes() == b"one"
