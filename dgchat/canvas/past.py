"""What has become of each position of a canvas, step by step. All positions at once: most steps nobody sees.

Imports numpy, for which the first frame of the app does not wait.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

BACK_STEPS: Final = 2  # How long a token that was taken back stays marked.
_NONE: Final = -1  # in the place of an id


class Past:
    """One block's positions; C of them, each attribute of the shape [C].

    Attributes:
        ids: the tokens that stand there.
        breaks: whether a newline there breaks the row: it was accepted, and the draft has not changed since.
        back: steps that it stays marked as taken back.
        age: steps since it was last another.
        changes: how often it became another.
    """

    def __init__(self, length: int) -> None:
        """Starts with pure noise."""
        self.ids = np.full(length, _NONE, np.int64)
        self.breaks = np.zeros(length, np.bool_)
        self.back = np.zeros(length, np.int8)
        self.age = np.zeros(length, np.int32)
        self.changes = np.zeros(length, np.int32)
        self._held = np.full(length, _NONE, np.int64)  # the ids that were accepted last

    def advance(self, draft: NDArray[np.int32], accepted: NDArray[np.bool_], pinned: NDArray[np.bool_]) -> int:
        """Moves on by a step; returns how many tokens that were accepted have changed."""
        same = self.ids == draft
        changed = ~same & (self.ids != _NONE)
        self.age += 1
        self.age[changed] = 0
        self.changes += changed
        back = (self._held != draft) & (self._held != _NONE)
        self.back -= self.back > 0
        self.back[back] = BACK_STEPS
        self._held[back] = _NONE
        np.copyto(self._held, draft, where=accepted)
        self.breaks = accepted | pinned | (self.breaks & same)
        self.ids[:] = draft
        return int(np.count_nonzero(back))

    def hold(self, place: int, token: int) -> None:
        """Puts a token somewhere, as the next step will."""
        self.ids[place], self.breaks[place] = token, True
