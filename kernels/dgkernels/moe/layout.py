"""The experts' matrices as the kernels read them: cut into tiles, each one piece of memory.

    packed = pack(codes, scales, global_scales, tile)      # from the form that checkpoints have
    unpack(packed)                                         # and back, for tests

A checkpoint's matrix [O, I] of four-bit codes has byte j of a row hold columns 2j and 2j + 1. A program of the kernels
works on `rows` x `columns` of it at a time, so these are laid side by side. Within a tile, a byte holds column j in its
low and column j + columns / 2 in its high four bits: the two halves are two operands of two products, and no bit has to
be moved between lanes.

Of NVFP4 the bytes are arranged further. Four of them (two columns of two rows that lie 8 apart, as the registers of a
tensor core's operand have them) make a 32-bit word, whose bits are where shifts and masks alone make four pairs of
bfloat16 of them: see `dgkernels.moe.decoding`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

Form: TypeAlias = Literal["nvfp4", "nf4"]

SCALE_BLOCK: Final[dict[Form, int]] = {"nvfp4": 16, "nf4": 64}
"""Columns that share a scale."""
_WORD_ROWS = 16  # rows that a group of words spans
_WORD_COLUMNS = 8  # bytes likewise


@dataclass(frozen=True, slots=True)
class Tile:
    """How much of a matrix a program works on at a time.

    Attributes:
        rows: of outputs; a multiple of 16.
        columns: of inputs; a multiple of 32, in NF4 of 64.
    """

    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """The matrices [O, I] of E experts, in tiles of `tile`.

    Attributes:
        codes: uint8 [E, O / rows, I / columns, rows * columns / 2].
        scales: of NVFP4 E4M3 bytes, uint8 [E, O / rows, I / columns, rows, columns / 16]; of NF4 float32, a
            quarter as many.
        global_scales: float32 [E, P]: of P matrices that were joined by rows, equally many of each.
        shape: (O, I).
        tile: the tiles.
        form: how a number is coded.
        paired: whether each tile holds rows of the first half of the matrix, and as many of the second behind them.
    """

    codes: Tensor
    scales: Tensor
    global_scales: Tensor
    shape: tuple[int, int]
    tile: Tile
    form: Form
    paired: bool

    @property
    def experts(self) -> int:
        """E."""
        return self.codes.shape[0]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """What it holds."""
        return self.codes, self.scales, self.global_scales

    def holding(self, tensors: tuple[Tensor, ...]) -> Packed:
        """The same with other tensors of the same shapes."""
        codes, scales, global_scales = tensors
        return replace(self, codes=codes, scales=scales, global_scales=global_scales)


def pack(
    codes: Tensor,
    scales: Tensor,
    global_scales: Tensor | None,
    tile: Tile,
    form: Form = "nvfp4",
    paired: bool = False,
    worker: torch.device | None = None,
) -> Packed:
    """Arranges the matrices of all experts, one by one.

    Args:
        codes: uint8 [E, O, I / 2]; in NVFP4 the low four bits are the first column's, in NF4 the high ones.
        scales: float8_e4m3fn [E, O, I / 16], or float32 [E, O, I / 64].
        global_scales: float32 [E, P]; None where the form has none.
        tile: O is a multiple of its rows, if `paired` O / 2 of half of them; I of its columns.
        paired: gate and up were joined, and are multiplied with each other: a tile holds the same rows of both.
        worker: where the arranging is done, by default where the codes are; the result is there in any case.

    Raises:
        ValueError: the matrices cannot be cut into such tiles.
    """
    experts, rows, half = codes.shape
    columns = 2 * half
    _check(rows, columns, tile, form, paired)
    worker = worker or codes.device
    order = _row_order(rows, tile, paired, worker)
    grid = (rows // tile.rows, columns // tile.columns)
    packed_codes = codes.new_empty(experts, *grid, tile.rows * tile.columns // 2)
    raw = scales.view(torch.uint8) if form == "nvfp4" else scales
    packed_scales = raw.new_empty(experts, *grid, tile.rows, tile.columns // SCALE_BLOCK[form])
    for expert in range(experts):
        packed_codes[expert] = _pack_codes(codes[expert].to(worker).index_select(0, order), tile, form)
        own = raw[expert].to(worker).index_select(0, order)
        packed_scales[expert] = own.unflatten(0, (grid[0], -1)).unflatten(2, (grid[1], -1)).transpose(1, 2)
    factors = torch.ones(experts, 1, device=codes.device) if global_scales is None else global_scales
    return Packed(packed_codes, packed_scales, factors, (rows, columns), tile, form, paired)


def unpack(packed: Packed) -> tuple[Tensor, Tensor]:
    """Codes and scales as `pack` took them."""
    rows = packed.shape[0]
    order = _row_order(rows, packed.tile, packed.paired, packed.codes.device)
    back = torch.empty_like(order)
    back[order] = torch.arange(rows, device=order.device)
    codes = torch.stack([_unpack_codes(own, packed.tile, packed.form) for own in packed.codes])
    scales = packed.scales.transpose(2, 3).reshape(packed.experts, rows, -1).index_select(1, back)
    return codes.index_select(1, back), scales.view(torch.float8_e4m3fn) if packed.form == "nvfp4" else scales


def fits(rows: int, columns: int, tile: Tile, form: Form = "nvfp4", paired: bool = False) -> bool:
    """Whether a matrix [rows, columns] can be cut into such tiles."""
    try:
        _check(rows, columns, tile, form, paired)
    except ValueError:
        return False
    return True


def _check(rows: int, columns: int, tile: Tile, form: Form, paired: bool) -> None:
    unit = 2 * max(16, SCALE_BLOCK[form] // 2)
    if tile.rows % (2 * _WORD_ROWS if paired else _WORD_ROWS) or tile.columns % unit:
        raise ValueError(f"a tile of {tile.rows} x {tile.columns} cannot hold {form}")
    if rows % tile.rows or columns % tile.columns:
        raise ValueError(f"{rows} x {columns} is no multiple of a tile of {tile.rows} x {tile.columns}")


def _row_order(rows: int, tile: Tile, paired: bool, device: torch.device) -> Tensor:
    """The row of the matrix that each row of the tiles is."""
    order = torch.arange(rows, device=device)
    return order.view(2, -1, tile.rows // 2).transpose(0, 1).flatten() if paired else order


def _pack_codes(codes: Tensor, tile: Tile, form: Form) -> Tensor:
    """A matrix: uint8 [O, I / 2] -> [O / rows, I / columns, rows * columns / 2]."""
    low, high = (codes & 15, codes >> 4) if form == "nvfp4" else (codes >> 4, codes & 15)
    single = torch.stack((low, high), dim=-1).flatten(-2)  # [O, I]
    halves = single.unflatten(0, (-1, tile.rows)).unflatten(2, (-1, 2, tile.columns // 2)).transpose(1, 2)
    tiles = halves[..., 0, :] | (halves[..., 1, :] << 4)  # [n, m, rows, columns / 2]
    return (_arrange(tiles) if form == "nvfp4" else tiles).flatten(2)


def _unpack_codes(codes: Tensor, tile: Tile, form: Form) -> Tensor:
    """The way back."""
    tiles = codes.unflatten(2, (tile.rows, -1))
    if form == "nvfp4":
        tiles = _restore(tiles)
    halves = torch.stack((tiles & 15, tiles >> 4), dim=3).flatten(3)  # [n, m, rows, columns]
    single = halves.transpose(1, 2).flatten(2).flatten(0, 1)  # [O, I]
    first, second = single[:, 0::2], single[:, 1::2]
    return first | (second << 4) if form == "nvfp4" else (first << 4) | second


# A word's place: rows 16R + 8h + r, bytes 8c + 2t + i, of which h and i are within the word. Words lie in the order of
# the registers of a tensor core's operand: R, r, t, c.


def _arrange(tiles: Tensor) -> Tensor:
    """uint8 [..., rows, bytes] -> the same bytes as words, in the order above."""
    parts = tiles.unflatten(-1, (-1, 4, 2)).unflatten(-4, (-1, 2, 8))  # [..., R, h, r, c, t, i]
    lead = tuple(range(parts.dim() - 6))
    big, h, r, c, t, i = range(parts.dim() - 6, parts.dim())
    words = parts.permute(*lead, big, r, t, c, h, i).flatten(-2)  # [..., 4]
    return _scatter_bits(words).reshape(tiles.shape)


def _restore(tiles: Tensor) -> Tensor:
    rows, width = tiles.shape[-2:]
    quads = tiles.reshape(*tiles.shape[:-2], rows // 16, 8, 4, width // 8, 4)
    words: Tensor = _gather_bits(quads).unflatten(-1, (2, 2))
    lead = tuple(range(words.dim() - 6))
    big, r, t, c, h, i = range(words.dim() - 6, words.dim())
    tiles = words.permute(*lead, big, h, r, c, t, i).reshape(tiles.shape)
    return tiles


def _scatter_bits(quads: Tensor) -> Tensor:
    """Four bytes of two codes each -> the four bytes of the word that `decoding.pairs` takes apart."""
    wide = quads.to(torch.int64)
    low, high = wide & 15, wide >> 4
    first, second, third, fourth = (
        _pair(low[..., 0], low[..., 1]), _pair(low[..., 2], low[..., 3]),
        _pair(high[..., 0], high[..., 1]), _pair(high[..., 2], high[..., 3]),
    )  # fmt: skip
    word = first | second >> 3 | third >> 6
    word |= (fourth & _SIGNS) >> 1 | (fourth & _EXPONENTS) << 3 | (fourth & _FRACTIONS) << 7
    return torch.stack([word >> shift & 255 for shift in (0, 8, 16, 24)], dim=-1).to(torch.uint8)


def _gather_bits(quads: Tensor) -> Tensor:
    wide = quads.to(torch.int64)
    word = wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16 | wide[..., 3] << 24
    first, second, third = word & _PLACES, word << 3 & _PLACES, word << 6 & _PLACES
    fourth = word << 1 & _SIGNS | word >> 3 & _EXPONENTS | word >> 7 & _FRACTIONS
    low = [*_codes(first), *_codes(second)]
    high = [*_codes(third), *_codes(fourth)]
    return (torch.stack(low, dim=-1) | torch.stack(high, dim=-1) << 4).to(torch.uint8)


# The bits of two bfloat16: a code's sign is theirs, its three other bits are the lowest two of the exponent and the
# highest of the fraction.
_SIGNS: Final = 0x80008000
_EXPONENTS: Final = 0x01800180
_FRACTIONS: Final = 0x00400040
_PLACES: Final = _SIGNS | _EXPONENTS | _FRACTIONS


def _pair(first: Tensor, second: Tensor) -> Tensor:
    return _placed(first) | _placed(second) << 16


def _placed(code: Tensor) -> Tensor:
    return (code & 8) << 12 | (code & 7) << 6


def _codes(pair: Tensor) -> tuple[Tensor, Tensor]:
    first, second = pair & 0xFFFF, pair >> 16
    return first >> 12 & 8 | first >> 6 & 7, second >> 12 & 8 | second >> 6 & 7
