"""Words wrapped at a terminal's width, as text comes in."""

from __future__ import annotations

import re

from rich.cells import cell_len

_PART = re.compile(r"\n|[ \t]+|[^ \t\n]+")
_FENCE = "```"
_INDENT = 4  # A line indented this far is code, and stays as it is, like one between fences.


class Wrapper:
    """Breaks lines of prose at spaces, by display cells. Lines of code are left to the terminal.

    The last word is held back until it is complete: until `close`, or until something follows it.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self._held = ""  # the word at the end, and the spaces before it
        self._column = 0
        self._code = False  # between fences
        self._keep = False  # this line is not to be broken

    def feed(self, text: str) -> str:
        """The next piece of text as it is to be printed."""
        parts = _PART.findall(self._held + text)
        self._held = parts.pop() if parts and not parts[-1].isspace() else ""
        return self._print(parts)

    def close(self) -> str:
        """What was held back."""
        parts, self._held = _PART.findall(self._held), ""
        return self._print(parts)

    def _print(self, parts: list[str]) -> str:
        printed = []
        space = ""
        for part in parts:
            if part == "\n":
                self._column, self._keep = 0, False
                printed.append(part)
            elif part.isspace():
                space = part
                continue
            else:
                printed.append(self._word(space, part))
            space = ""
        self._held = space + self._held
        return "".join(printed)

    def _word(self, space: str, word: str) -> str:
        if not self._column:
            fence = word.startswith(_FENCE)
            self._keep = self._code or fence or cell_len(space.expandtabs()) >= _INDENT
            self._code ^= fence
        end = self._column + cell_len(space.expandtabs()) + cell_len(word)
        breaks = bool(self._column) and not self._keep and end > self.width
        self._column = cell_len(word) if breaks else end
        return ("\n" if breaks else space) + word


def wrap(text: str, width: int) -> str:
    """The whole of `text`, wrapped."""
    wrapper = Wrapper(width)
    return wrapper.feed(text) + wrapper.close()
