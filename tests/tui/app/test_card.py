"""The card about a token."""

from __future__ import annotations

import pytest

from dgchat.app.card import bar, card, quoted
from dgchat.trace.story import Story


def test_it_tells_all_that_is_known() -> None:
    story = Story(" scattering", 0.31, 5, 9, 2, False, ((" scattering", 0.62), (" light", 0.25)))
    lines = card(story, 7).plain.splitlines()
    assert lines[0] == '" scattering"  H 0.31 nats · accepted at 5, settled at 9, changed 2× · at step 7'
    assert lines[1].startswith("   62.0% ████████████▍") and lines[1].endswith('" scattering"')
    assert len(lines) == 3


def test_never_accepted_and_pinned() -> None:
    text = card(Story("x", 2.0, None, 1, 0, True), 1).plain
    assert "never accepted" in text and text.endswith("· pinned")


@pytest.mark.parametrize(
    ("piece", "shown"),
    [(" fox", '" fox"'), ("\n  ", '"⏎··"'), ("\t", '"⇥"'), ("", '""'), ("\x1b[31mred", '"red"'), ("  ", '"··"')],
)
def test_what_cannot_be_seen_is_shown(piece: str, shown: str) -> None:
    assert quoted(piece) == shown


def test_bars() -> None:
    assert bar(0.0) == " " * 20 and bar(1.0) == "█" * 20 and bar(2.0) == "█" * 20
    assert len(bar(0.333)) == 20
