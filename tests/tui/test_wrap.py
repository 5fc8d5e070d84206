"""Words wrap at the terminal's width; code does not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dgchat.inline.wrap import Wrapper, wrap

_TEXT = st.text(st.sampled_from("ab de\n 한é`x  "), max_size=120)


@given(_TEXT, st.integers(8, 30))
def test_lines_of_short_words_fit(text: str, width: int) -> None:
    words = [word for word in text.split() if not word.startswith("```") and cell_len(word) <= width]
    for line in wrap(" ".join(words), width).split("\n"):
        assert cell_len(line) <= width


@given(_TEXT, st.integers(1, 30))
def test_no_word_is_lost(text: str, width: int) -> None:
    assert wrap(text, width).split() == text.split()


@given(_TEXT, st.integers(1, 30), st.lists(st.integers(0, 120)))
def test_how_text_is_cut_makes_no_difference(text: str, width: int, cuts: list[int]) -> None:
    wrapper = Wrapper(width)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    chunks = [text[start:end] for start, end in pairwise(places)]
    assert "".join(map(wrapper.feed, chunks)) + wrapper.close() == wrap(text, width)


def test_words_break_at_spaces() -> None:
    assert wrap("the quick fox jumps\n\nover", 10) == "the quick\nfox jumps\n\nover"


def test_wide_characters_count_two_cells() -> None:
    assert wrap("한국 어어 한국", 9) == "한국 어어\n한국"


def test_code_stays_as_it_is() -> None:
    code = "```python\ndef add(first, second):\n    return first + second\n```\n"
    assert wrap(code, 10) == code
    assert wrap("    indented code stays\n", 10) == "    indented code stays\n"
    assert wrap(code + "prose after code", 10) == code + "prose\nafter code"
