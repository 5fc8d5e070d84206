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
_WIDE_FP8_HEAD: Final = VocabularyTiles(128, 128, 128, Launch(8, 3))
_FP8_HEAD: Final = VocabularyTiles(64, 128, 128, Launch(4, 3))

FP8: Final = (8, 9)
"""The first compute capability whose tensor cores multiply FP8."""


def vocabulary_tiles(capability: tuple[int, int], words: int, hidden: int, fp8: bool = False) -> VocabularyTiles | None:
    """The tiles for a head of `words` x `hidden`; None where it cannot be cut so, or for another GPU.

    Args:
        capability: of the GPU.
        words: V.
        hidden: D.
        fp8: whether its product is of FP8.
    """
    if capability not in MOE or (fp8 and capability < FP8):
        return None
    if fp8:
        found = _WIDE_FP8_HEAD if capability[0] == 9 else _FP8_HEAD
    else:
        found = _WIDE_HEAD if capability[0] in (9, 10) else _HEAD
    return None if words % found.words or hidden % found.columns else found


@dataclass(frozen=True, slots=True)
class AttentionTiles:
    """A canvas' attention: queries, keys, and inputs of a score at a time, that a program takes."""

    rows: int
    keys: int
    chunk: int
    launch: Launch


_ATTENTION: Final[dict[int, dict[int, AttentionTiles]]] = {
    256: {
        9: AttentionTiles(128, 64, 256, Launch(8, 2)),
        10: AttentionTiles(64, 64, 256, Launch(8, 2)),
        0: AttentionTiles(64, 32, 128, Launch(4, 2)),
    },
    512: {
        9: AttentionTiles(64, 32, 128, Launch(8, 2)),
        0: AttentionTiles(32, 32, 128, Launch(8, 2)),
    },
}
"""By the widest head, and by the first number of the compute capability; 0 for every other."""

_MOST_SPLITS: Final = 8
_SPLIT_COST: Final = 0.05  # of the attention itself: what each further share writes, and the second launch reads


def attention_tiles(capability: tuple[int, int], width: int) -> AttentionTiles | None:
    """The tiles for heads of `width`; None for wider ones than there are, or for another GPU."""
    widest = next((own for own in sorted(_ATTENTION) if width <= own), None)
    if capability not in MOE or widest is None:
        return None
    found = _ATTENTION[widest]
    return found.get(capability[0], found[0])


def key_splits(programs: int, multiprocessors: int, capacity: int, tiles: AttentionTiles) -> int:
    """Among how many programs to share the keys, so that no part of the device waits for another.

    Args:
        programs: that there are without.
        multiprocessors: of the device, each of which runs one at a time.
        capacity: keys that there may be; a share has a tile at least.
        tiles: of the attention.
    """
    most = max(1, min(_MOST_SPLITS, capacity // tiles.keys))

    def cost(splits: int) -> float:
        moved = _SPLIT_COST * (splits - 1) * _rounds(programs, multiprocessors)
        return _rounds(programs * splits, multiprocessors) / splits + moved

    return min(range(1, most + 1), key=cost)


def _rounds(programs: int, multiprocessors: int) -> int:
    """How often the device is filled."""
    return -(-programs // multiprocessors)


_NATIVE: Final[dict[int, MoeTiles]] = {
    10: MoeTiles(32, (64, 256), (128, 256), Launch(4, 3), Launch(4, 3)),
    12: MoeTiles(16, (64, 256), (128, 256), Launch(4, 3), Launch(4, 3)),
}


def native_tiles(capability: tuple[int, int], hidden: int, width: int) -> MoeTiles | None:
    """As `moe_tiles`, for products of NVFP4 by NVFP4; None where the tensor cores do not have them as well."""
    found = _NATIVE.get(capability[0]) if capability in MOE else None
    if found is None or hidden % 32 or width % 32:
        return None
    # a last piece of the columns may be filled up, but not one of the rows
    gate_up, down = _divisor(found.gate_up[0], width, 16), _divisor(found.down[0], hidden, 16)
    if not gate_up or not down:
        return None
    first, second = (gate_up, found.gate_up[1]), (down, found.down[1])
    return MoeTiles(found.block, first, second, found.gate_up_launch, found.down_launch)
