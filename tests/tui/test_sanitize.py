"""Nothing that a terminal obeys gets through; nothing else is lost."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.sanitize import Sanitizer, clean, clean_line, strip_controls

_DANGEROUS = "\x1b\x9b\x9d\x90\x98\x9e\x9f\x9c\x07\x18\x1a\r\x00\x7f\u202e\u2066\ud800[]0;mPX^_\\ \n\tab~é"
_ANYTHING = st.text(st.one_of(st.characters(), st.sampled_from(_DANGEROUS), st.characters(categories=["Cs"])))
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_PLAIN = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=_BIDI, include_characters="\n\t"))


def is_safe(text: str) -> bool:
    controls = {char for char in text if unicodedata.category(char) in ("Cc", "Cs")}
    overrides = any("\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in text)
    return controls <= {"\n", "\t"} and not overrides


@given(_ANYTHING)
def test_what_comes_out_is_safe(text: str) -> None:
    assert is_safe(clean(text))
    assert is_safe(strip_controls(text))
    assert "\n" not in clean_line(text)


@given(_PLAIN)
def test_plain_text_is_unchanged(text: str) -> None:
    assert clean(text) == text
    assert strip_controls(text) == text


@given(_ANYTHING)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(_ANYTHING, st.lists(st.integers(0, 40)))
def test_how_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    sanitizer = Sanitizer()
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[start:end] for start, end in pairwise(places)]
    assert "".join(map(sanitizer.feed, chunks)) == clean(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1bPsixel stuff\x1b\\after", "after"),
        ("\x1b(Bcharset", "charset"),
        ("\x1bcreset", "reset"),
        ("two\r\nlines\rback", "two\nlinesback"),
        ("never closed \x1b]0;title\nnext line", "never closed \nnext line"),
        ("cut off \x1b[31", "cut off "),
        ("sequence broken by \x1b[3é", "sequence broken by é"),
        ("half a pair \ud83d", "half a pair \ufffd"),
        ("tab\tand\nnewline", "tab\tand\nnewline"),
        ("\u202egnp.exe", "gnp.exe"),
    ],
)
def test_known_sequences(text: str, left: str) -> None:
    assert clean(text) == left
