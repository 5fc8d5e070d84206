"""The rival of pinning: free text is cut where what follows the span begins."""

from __future__ import annotations

from dgengine.infill.passage import cut_out
from dgengine.infill.splicing import Anchor
from tests.engine.infill.test_passage import codec

TEXT = "Once there was a fox. It lived in a den. It ran far."
SPAN = (22, 40)
END = 4


def anchor(text: str = TEXT, span: tuple[int, int] = SPAN) -> Anchor:
    return Anchor(codec(), cut_out(codec(), text, [span], [], [0], (500, 500)), END)


def test_it_ends_where_the_text_behind_the_span_begins() -> None:
    ids = codec().tokens(" It had a hat. It ran far. And so on")
    assert anchor().found(ids)
    text, tokens = anchor().cut(ids)
    assert text == "It had a hat." and codec().decode(tokens) == text


def test_a_shorter_anchor_serves_in_the_end() -> None:
    ids = codec().tokens(" It had a hat. It ran home.")
    assert not anchor().found(ids) and anchor().cut(ids)[0] == "It had a hat."


def test_without_an_anchor_it_is_as_long_as_the_span() -> None:
    text, _ = anchor().cut(codec().tokens(" Nobody knows what else became of all of them"))
    assert text == "Nobody knows what else"


def test_an_end_of_the_answer_ends_it() -> None:
    ids = [*codec().tokens(" It sleeps."), END, *codec().tokens(" more")]
    inserted = anchor("Once there was a fox.", (21, 21))
    assert inserted.found(ids) and inserted.cut(ids)[0] == " It sleeps."
