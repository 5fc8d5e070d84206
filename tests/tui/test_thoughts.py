"""Blocks of an answer, each read once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dgchat.thoughts import Blocks, words
from dgengine.thinking import ThoughtParser
from tests.tui.fakes import CLOSING, OPENING, FakeEngine


class Letters:
    """Small numbers as letters, and the marks of the fake engine."""

    thought_marks = (OPENING, CLOSING)

    def __init__(self) -> None:
        self.read = 0

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        found = [b"" if id_ in self.thought_marks else chr(97 + id_ % 26).encode() for id_ in ids]
        self.read += len(found)
        return found


_blocks = st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6)


def whole(blocks: list[list[int]], thinking: bool) -> tuple[str, str]:
    parser = ThoughtParser(Letters().spell, Letters.thought_marks, thinking)
    parser.feed(id_ for block in blocks for id_ in block)
    parser.close()
    return parser.thought, parser.answer


@given(blocks=_blocks, drafts=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=6), thinking=st.booleans())
def test_blocks_make_the_whole_also_where_they_come_again(blocks: Any, drafts: Any, thinking: bool) -> None:
    found = Blocks(Letters(), thinking)
    for number, block in enumerate(blocks, 1):
        if number <= len(drafts):
            found.take(number, drafts[number - 1])
        found.take(number, block)
        ended = found.ended()
        assert (ended.thought, ended.answer) == whole(blocks[:number], thinking)
        without = found.ended(without=number)
        assert (without.thought, without.answer) == whole(blocks[: number - 1], thinking)
    assert list(found.ids.values()) == blocks


def test_each_block_is_read_once() -> None:
    letters = Letters()
    found = Blocks(letters)
    for number in range(1, 101):
        found.take(number, [3, 4, 5])
        assert len(found.so_far().answer) == 3 * number and found.ended().answer == found.so_far().answer
    assert letters.read == 300


def test_another_number_leaves_out_nothing() -> None:
    found = Blocks(FakeEngine())
    assert found.ended(without=1).answer == ""
    found.take(1, FakeEngine().vocabulary.encode(""))
    assert found.so_far(without=2) is found.so_far()


def test_how_long_a_thought_is() -> None:
    assert [words(text) for text in ("", "one", "a b\nc")] == ["0 words", "1 word", "3 words"]
