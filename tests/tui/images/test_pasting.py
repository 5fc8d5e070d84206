"""Paths of image files in what is pasted, in the ways of many terminals."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.images.pasting import SUFFIXES, named_file, pasted_images

NAMES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="/\x7f", exclude_categories=["Cc", "Zs"])
    | st.just(" "),
    min_size=1,
    max_size=12,
).filter(lambda name: name == name.strip() and name not in (".", ".."))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dropped")


def made(folder: Path, name: str) -> Path:
    path = folder / name
    path.touch()
    return path


def as_it_is(path: Path) -> str:
    return str(path)


def in_single_quotes(path: Path) -> str:
    return shlex.quote(str(path))


def in_double_quotes(path: Path) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", str(path)) + '"'


def with_backslashes(path: Path) -> str:
    return re.sub(r"([^\w/.-])", r"\\\1", str(path))


def as_an_address(path: Path) -> str:
    return "file://" + quote(str(path))


WAYS = (as_it_is, in_single_quotes, with_backslashes, as_an_address)


@given(NAMES, st.sampled_from(SUFFIXES), st.sampled_from(WAYS), st.sampled_from(["", "\n", " "]))
def test_a_file_in_any_way(folder: Path, name: str, suffix: str, way: object, end: str) -> None:
    path = made(folder, name + suffix)
    assert callable(way)
    assert pasted_images(way(path) + end, folder) == [path]


@given(st.lists(NAMES, min_size=2, max_size=4), st.sampled_from(WAYS[1:]), st.sampled_from([" ", "\n", "\r\n"]))
def test_several_files(folder: Path, names: list[str], way: object, between: str) -> None:
    paths = [made(folder, f"{name}.png") for name in names]
    assert callable(way)
    assert pasted_images(between.join(way(path) for path in paths), folder) == paths


@given(st.text(max_size=60))
def test_a_text_is_no_file(folder: Path, text: str) -> None:
    assert pasted_images(text, folder) == []


@given(NAMES)
def test_a_file_in_a_sentence_is_a_sentence(folder: Path, name: str) -> None:
    path = made(folder, f"{name}.png")
    assert pasted_images(f"Look at {shlex.quote(str(path))} please", folder) == []


def test_double_quotes_home_and_relative_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(folder, "my $fox `1`.JPG")
    assert pasted_images(in_double_quotes(path), folder) == [path]
    assert pasted_images("'my $fox `1`.JPG'", folder) == [path]
    monkeypatch.setenv("HOME", str(folder))
    assert pasted_images("~/my $fox `1`.JPG", folder) == [path]
    assert pasted_images("file://localhost" + quote(str(path)), folder) == [path]


@pytest.mark.parametrize(
    "text", ["", " ", "'", "fox", "no.png", "file://elsewhere/fox.png", "file://[", "~no-such-user/x.png", "a\0.png",
             "x" * 300 + ".png", "http://example.org/fox.png", "fox.png\n" * 5000],
)  # fmt: skip
def test_what_names_no_file_here(folder: Path, text: str) -> None:
    assert pasted_images(text, folder) == []


def test_folders_and_other_files_are_not_meant(folder: Path) -> None:
    (folder / "deep.png").mkdir(exist_ok=True)
    made(folder, "notes.txt")
    assert pasted_images("deep.png", folder) == []
    assert pasted_images("notes.txt", folder) == []


def test_a_command_takes_a_name_in_any_way_and_keeps_one_that_is_not_there(folder: Path) -> None:
    path = made(folder, "a fox.png")
    for words in ("a fox.png", "'a fox.png'", "a\\ fox.png", str(path), as_an_address(path)):
        assert named_file(words, folder) == path
    assert named_file("no such.png", folder) == folder / "no such.png"
    assert named_file("~no-such-user/x", folder) == folder / "~no-such-user/x"


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_a_name_that_is_not_utf_8(folder: Path) -> None:
    path = folder / os.fsdecode(b"f\xffx.png")
    try:
        path.touch()
    except OSError:
        pytest.skip("such names cannot be had here")
    assert pasted_images("file://" + quote(os.fsencode(path)), folder) == [path]
