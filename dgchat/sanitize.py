"""Text that others wrote, made safe for a terminal.

What a model writes, or what stands in a file, may hold escape sequences that move the cursor, retitle the window or
type for the user. They are removed, and nothing else: plain text, newlines and tabs pass unchanged.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_ESC, _BEL, _CAN, _SUB = "\x1b", "\x07", "\x18", "\x1a"
_CSI, _ST = "\x9b", "\x9c"
# Openers of control strings (DCS, SOS, OSC, PM, APC): what follows ESC, and the one-character forms of C1.
_STRINGS_AFTER_ESC = frozenset("PX]^_")
_STRINGS = frozenset("\x90\x98\x9d\x9e\x9f")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# C0 but tab and newline, DEL, C1, the bidirectional embeddings, overrides and isolates, and lone surrogates.
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # after ESC
    INTERMEDIATE = auto()  # after ESC and one of space to slash
    SEQUENCE = auto()  # within CSI
    STRING = auto()  # within OSC, DCS, SOS, PM or APC
    STRING_ESCAPE = auto()  # after ESC within one


class Sanitizer:
    """Removes control characters and escape sequences from text that comes in pieces.

    How the text is cut into pieces makes no difference. A control string that is never closed ends with its line, so
    that it cannot swallow the rest of an answer. Lone surrogates become U+FFFD.
    """

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, chunk: str) -> str:
        """The safe part of the next piece of text."""
        if self._state is _State.TEXT and not _SUSPECT.search(chunk):
            return chunk
        return "".join(map(self._next, chunk))

    def _next(self, char: str) -> str:
        """Takes one character; returns what is left of it: itself, nothing, or U+FFFD."""
        match self._state:
            case _State.TEXT:
                return self._text(char)
            case _State.STRING:
                return self._within_string(char)
            case _State.STRING_ESCAPE if char == "\\":
                self._state = _State.TEXT
                return ""
            case _State.SEQUENCE | _State.INTERMEDIATE:
                return self._within_sequence(char)
        return self._after_escape(char)

    def _text(self, char: str) -> str:
        self._state = _State.TEXT
        if not _SUSPECT.match(char):
            return char
        if char == _ESC:
            self._state = _State.ESCAPE
        elif char == _CSI:
            self._state = _State.SEQUENCE
        elif char in _STRINGS:
            self._state = _State.STRING
        return _REPLACEMENT if "\ud800" <= char <= "\udfff" else ""

    def _after_escape(self, char: str) -> str:
        if char == "[":
            self._state = _State.SEQUENCE
        elif char in _STRINGS_AFTER_ESC:
            self._state = _State.STRING
        elif " " <= char <= "/":
            self._state = _State.INTERMEDIATE
        elif "0" <= char <= "~":
            self._state = _State.TEXT
        else:
            return self._text(char)
        return ""

    def _within_sequence(self, char: str) -> str:
        first_final = "0" if self._state is _State.INTERMEDIATE else "@"
        if first_final <= char <= "~":
            self._state = _State.TEXT
        elif not " " <= char <= "?":
            return self._text(char)  # Not part of any sequence: a terminal gives it up here, too.
        return ""

    def _within_string(self, char: str) -> str:
        if char == _ESC:
            self._state = _State.STRING_ESCAPE
        elif char in (_BEL, _ST, _CAN, _SUB):
            self._state = _State.TEXT
        elif char == "\n":
            self._state = _State.TEXT
            return char
        return ""


def clean(text: str) -> str:
    """`text` without control characters and escape sequences; newlines and tabs stay."""
    return Sanitizer().feed(text)


def clean_pasted(text: str) -> str:
    """The same for what a terminal pastes, which has CR for the ends of lines, as Enter has."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))


def clean_line(text: str) -> str:
    """The same on one line: for messages that quote a name, a path or another program's error."""
    return " ".join(clean(text).split())


def clean_piece(text: str) -> str:
    """The same for a piece of a line: a space at either end, which keeps words apart, stays."""
    inner = clean_line(text)
    return (" " if text[:1].isspace() else "") + inner + (" " if text[-1:].isspace() and inner else "")


def strip_controls(text: str) -> str:
    """`text` without the control characters themselves: what an escape sequence leaves is shown, not swallowed.

    For drafts, in which a stray ESC of one token says nothing about the next.
    """
    return _SUSPECT.sub("", text)
