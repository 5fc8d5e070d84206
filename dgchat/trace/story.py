"""What a trace tells of one position of a canvas. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgchat.trace.steps import BlockTrace, StepTrace, decode_entropy


@dataclass(frozen=True)
class Story:
    """One position, up to a step.

    Attributes:
        text: the text of its token at that step; "" for a special one.
        nats: its entropy there.
        accepted_at: the first step at which it was accepted; None for never.
        settled_at: the step from which on it has had the token of the last step.
        changes: how often its token changed, over all steps.
        pinned: whether it was held at that step.
        candidates: the most probable tokens there and their probabilities, best first; empty where not traced.
    """

    text: str
    nats: float
    accepted_at: int | None
    settled_at: int
    changes: int
    pinned: bool
    candidates: tuple[tuple[str, float], ...] = ()


def tell(trace: StepTrace, block: BlockTrace, number: int, place: int) -> Story:
    """The story of a position.

    Args:
        trace: whose spelling holds.
        block: a block of it.
        number: of the step at which one looks, from 1.
        place: the position, from 0.

    Raises:
        IndexError: there is no such step or position.
    """
    step = block.step(number)
    if not 0 <= place < block.length:
        raise IndexError(f"block {block.number} has positions 0 to {block.length - 1}, not {place}")
    drafts = np.array([draft[place] for draft in block.drafts])
    accepted = [bool(np.unpackbits(bits, count=block.length)[place]) for bits in block.accepted]
    changes = np.flatnonzero(np.diff(drafts))
    candidates: tuple[tuple[str, float], ...] = ()
    if step.top_ids is not None and step.top_probs is not None:
        texts = [trace.pieces([id_])[0] for id_ in step.top_ids[place].tolist()]
        candidates = tuple(zip(texts, step.top_probs[place].tolist(), strict=True))
    return Story(
        text=trace.pieces(step.draft.tolist())[place],
        nats=float(step.entropy[place]),
        accepted_at=accepted.index(True) + 1 if True in accepted else None,
        settled_at=int(changes[-1]) + 2 if len(changes) else 1,
        changes=len(changes),
        pinned=bool(step.pinned[place]),
        candidates=candidates,
    )


def heat(block: BlockTrace, rows: int, columns: int) -> NDArray[np.float32]:
    """The entropy of a block's positions (columns) at its steps (rows), in nats, averaged into float32 [rows, columns].

    Fewer steps than rows, or positions than columns, are repeated.
    """
    grid = decode_entropy(np.stack(block.entropy))
    return _pool(_pool(grid, rows).T, columns).T


def _pool(grid: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """[N, M] -> [count, M]: means over equal parts of the first dimension."""
    edges = np.linspace(0, len(grid), count + 1)
    starts = np.minimum(edges[:-1].astype(int), len(grid) - 1)
    stops = np.maximum(np.ceil(edges[1:]).astype(int), starts + 1)
    parts = [grid[start:stop].mean(0) for start, stop in zip(starts, stops, strict=True)]
    return np.stack(parts).astype(np.float32)
