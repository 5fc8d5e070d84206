"""Where a span lies: by lines, by its text, by bytes, between marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.documents import Contents
from dgchat.exits import Exit, Failure
from dgchat.infill.spans import MARKS, Places, find, of_bytes, of_lines, of_match, unmarked

TEXT = st.text(st.sampled_from("ab é한\n"), max_size=30)


def failure(function: object, *args: object) -> str:
    with pytest.raises(Failure) as failed:
        function(*args)  # type: ignore[operator]
    assert failed.value.code is Exit.INPUT and "\n" not in str(failed.value)
    return str(failed.value)


@pytest.mark.parametrize(
    ("text", "lines", "span"),
    [
        ("one\ntwo\nthree\n", (2, 2), "two"),
        ("one\ntwo\nthree\n", (2, 3), "two\nthree"),
        ("one\ntwo\nthree", (3, 3), "three"),
        ("one\r\ntwo\r\nthree\r\n", (1, 2), "one\r\ntwo"),
        ("one\rtwo\rthree", (2, 2), "two"),
        ("one\n\nthree", (2, 2), ""),
        ("one\r\n\r\nthree", (2, 2), ""),
        ("one\ntwo\rstill two\n", (2, 2), "two\rstill two"),
        ("a\x0cb\u2028c\nd", (1, 1), "a\x0cb\u2028c"),
        ("", (1, 1), ""),
        ("\n", (1, 1), ""),
    ],
)
def test_lines(text: str, lines: tuple[int, int], span: str) -> None:
    start, end = of_lines(Contents(text), lines, "f")
    assert text[start:end] == span


def test_lines_that_are_not_there() -> None:
    assert failure(of_lines, Contents("a\nb\n"), (3, 3), "f") == "f has 2 lines: line 3 is not within it."
    assert failure(of_lines, Contents("a"), (1, 4), "f") == "f has 1 line: lines 1-4 are not within it."


@given(st.lists(st.sampled_from(["", "a", "b c", "é"]), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_are_those_that_an_editor_shows(lines: list[str], newline: str) -> None:
    text = newline.join(lines)
    for number, line in enumerate(lines, 1):
        if number < len(lines) or line or len(lines) == 1:
            start, end = of_lines(Contents(text), (number, number), "f")
            assert text[start:end] == line
            assert text[:start] == "".join(before + newline for before in lines[: number - 1])


def test_a_match() -> None:
    assert of_match(Contents("a fox, a box"), "fox", "f") == (2, 5)
    assert of_match(Contents("one\r\ntwo\r\n"), "one\ntwo", "f") == (0, 8)
    assert failure(of_match, Contents("a fox"), "owl", "f") == "'owl' does not stand in f; give it as it is there."
    assert "'fox' stands 2 times in f (1:3, 2:1)" in failure(of_match, Contents("a fox\nfox"), "fox", "f")
    assert "(1:1, 1:2)" in failure(of_match, Contents("aaa"), "aa", "f")
    assert ", 1:10, and 2 more);" in failure(of_match, Contents("a" * 12), "a", "f")
    assert len(failure(of_match, Contents("a"), "long " * 99, "f")) < 120


@given(TEXT, st.booleans(), st.integers(0, 90), st.integers(0, 90))
def test_bytes(text: str, bom: bool, one: int, other: int) -> None:
    contents = Contents(text, bom)
    data = contents.encode(text)
    first, last = sorted((one, other))
    try:
        start, end = of_bytes(contents, (first, last), "f")
    except Failure as failed:
        assert last > len(data) or "lies within" in str(failed)
    else:
        assert text[start:end].encode() == data[first:last]


def test_bytes_within_something() -> None:
    contents = Contents("é\r\n", bom=True)
    assert "Byte 4 of f lies within a character; the nearest boundaries are 3 and 5." in failure(
        of_bytes, contents, (4, 5), "f"
    )
    assert "within a line ending; the nearest boundaries are 5 and 7" in failure(of_bytes, contents, (3, 6), "f")
    assert "within the byte order mark; the nearest boundaries are 3." in failure(of_bytes, contents, (1, 3), "f")
    assert failure(of_bytes, contents, (1, 8), "f") == "f has 7 bytes: 1:8 is not within it."


def test_several_spans_come_in_order_and_apart() -> None:
    contents = Contents("one two\nthree\n")
    assert find(contents, Places(lines=((2, 2),), matches=("two",), bytes=((0, 0),)), "f") == ((0, 0), (4, 7), (8, 13))
    assert find(contents, Places(bytes=((3, 3), (0, 3))), "f") == ((0, 3), (3, 3))
    assert "lie upon each other at 1:5" in failure(find, contents, Places(lines=((1, 1),), matches=("two",)), "f")
    assert "lie upon each other" in failure(find, contents, Places(bytes=((0, 0), (0, 0))), "f")


@given(st.lists(TEXT, min_size=3, max_size=7), st.sampled_from([MARKS, ("<<", ">>"), ("@@", "@@"), ("[", "[/")]))
def test_marks(parts: list[str], marks: tuple[str, str]) -> None:
    if len(parts) % 2 == 0:
        parts = parts[1:]
    parts = ["x" + part for part in parts]  # spans and what is between them are not empty
    marked = "".join(part + mark for part, mark in zip(parts, marks * 4, strict=False))
    marked = marked[: len(marked) - len(marks[(len(parts) - 1) % 2])]
    plain, spans = unmarked(marked, marks)
    assert plain == "".join(parts)
    assert [plain[start:end] for start, end in spans] == parts[1::2]


def test_marks_that_do_not_stand_in_pairs() -> None:
    assert unmarked("⟦⟧") == ("", ((0, 0),))
    assert "There is no ⟦…⟧ in the text" in failure(unmarked, "plain")
    assert "There is no ⟦…⟧ in the text" in failure(unmarked, "")
    assert failure(unmarked, "a\n⟧") == "⟧ closes nothing at 2:1; nothing was rewritten."
    assert "⟦ is not closed at 1:4" in failure(unmarked, "⟦⟧ ⟦b")
    assert "⟦ at 1:3 stands within the marks at 1:1" in failure(unmarked, "⟦a⟦b⟧⟧")
    assert "lie upon each other" in failure(unmarked, "a⟦⟧⟦⟧")
