"""The prompts that are measured. They never change, so that runs can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SEED: Final = 20  # of the first repetition; each later one has the next
FOLLOW_UP: Final = "Say the last one again, please."
_LINE: Final = "{number}. In house {number} of the long street lives a quiet fox who keeps {kept} lanterns.\n"
LONG_LINES: Final = 120  # of the long prompt; fewer where the context has no room for so many
LONG_TOKENS: Final = 2000  # that it comes to at most


@dataclass(frozen=True)
class Prompt:
    """One thing to be asked.

    Attributes:
        name: of the prompt, in tables.
        text: the question.
        max_tokens: the longest answer.
        long: whether a list of LONG_LINES lines comes before the question.
        quick: whether `--quick` measures it.
    """

    name: str
    text: str
    max_tokens: int
    long: bool = False
    quick: bool = False


PROMPTS: Final = (
    Prompt("short", "What is 17 + 25?", 64, quick=True),
    Prompt("story", "Tell me a story about a fox and a lantern.", 256),
    Prompt("code", "Write a Python function that reverses a string.", 256),
    Prompt("long", "How many lanterns does the last fox of this list keep?", 64, long=True, quick=True),
)


def text_of(prompt: Prompt, lines: int = LONG_LINES) -> str:
    """What is asked; of a long prompt the list has so many lines."""
    if not prompt.long:
        return prompt.text
    listed = (_LINE.format(number=number, kept=number * 7 % 23) for number in range(1, lines + 1))
    return f"{''.join(listed)}\n{prompt.text}"
