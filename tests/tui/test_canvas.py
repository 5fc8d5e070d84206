"""Looks of tokens from step to step, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from dgchat.canvas.layout import Look, Row, Span
from dgchat.canvas.state import Canvas
from dgchat.themes import SHADES
from dgengine import Step

WORDS = ["", " fox", " lantern", "\n", "    return", " 한국", "\x1b[31m", "\t", "👩‍👩‍👧", "a", "."]


def pieces(ids: Sequence[int]) -> list[str]:
    return [WORDS[id_] for id_ in ids]


def step(draft: Sequence[int], accepted: str, entropy: Sequence[float] | None = None, number: int = 1) -> Step:
    """`accepted`: for each position "+" (accepted), "-" (not), or "p" (pinned)."""
    ids = np.array(draft, np.int32)
    nats = entropy if entropy is not None else [0.01 if mark != "-" else 1.0 for mark in accepted]
    return Step(
        1, number, 0.8, 0.001, draft=ids, canvas=ids, entropy=np.array(nats, np.float32),
        accepted=np.array([mark == "+" for mark in accepted]), pinned=np.array([mark == "p" for mark in accepted]),
    )  # fmt: skip


def after(*steps: Step, ends: frozenset[int] = frozenset({0}), head: str = "") -> Canvas:
    canvas = Canvas(len(steps[0].draft), pieces, ends, head)
    for one in steps:
        canvas.take(one)
        canvas.rows(20)
    return canvas


def texts(rows: Sequence[Row]) -> list[str]:
    return ["".join(span.text for span in row).rstrip() for row in rows]


def spans(canvas: Canvas) -> list[Span]:
    return [span for row in canvas.rows(60) for span in row]


def test_before_the_first_step_all_is_noise() -> None:
    rows = Canvas(10, pieces).rows(20)
    assert {span.look for row in rows for span in row} == {Look.NOISE}
    assert sum(len(text.replace(" ", "")) for text in texts(rows)) == 30


def test_looks() -> None:
    canvas = after(step([1, 2, 9, 10], "+-p-", [0.0, 0.5, 0.0, 5.0]))
    looks = [span.look for span in spans(canvas)]
    assert looks == [Look.ACCEPTED, Look.PROVISIONAL, Look.PINNED, Look.NOISE]
    assert canvas.accepted == 2


def test_the_shade_follows_entropy() -> None:
    canvas = after(step([1, 2, 9], "---", [0.0, 1.0, 2.0]))
    shades = [span.shade for span in spans(canvas)]
    assert shades[0] == SHADES - 1 and shades[-1] == 0 and 6 <= shades[1] <= 9


def test_taken_back_shows_for_two_steps() -> None:
    looks = []
    canvas = after(step([1], "+"))
    for number in range(2, 6):
        canvas.take(step([2], "-", number=number))
        looks.append(spans(canvas)[0].look)
    assert looks == [Look.BACK, Look.BACK, Look.PROVISIONAL, Look.PROVISIONAL]


def test_an_accepted_token_that_changes_was_taken_back_even_if_its_successor_is_accepted() -> None:
    canvas = after(step([1], "+"), step([2], "+", number=2))
    assert [span.look for span in spans(canvas)] == [Look.BACK]


def test_newlines_break_the_row_once_accepted_and_until_the_draft_changes() -> None:
    assert texts(after(step([9, 3, 9], "+-+")).rows(20)) == ["a⏎a"]
    held = after(step([9, 3, 9], "+++"), step([9, 3, 9], "+-+", number=2))
    assert texts(held.rows(20)) == ["a⏎", "a"]
    changed = after(step([9, 3, 9], "+++"), step([9, 1, 9], "+-+", number=2))
    assert texts(changed.rows(20))[0] == "a foxa"


def test_indents_stay() -> None:
    assert texts(after(step([9, 3, 4, 1], "++++")).rows(20)) == ["a⏎", "    return fox"]
    assert texts(after(step([9, 3, 7, 9], "++++")).rows(20)) == ["a⏎", "        a"]


def test_nothing_is_drawn_after_an_accepted_end() -> None:
    assert texts(after(step([1, 0, 2, 2], "++--")).rows(20)) == [" fox"]
    undecided = texts(after(step([1, 0, 2, 2], "+---")).rows(40))
    assert undecided[0].count("lantern") == 2


def test_settled_text_goes_before_the_canvas() -> None:
    canvas = after(step([1, 2], "++"), head="One day the")
    assert texts(canvas.rows(40)) == ["One day the fox lantern"]
    assert spans(canvas)[0].look is Look.SETTLED


def test_marks_tell_the_looks_apart_without_colour() -> None:
    canvas = after(step([1, 2, 9, 1], "+-p-", [0.0, 0.5, 0.0, 5.0]))
    assert texts(canvas.rows(60, marks=True)) == [" fox ·lantern·[a] ░░░"]
    back = after(step([1], "+"), step([2], "-", number=2))
    assert texts(back.rows(60, marks=True)) == [" ~lantern~"]


def test_rows_begin_where_they_began_while_words_fit() -> None:
    draft = [1, 2, 1, 2, 1, 2, 1, 2]
    canvas = after(step(draft, "--------"))
    before = texts(canvas.rows(20))
    canvas.take(step([9, *draft[1:]], "--------", number=2))
    shorter = texts(canvas.rows(20))
    assert shorter[0] == "a lantern fox"
    assert shorter[1:] == before[1:]


def test_the_canvas_never_gets_lower_at_one_width() -> None:
    canvas = after(step([1, 2] * 6, "-" * 12))
    height = len(canvas.rows(20))
    canvas.take(step([1] + [0] * 11, "+" * 12, number=2))
    assert len(canvas.rows(20)) == height
    assert len(canvas.rows(40)) == 1


_DRAFT = st.lists(st.integers(0, 10), min_size=9, max_size=9)
_STEPS = st.lists(st.tuples(_DRAFT, st.text("+-p", min_size=9, max_size=9)), min_size=1, max_size=4)


@given(_STEPS, st.integers(1, 30), st.booleans(), st.text("ab \n", max_size=12))
def test_rows_fit_and_are_safe(steps: list[tuple[list[int], str]], width: int, marks: bool, head: str) -> None:
    canvas = Canvas(9, pieces, frozenset({0}), head)
    for number, (draft, accepted) in enumerate(steps, 1):
        canvas.take(step(draft, accepted, number=number))
        for text in texts(canvas.rows(width, marks)):
            assert cell_len(text) <= width
            assert "\x1b" not in text and "\t" not in text and "\n" not in text


@given(st.lists(st.integers(1, 10), min_size=9, max_size=9), st.integers(8, 40))
def test_accepted_text_is_all_there(draft: list[int], width: int) -> None:
    rows = after(step(draft, "+" * 9)).rows(width)
    shown = "".join("".join(texts(rows)).split()).replace("⏎", "")
    wanted = "".join("".join(pieces(draft)).split()).replace("\x1b", "")
    assert shown == wanted


@given(
    st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=30),
    st.integers(1, 50),
    st.booleans(),
    st.text(max_size=20),
)
def test_each_piece_on_the_screen_is_known_by_its_position(
    draft: list[int], width: int, marks: bool, head: str
) -> None:
    canvas = Canvas(len(draft), pieces, frozenset(), head)
    canvas.take(step(draft, "+" * len(draft)))
    rows = canvas.rows(width, marks)
    seen = set()
    for place in range(len(draft)):
        for row, column, cells in canvas.where(place):
            assert 0 <= row < len(rows) and column + cells <= sum(cell_len(span.text) for span in rows[row])
            assert {canvas.place_at(row, column + cell) for cell in range(cells)} == {place}
            seen.add((row, column))
    assert len(seen) == sum(len(canvas.where(place)) for place in range(len(draft)))
    assert canvas.place_at(len(rows), 0) is None and canvas.place_at(0, width + 9) is None
