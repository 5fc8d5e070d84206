"""What stands in the editor for the characters of a file that must not reach a terminal, or that a line cannot hold.

A control character, a change of writing direction, a line ending that is not the file's usual one: each is one
character of a range that Unicode leaves to private use, and that the file itself does not use. So the editor moves,
cuts and pastes it like any other, shows a sign in its place, and gives back the very bytes on saving.
"""

from __future__ import annotations

import re
from typing import Final

ENDINGS: Final = ("\n", "\r\n", "\r")
_ENDING = re.compile(r"\r\n|\n|\r")
_SIZE = 0x200
_HIGHEST = 0x10FC00
# C0 but tab, newline and return; DEL and C1; separators that Python takes for line ends; changes of direction.
_DIRECTIONS = "\u2028\u2029\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n\r"]
_STOOD_FOR = (*_CONTROLS, *_DIRECTIONS)
_SUSPECT = re.compile(f"[{re.escape(''.join(_STOOD_FOR))}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OTHER = "␦"


class StandIns:
    """The stand-ins of one text.

    Attributes:
        ending: the line ending that the editor's newlines stand for.
        mixed: whether the text has other ones as well.
        signs: what is shown for each stand-in, for `str.translate`.
    """

    def __init__(self, text: str) -> None:
        """`text`: that of the file, which tells the usual line ending and what is free to be used."""
        counts = {
            "\r\n": text.count("\r\n"),
            "\n": text.count("\n") - text.count("\r\n"),
            "\r": text.count("\r") - text.count("\r\n"),
        }
        self.ending = max(ENDINGS, key=lambda ending: counts[ending])
        self.mixed = sum(count > 0 for count in counts.values()) > 1
        base = _free(text)
        self._stands_for = {chr(base + place): char for place, char in enumerate(_STOOD_FOR)}
        self._stand_in = {ord(char): stand_in for stand_in, char in self._stands_for.items()}
        self._endings = {chr(base + _SIZE - 1 - place): ending for place, ending in enumerate(ENDINGS)}
        self._ending_of = {ending: mark for mark, ending in self._endings.items()}
        self.signs = {ord(mark): _sign(char) for mark, char in (self._stands_for | self._endings).items()}
        marks = re.escape("".join(self._endings))
        self._marked = re.compile(f"[{marks}]\n?|\n")
        self._plain = {ord(mark): char for mark, char in self._stands_for.items()}
        self._plain |= dict.fromkeys(map(ord, self._endings), " ")

    def show(self, text: str) -> str:
        """The text of the file as the editor holds it: lines end with a newline, and nothing in it is a control."""
        if "\r" in text or self.ending != "\n":
            text = _ENDING.sub(self._shown_ending, text)
        return text.translate(self._stand_in) if _SUSPECT.search(text) else text

    def _shown_ending(self, match: re.Match[str]) -> str:
        return "\n" if match[0] == self.ending else self._ending_of[match[0]] + "\n"

    def read(self, shown: str) -> str:
        """The text for the file; `read(show(text))` is `text`."""
        if not shown.isascii():
            shown = shown.translate({ord(mark): char for mark, char in self._stands_for.items()})
        elif self.ending == "\n":
            return shown
        return self._marked.sub(self._read_ending, shown)

    def _read_ending(self, match: re.Match[str]) -> str:
        return self.ending if match[0] == "\n" else self._endings[match[0][0]]

    def take(self, text: str) -> str:
        """A text from elsewhere, as the editor holds it: what it has at line endings becomes the usual one."""
        text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).translate(dict.fromkeys(self.signs))
        return _ENDING.sub("\n", text).translate(self._stand_in)

    def plain(self, shown: str) -> str:
        """The editor's text with what the stand-ins stand for: of the same length, for the model to read."""
        return shown if shown.isascii() else shown.translate(self._plain)


def _free(text: str) -> int:
    """The first code point of a range that does not occur in the text."""
    if text.isascii():
        return _HIGHEST
    used = set(text)
    bases = range(_HIGHEST, 0xF0000, -_SIZE)
    return next(base for base in bases if not any(chr(base + place) in used for place in range(_SIZE)))


def _sign(char: str) -> str:
    """A sign of one cell for a control character."""
    code = ord(char[0])
    if char in ENDINGS:
        return {"\n": "␊", "\r\n": "␍", "\r": "␍"}[char]
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else _OTHER
