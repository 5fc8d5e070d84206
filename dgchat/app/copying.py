"""What can be copied: answers, and the code blocks in them. Knows no screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def code_blocks(text: str) -> list[str]:
    """The fenced and indented code blocks of a Markdown text, in order."""
    return [code for _, code in fences(text)]


def fences(text: str) -> list[tuple[str, str]]:
    """The same, each with what stands behind the backticks that open it, such as a language."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt().parse(text)
    return [(token.info, token.content) for token in tokens if token.type in ("fence", "code_block")]


@dataclass
class CodeBlocks:
    """Goes through the code blocks of a chat: first those of its newest answer, one at each call."""

    _texts: tuple[str, ...] = ()
    _place: int = 0

    def next(self, answers: Sequence[str]) -> tuple[str, int, int] | None:
        """The next block, its number and how many there are; None when there is none.

        Args:
            answers: the texts of all answers, oldest first; another list begins anew.
        """
        if tuple(answers) != self._texts:
            self._texts, self._place = tuple(answers), 0
        blocks = [block for text in reversed(self._texts) for block in code_blocks(text)]
        if not blocks:
            return None
        number = self._place % len(blocks)
        self._place += 1
        return blocks[number], number + 1, len(blocks)
