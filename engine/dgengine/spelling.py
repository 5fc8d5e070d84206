"""The bytes of tokens as text. Needs no tokenizer: a saved trace carries its own spelling."""

from __future__ import annotations

import codecs
from collections.abc import Iterable


def pieces(spelled: Iterable[bytes], end: bool = False) -> list[str]:
    """The text that each token of a sequence adds: one piece a token, "" for special ones.

    A character whose bytes are spread over several tokens belongs to the one that completes it; bytes that cannot
    become a character are U+FFFD. Joined, the pieces are the text of the sequence.

    Args:
        spelled: the bytes of each token, in order.
        end: whether an incomplete character at the very end is shown as U+FFFD (with the last piece), or left out
            because its other bytes may follow.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found = [decoder.decode(token) for token in spelled]
    if end and found:
        found[-1] += decoder.decode(b"", final=True)
    return found


def from_byte_alphabet(written: str) -> bytes:
    """The bytes of a token that is written in GPT-2's alphabet, which has a printable character for each byte."""
    return bytes(_BYTE_OF[c] for c in written if c in _BYTE_OF)


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself where it is printable, else one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


_BYTE_OF = _byte_alphabet()
