"""What is known of one token, on a few lines. Knows no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgchat.trace.story import Story

_BAR = 20  # cells of a probability of 1
_EIGHTHS = " ▏▎▍▌▋▊▉"


def card(story: Story, step: int) -> Text:
    """`"scattering"  H 0.31 nats · accepted at 5, settled at 9, changed 2×`, and the candidates with bars."""
    seen = "never accepted" if story.accepted_at is None else f"accepted at {story.accepted_at}"
    facts = [seen, f"settled at {story.settled_at}", f"changed {story.changes}×"]
    text = Text.assemble(
        (quoted(story.text), "bold"), f"  H {story.nats:.2f} nats · ", ", ".join(facts), f" · at step {step}"
    )
    if story.pinned:
        text.append(" · pinned")
    for candidate, probability in story.candidates:
        text.append(f"\n  {probability:6.1%} ").append(bar(probability)).append(f" {quoted(candidate)}")
    return text


def quoted(piece: str) -> str:
    """A token's text so that its spaces and breaks can be seen."""
    shown = clean_line(piece.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·"))
    return f'"{shown.replace("·", " ")}"' if shown.strip("·⏎⇥") else f'"{shown}"'


def bar(share: float) -> str:
    """A bar of `_BAR` cells at most, in eighths of a cell, padded."""
    eighths = round(min(max(share, 0.0), 1.0) * _BAR * 8)
    return ("█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")).ljust(_BAR)
