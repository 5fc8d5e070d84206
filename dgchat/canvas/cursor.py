"""Where a cursor on the tokens of a canvas goes. Knows no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dgchat.canvas.state import Canvas


def beside(canvas: Canvas, place: int, by: int, length: int) -> int:
    """The next position before (-1) or after (1) one whose token shows; the same one where there is none.

    Args:
        canvas: whose rows have been made.
        place: the position of the cursor.
        by: the direction.
        length: of the canvas, in tokens.
    """
    found = place + by
    while 0 <= found < length and not canvas.where(found):
        found += by
    return found if 0 <= found < length else place


def across(canvas: Canvas, place: int, by: int) -> int:
    """The position of the token above (-1) or below (1), or left of there; the same one where that row has none."""
    here = canvas.where(place)
    if not here:
        return place
    row, column, _ = here[0]
    found = (canvas.place_at(row + by, near) for near in range(column, -1, -1))
    return next((near for near in found if near is not None), place)


def first_undecided(accepted: NDArray[np.bool_], pinned: NDArray[np.bool_]) -> int:
    """The first position that is neither accepted nor pinned; 0 where all are."""
    undecided = (~(accepted | pinned)).nonzero()[0]
    return int(undecided[0]) if len(undecided) else 0
