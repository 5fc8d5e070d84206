"""How each kernel is cut and launched, by compute capability. Nothing is tried out at run time.

Chosen by what the compiler makes of them (`kernels/NOTES.md`): the fewest instructions a weight that leave room for two
programs on a multiprocessor, without spills.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Launch:
    """Warps of a program, and stages of its loop's pipeline."""

    warps: int = 4
    stages: int = 3


@dataclass(frozen=True, slots=True)
class MoeTiles:
    """The mixture of experts on one kind of GPU.

    Attributes:
        block: rows of work, of one expert, that a program multiplies with.
        gate_up: rows of gate (and as many of up), and columns, that it takes at a time.
        down: rows and columns.
        gate_up_launch, down_launch: how they are launched.
    """

    block: int
    gate_up: tuple[int, int]
    down: tuple[int, int]
    gate_up_launch: Launch
    down_launch: Launch


@dataclass(frozen=True, slots=True)
class VocabularyTiles:
    """The head: positions, words and inputs that a program takes."""

    rows: int
    words: int
    columns: int
    launch: Launch


_HOPPER: Final = MoeTiles(32, (64, 256), (256, 64), Launch(4, 3), Launch(4, 3))
_BLACKWELL: Final = MoeTiles(32, (64, 256), (256, 64), Launch(8, 3), Launch(4, 3))
_CONSUMER: Final = MoeTiles(16, (64, 256), (256, 64), Launch(4, 3), Launch(4, 3))

MOE: Final[dict[tuple[int, int], MoeTiles]] = {
    (8, 0): _CONSUMER,
    (8, 6): _CONSUMER,
    (8, 9): _CONSUMER,
    (9, 0): _HOPPER,
    (10, 0): _BLACKWELL,
    (10, 3): _BLACKWELL,
    (12, 0): _CONSUMER,
    (12, 1): _CONSUMER,
}
"""By compute capability."""


def moe_tiles(capability: tuple[int, int], hidden: int, width: int, form: str = "nvfp4") -> MoeTiles | None:
    """The tiles for experts of `hidden` x `width`; smaller ones where these cannot be cut so; None for another GPU.

    Args:
        capability: of the GPU.
        hidden: D.
        width: X.
        form: of NF4 a tile's columns are a multiple of 64.
    """
    found = MOE.get(capability)
    if found is None:
        return None
    # the numbers that NF4 looks up are held in shared memory for every stage
    least, most = (64, 128) if form == "nf4" else (32, 256)
    gate_up = _cut((found.gate_up[0], min(found.gate_up[1], most)), width, hidden, least)
    down = _cut(found.down, hidden, width, least)
    if gate_up is None or down is None:
        return None
    return MoeTiles(found.block, gate_up, down, found.gate_up_launch, found.down_launch)


def _cut(wanted: tuple[int, int], rows: int, columns: int, least: int) -> tuple[int, int] | None:
    """The largest powers of two, up to what is wanted, that divide both; None where even the least does not."""
    found = _divisor(wanted[0], rows, 16), _divisor(wanted[1], columns, least)
    return (found[0], found[1]) if found[0] and found[1] else None


def _divisor(wanted: int, size: int, least: int) -> int:
    while wanted >= least and size % wanted:
        wanted //= 2
    return wanted if wanted >= least else 0


_WIDE_HEAD: Final = VocabularyTiles(128, 128, 64, Launch(8, 3))
_HEAD: Final = VocabularyTiles(64, 128, 64, Launch(4, 3))


def vocabulary_tiles(capability: tuple[int, int], words: int, hidden: int) -> VocabularyTiles | None:
    """The tiles for a head of `words` x `hidden`; None where it cannot be cut so, or for another GPU."""
    if capability not in MOE:
        return None
    found = _WIDE_HEAD if capability[0] in (9, 10) else _HEAD
    return None if words % found.words or hidden % found.columns else found
