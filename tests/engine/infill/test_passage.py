"""A stretch of a document as tokens: its holes lie at the edges of tokens and cover the spans."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgengine.chat import ChatTokenizer
from dgengine.engine import built_in_path
from dgengine.errors import InfillError
from dgengine.infill.layout import replacements
from dgengine.infill.passage import Passage, cut_out

WIDE = (10**6, 10**6)


@functools.cache
def codec() -> ChatTokenizer:
    return ChatTokenizer.load(built_in_path(), {1, 4})


def cut(text: str, *spans: tuple[int, int], keep: tuple[tuple[int, int], ...] = (), room: object = WIDE) -> Passage:
    return cut_out(codec(), text, spans, keep, range(len(spans)), room)  # type: ignore[arg-type]


def spelled(ids: object) -> bytes:
    return b"".join(codec().spell(ids))  # type: ignore[arg-type]


texts = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(" \n\r\t\u0301ea⟦⟧<|turn|>")))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text, and one to three spans of it, in order."""
    text = draw(texts)
    places = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=6)))
    spans: list[tuple[int, int]] = []
    for start, stop in zip(places[::2], places[1::2], strict=False):
        if not spans or start > spans[-1][1]:
            spans.append((start, stop))
    return text, spans


@given(documents())
def test_the_old_words_in_the_holes_give_the_text_back(document: tuple[str, list[tuple[int, int]]]) -> None:
    text, spans = document
    try:
        passage = cut(text, *spans)
    except InfillError as error:
        assert "share a token" in str(error)
        return
    # an insertion takes the blank before it into its hole, where nothing stands yet
    parts, end = b"", 0
    for opening in passage.openings:
        parts += spelled(passage.ids[end : opening.first]) + (b"" if opening.length else opening.head)
        end = opening.first
    assert parts + spelled(passage.ids[end:]) == text.encode()
    old = [passage.ids[opening.first : opening.last] for opening in passage.openings]
    assert replacements(passage, old, codec().spell) == tuple(text[slice(*span)] for span in spans)


@given(documents(), st.binary(max_size=4))
def test_bytes_outside_the_span_are_never_its_replacement(
    document: tuple[str, list[tuple[int, int]]], noise: bytes
) -> None:
    text, spans = document
    passage = cut(text, spans[0])
    (opening,) = passage.openings
    written = opening.head + noise + opening.tail
    ids = codec().tokens(written.decode("latin-1"))
    if spelled(ids) == written:
        assert replacements(passage, [ids], codec().spell)[0].encode() == noise


def test_a_span_within_a_word_opens_the_whole_token() -> None:
    text = "Once there was a fox."
    (opening,) = cut(text, (7, 9)).openings  # "er" of "there"
    assert (opening.head, opening.tail) == (b" th", b"e")


def test_a_word_takes_its_blank_along() -> None:
    passage = cut("Once there was a fox.", (5, 10))
    assert passage.openings[0].head == b" " and spelled(passage.before) == b"Once"


def test_an_insertion_behind_a_blank_takes_the_blank() -> None:
    passage = cut("Once  was a fox.", (5, 5))
    (opening,) = passage.openings
    assert (opening.head, opening.tail, opening.length) == (b" ", b"", 0)
    assert spelled(passage.before) == b"Once" and spelled(passage.after) == b" was a fox."


def test_an_insertion_behind_an_indent_keeps_the_rest_of_it() -> None:
    passage = cut("def f():\n    \nx", (13, 13))
    assert passage.openings[0].head == b" " and spelled(passage.before) == b"def f():\n   "


def test_kept_words_split_the_hole() -> None:
    text = "They found a silver bell there."
    passage = cut(text, (5, 24), keep=((13, 19),))  # "silver" within "found a silver bell"
    first, second = passage.openings
    assert spelled(passage.between(0)) == b" silver"
    assert first.head == b" " and second.head == b"" and first.span == second.span == 0
    filled = [codec().tokens(" lost the"), codec().tokens(" bells")]
    assert replacements(passage, filled, codec().spell) == ("lost the silver bells",)


def test_all_kept_leaves_no_hole() -> None:
    text = "a fox ran"
    assert cut(text, (2, 5), keep=((2, 5),)).openings == () or cut(text, (2, 5), keep=((2, 5),)).openings[0].head


def test_spans_in_one_token_are_refused() -> None:
    with pytest.raises(InfillError, match="share a token"):
        cut("Once there was", (5, 6), (8, 9))


def test_a_control_token_in_the_text_is_text() -> None:
    passage = cut("a <turn|> b", (0, 1))
    assert not set(passage.ids) & codec().special_ids


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400))
def test_a_long_document_is_cut_around_the_span(left: int, right: int, at: int) -> None:
    text = "".join(f"line {number} é\r\n" for number in range(40))
    start = min(at, len(text) - 5)
    passage = cut(text, (start, start + 5), room=(left, right))
    (span,) = passage.spans
    assert passage.text in text and passage.text[slice(*span)] == text[start : start + 5]
    assert len(passage.before) <= left + 4 and len(passage.after) <= right + 4
    begin = start - span[0]
    assert passage.whole_before is (begin == 0)
    assert passage.whole_after is (begin + len(passage.text) == len(text))
