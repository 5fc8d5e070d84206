"""What stands in for what cannot stand on a screen: nothing is lost, and nothing gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.editor.stand_ins import StandIns

# As the text of a file that is UTF-8 may be; more often than chance would have it, what is hard.
HARD = "\r\n\t\x00\x07\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\u200d\U0010fc00\U0010fdff\U0010fe0aa é"
TEXTS = st.text(st.one_of(st.sampled_from(HARD), st.characters(exclude_categories=["Cs"])))


@given(TEXTS)
def test_a_file_that_is_not_changed_keeps_every_byte(text: str) -> None:
    stand_ins = StandIns(text)
    assert stand_ins.read(stand_ins.show(text)) == text


@given(TEXTS)
def test_lines_of_the_editor_are_those_of_python(text: str) -> None:
    shown = StandIns(text).show(text)
    assert [*shown.splitlines(), *([""] if shown.endswith("\n") or not shown else [])] == shown.split("\n")


@given(TEXTS)
def test_nothing_that_is_drawn_is_a_control(text: str) -> None:
    stand_ins = StandIns(text)
    drawn = stand_ins.show(text).translate(stand_ins.signs)
    assert not [char for char in drawn if unicodedata.category(char) == "Cc" and char not in "\n\t"]
    assert len(drawn) == len(stand_ins.show(text))


@given(TEXTS, TEXTS, st.data())
def test_lines_that_are_not_changed_keep_their_endings(text: str, new: str, data: st.DataObject) -> None:
    stand_ins = StandIns(text)
    lines = stand_ins.show(text).split("\n")
    place = data.draw(st.integers(0, len(lines)))
    before, after = "\n".join(lines[:place]), "\n".join(lines[place:])
    changed = stand_ins.read("\n".join([*lines[:place], stand_ins.take(new), *lines[place:]]))
    assert changed.startswith(stand_ins.read(before)) and changed.endswith(stand_ins.read(after))


@given(TEXTS, st.text())
def test_what_comes_from_elsewhere_holds_no_stand_in(text: str, new: str) -> None:
    stand_ins = StandIns(text)
    taken = stand_ins.take(new)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in taken if char not in "\n\t")
    assert stand_ins.take(stand_ins.read(taken).replace(stand_ins.ending, "\n")) == taken


@given(TEXTS)
def test_the_model_reads_a_text_of_the_same_length(text: str) -> None:
    stand_ins = StandIns(text)
    shown = stand_ins.show(text)
    plain = stand_ins.plain(shown)
    assert len(plain) == len(shown) and not set(map(ord, plain)) & set(stand_ins.signs)


@pytest.mark.parametrize(
    ("text", "ending", "shown"),
    [
        ("a\r\nb\r\n", "\r\n", "a\nb\n"),
        ("a\nb\n", "\n", "a\nb\n"),
        ("a\rb", "\r", "a\nb"),
        ("a\nb\r\nc\n", "\n", "a\nb␍\nc\n"),
        ("a\r\nb\nc\r\n", "\r\n", "a\nb␊\nc\n"),
        ("red \x1b[31m", "\n", "red ␛[31m"),
        ("x\x7fy\x85z\u202e", "\n", "x␡y␦z␦"),
        ("", "\n", ""),
    ],
)  # fmt: skip
def test_what_is_shown(text: str, ending: str, shown: str) -> None:
    stand_ins = StandIns(text)
    assert stand_ins.ending == ending and stand_ins.show(text).translate(stand_ins.signs) == shown
    assert stand_ins.mixed is (shown.count("␍") + shown.count("␊") > 0)


def test_a_text_that_uses_the_highest_range_gets_another() -> None:
    text = "\U0010fc1b\x1b"
    stand_ins = StandIns(text)
    assert stand_ins.show(text)[0] == text[0] and stand_ins.show(text)[1] not in text
    assert stand_ins.read(stand_ins.show(text)) == text
