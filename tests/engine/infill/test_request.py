"""What is asked of an infill: values out of range are refused, and text outside the spans never changes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgengine.errors import InfillError
from dgengine.infill.prompt import CLOSE, OPEN, marked, only_marked, prompt
from dgengine.infill.request import InfillRequest, splice

TEXT = "Once there was a fox."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"spans": ()}, "at least one span"),
        ({"spans": ((3, 99),)}, "not within the text"),
        ({"spans": ((-1, 3),)}, "not within the text"),
        ({"spans": ((5, 4),)}, "not within the text"),
        ({"spans": ((5, 9), (7, 12))}, "in order"),
        ({"spans": ((5, 5), (5, 5))}, "in order"),
        ({"keep": ((0, 3),)}, "does not lie within a span"),
        ({"keep": ((6, 6),)}, "does not lie within a span"),
        ({"strength": 0}, "strength"),
        ({"strength": 1.1}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"strength": True}, "strength"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": 17}, "candidates"),
        ({"length": "long"}, "length"),
        ({"length": 0}, "length"),
        ({"method": "magic"}, "method"),
        ({"text": "lone \ud800 surrogate"}, "surrogate at character 5"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InfillError, match=words):
        InfillRequest(**({"text": TEXT, "spans": ((5, 10),)} | fields))  # type: ignore[arg-type]


def test_a_request_from_three_parts() -> None:
    request = InfillRequest.around("Once ", "there", " was", strength=0.3)
    assert (request.text, request.spans, request.strength) == ("Once there was", ((5, 10),), 0.3)


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1, max_size=4), st.text())
def test_a_splice_changes_the_spans_alone(parts: list[tuple[str, str, str]], end: str) -> None:
    text, expected, spans = "", "", []
    for before, old, new in parts:
        text += before
        spans.append((len(text), len(text) + len(old)))
        text += old
        expected += before + new
    assert splice(text + end, spans, [new for _, _, new in parts]) == expected + end
    assert splice(text + end, spans, [old for _, old, _ in parts]) == text + end


def test_the_prompt_marks_the_spans() -> None:
    spans = ((5, 10), (14, 14))
    assert marked("Once there was", spans) == f"Once {OPEN}there{CLOSE} was{OPEN}{CLOSE}"
    assert only_marked("Once there was", spans) == f"{OPEN}there{CLOSE}{OPEN}{CLOSE}"
    assert "Instruction: none\n" in prompt("x") and "Instruction: shorter\n" in prompt("x", " shorter ")


def test_the_model_is_trained_on_the_engines_prompt() -> None:
    from pocket.infill import Hole, prompt_of

    hole = Hole("Once ", "there", " was", "here")
    assert prompt_of(hole) == prompt(marked("Once here was", [(5, 9)]))


def test_a_request_needs_no_torch() -> None:
    code = "import sys, dgengine; dgengine.InfillRequest('ab', ((0, 1),)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
