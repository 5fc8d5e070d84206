"""Words as tokens at a place of the canvas, on the built-in model's own tokenizer."""

from __future__ import annotations

import pytest

from dgchat.app.steering import SteeringError, place_text
from dgengine import Engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("pocket")


@pytest.mark.parametrize(
    ("text", "instead_of", "reads"),
    [
        ("owl", " fox", " owl"),
        (" owl", " fox", " owl"),
        ("owl", "fox", "owl"),
        ("zebra crossing", " a", " zebra crossing"),
    ],
)
def test_a_word_takes_the_space_of_the_one_before(engine: Engine, text: str, instead_of: str, reads: str) -> None:
    held = place_text(engine, text, instead_of, 3, 64)
    assert engine.decode(held.tokens.values()) == reads == "".join(held.texts.values())
    assert list(held.tokens) == list(range(3, 3 + len(held.tokens))) == list(held.texts)
    assert f"held as {len(held.tokens)} token" in held.sentence


def test_what_does_not_fit_says_so(engine: Engine) -> None:
    with pytest.raises(SteeringError, match=r"takes \d+ tokens, and the canvas has 2 from here on"):
        place_text(engine, "a very long sentence indeed", " x", 62, 64)


def test_nothing_cannot_be_held(engine: Engine) -> None:
    with pytest.raises(SteeringError, match="no text"):
        place_text(engine, "", "x", 0, 64)
