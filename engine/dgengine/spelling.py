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
