"""The prompt from words, from a pipe, from both; and what cannot be one."""

from __future__ import annotations

import io

import pytest

from dgchat import prompt
from dgchat.exits import Exit, Failure
from dgchat.prompt import read_prompt
from tests.tui.fakes import Pipe


def test_words_are_joined() -> None:
    assert read_prompt(["What", "is", "this?"], Pipe(tty=True)) == "What is this?"
    assert read_prompt(["Hello"], None) == "Hello"


def test_piped_text_is_context_before_the_words() -> None:
    assert read_prompt(["What is this?"], Pipe(b"line 1\r\nline 2\n")) == "line 1\nline 2\n\nWhat is this?"


def test_piped_text_alone_is_the_prompt() -> None:
    assert read_prompt([], Pipe(b"\xef\xbb\xbfHello\n")) == "Hello"


def test_an_empty_pipe_leaves_the_words() -> None:
    assert read_prompt(["Hello"], Pipe(b"\n")) == "Hello"


@pytest.mark.parametrize("words", [[], [""], [" ", "\t"]])
def test_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(Failure, match="The prompt is empty") as caught:
        read_prompt(words, Pipe(b" \n"))
    assert caught.value.code is Exit.INPUT


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Failure, match=r"not UTF-8 text: byte 0xff at offset 2") as caught:
        read_prompt(["x"], Pipe(b"ab\xff"))
    assert caught.value.code is Exit.INPUT
    with pytest.raises(Failure, match="The prompt is not UTF-8 text"):
        read_prompt(["a\udcff"], None)


def test_endless_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "_MAX_BYTES", 1 << 20)
    with pytest.raises(Failure, match="longer than 1 MiB"):
        read_prompt([], Pipe(b"a" * ((1 << 20) + 1)))


def test_a_directory_as_input_is_refused() -> None:
    class Broken(Pipe):
        @property
        def buffer(self) -> io.BytesIO:
            class Directory(io.BytesIO):
                def read(self, size: int | None = -1) -> bytes:
                    raise IsADirectoryError(21, "Is a directory")

            return Directory()

    with pytest.raises(Failure, match="Standard input cannot be read: Is a directory"):
        read_prompt([], Broken(b""))
