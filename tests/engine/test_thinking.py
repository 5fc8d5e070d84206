"""Thoughts told from answers, however the tokens come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgengine.thinking import ThoughtMarks, ThoughtParser

OPEN, CLOSE, END = 300, 301, 302
MARKS = ThoughtMarks(OPEN, CLOSE)
SIGNS = {"<": OPEN, ">": CLOSE, "$": END}


def spell(ids: Sequence[int]) -> list[bytes]:
    return [bytes([id_]) if id_ < 256 else b"" for id_ in ids]


def ids_of(text: str) -> list[int]:
    """Bytes as tokens; `<` opens a channel, `>` closes it, `$` ends the answer."""
    return [id_ for char in text for id_ in ([SIGNS[char]] if char in SIGNS else char.encode())]


def parsed(pieces: Iterable[Iterable[int]], asked: bool = True, marks: ThoughtMarks | None = MARKS) -> tuple[str, str]:
    parser = ThoughtParser(spell, marks, asked)
    for piece in pieces:
        parser.feed(piece)
    parser.close()
    return parser.thought, parser.answer


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<thought\nTwo and two.>Four.$", "Two and two.", "Four."),
        ("<thought\n>Four.", "", "Four."),
        ("<thought>Four.", "", "Four."),
        ("<thought\n\n  Two.\n\n>\n\nFour.\n", "Two.", "Four.\n"),
        ("Four.", "", "Four."),
        ("\nFour.", "", "\nFour."),
        ("", "", ""),
        ("<thought\nSo far", "So far", ""),
        ("<thou", "thou", ""),
        ("<thought", "", ""),
        ("<", "", ""),
        ("<thoughtful people>Yes.", "thoughtful people", "Yes."),
        ("<thou>Yes.", "thou", "Yes."),
        ("<final\nFour.>", "final\nFour.", ""),
        ("Well,<thought\nhm> four.", "hm", "Well, four."),
        ("<thought\nOne.>A.<thought\nTwo.>B.", "One.\n\nTwo.", "A.B."),
        ("<thought\nOne.<thought\nTwo.>B.", "One.\n\nTwo.", "B."),
        ("<thought\nOne.><thought\n >B.", "One.", "B."),
        ("Four.>And so on.", "", "Four.And so on."),
        ("><thought\nhm>four", "hm", "four"),
        ("thought\nFour.", "", "thought\nFour."),
    ],
)
def test_thought_and_answer(text: str, thought: str, answer: str) -> None:
    assert parsed([ids_of(text)]) == (thought, answer)


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<thought\nFour.", "", "Four."),
        ("<Four.$", "", "Four."),
        ("<thought\nhm>Four.<thought\nFive.", "hm", "Four.\nFive."),
        ("<thought\nhm>Four.\n<thought\nFive.", "hm", "Four.\nFive."),
        ("<thought\n", "", ""),
        ("<thought\nhm>Four.", "hm", "Four."),
    ],
)
def test_a_header_that_leaks_where_no_thought_was_asked_for_hides_no_answer(
    text: str, thought: str, answer: str
) -> None:
    assert parsed([ids_of(text)], asked=False) == (thought, answer)


def test_a_model_without_marks_only_answers() -> None:
    assert parsed([ids_of("<thought\nhm>Four.")], marks=None) == ("", "thought\nhmFour.")


def test_a_character_that_a_mark_cuts_through_is_replaced_and_no_neighbour_takes_its_rest() -> None:
    euro = list("€".encode())
    assert parsed([[OPEN, *b"thought\n", euro[0]], [CLOSE, euro[1], *b"a"]]) == ("\ufffd", "\ufffda")


def test_a_character_spread_over_two_blocks_comes_with_the_second() -> None:
    parser = ThoughtParser(spell, MARKS)
    first, *rest = "€".encode()
    parser.feed([*b"a", first])
    assert parser.answer == "a"
    parser.feed(rest)
    assert parser.answer == "a€"


# Marks, headers and white space come often, so that most examples have channels of some kind.
_ids = st.lists(
    st.one_of(
        st.sampled_from([[OPEN], [CLOSE], [END], [*b"thought\n"], [*b"thought"], [*b"\n"], [*b" "], ids_of("é€")]),
        st.integers(0, 255).map(lambda byte: [byte]),
    ),
    max_size=30,
).map(lambda runs: [id_ for run in runs for id_ in run])


@given(ids=_ids, cuts=st.lists(st.integers(0, 120)), asked=st.booleans())
def test_the_cut_into_blocks_makes_no_difference(ids: list[int], cuts: list[int], asked: bool) -> None:
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    pieces = [ids[start:end] for start, end in pairwise(bounds)]
    assert parsed(pieces, asked) == parsed([ids], asked)


@given(ids=_ids, cut=st.integers(0, 120))
def test_what_was_given_stays_and_a_copy_goes_its_own_way(ids: list[int], cut: int) -> None:
    parser = ThoughtParser(spell, MARKS)
    parser.feed(ids[:cut])
    thought, answer = parser.thought, parser.answer
    other = parser.copy()
    other.feed(ids[cut:])
    other.close()
    assert other.thought.startswith(thought) and other.answer.startswith(answer)
    assert (other.thought, other.answer) == parsed([ids])
    assert (parser.thought, parser.answer) == (thought, answer)


@given(ids=_ids, asked=st.booleans())
def test_no_text_is_lost(ids: list[int], asked: bool) -> None:
    """But for white space between the parts, and headers."""
    plain = bytes(id_ for id_ in ids if id_ < 128)
    readable = [id_ for id_ in ids if id_ < 128 or id_ >= 300]
    thought, answer = parsed([readable], asked)
    kept = sorted("".join((thought + answer).split()))
    said = sorted("".join(plain.decode().split()))
    headers = (len(said) - len(kept)) // len("thought")
    assert sorted(kept + list("thought") * headers) == said and headers <= readable.count(OPEN)
