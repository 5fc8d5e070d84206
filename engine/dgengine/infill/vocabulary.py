"""Which tokens may stand in a hole."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

# A logit that no softmax sees; minus infinity would make the entropy NaN.
FORBIDDEN = -1.0e4
_CONTROL = frozenset({*range(0x20), 0x7F} - {0x09, 0x0A})


class Spelling(Protocol):
    """What is needed of a tokenizer."""

    def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The UTF-8 bytes of each id; b"" for control tokens."""


class Vocabulary:
    """The bytes of every token of a model, and which of them a hole may hold.

    Attributes:
        banned: bool [V]: tokens without text (end of sequence, turns, channels, padding) and control characters.
    """

    def __init__(self, spelling: Spelling, size: int, device: torch.device) -> None:
        """Spells all ids below `size`."""
        self._spelled = spelling.spell(range(size))
        self._device = device
        self._edges: dict[tuple[bytes, bytes], Tensor | None] = {}
        self.banned = self._mask(not token or not _CONTROL.isdisjoint(token) for token in self._spelled)

    def _mask(self, values: Iterable[bool]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.bool, device=self._device)

    def unfit(self, head: bytes, tail: bytes) -> Tensor:
        """bool [V]: tokens that may not stand where the text must begin with `head` and end with `tail`.

        Where no token fits, all but the banned ones may: what is written is cut to fit then.
        """
        mask = self._edges.get((head, tail))
        if mask is None:
            least = len(head) + len(tail)
            fits = (len(t) >= least and t.startswith(head) and t.endswith(tail) for t in self._spelled)
            mask = ~self._mask(fits) | self.banned
            mask = self._edges[head, tail] = self.banned if bool(mask.all()) else mask
        return mask


_KNOWN: weakref.WeakKeyDictionary[Spelling, Vocabulary] = weakref.WeakKeyDictionary()


def vocabulary(spelling: Spelling, size: int, device: torch.device) -> Vocabulary:
    """The vocabulary of a tokenizer, spelled once."""
    if spelling not in _KNOWN:
        _KNOWN[spelling] = Vocabulary(spelling, size, device)
    return _KNOWN[spelling]
