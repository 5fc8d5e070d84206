# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""Tokens sorted by expert, each expert's filled up to whole blocks: what the grouped products are driven by.

All shapes are those of the inputs, whatever is routed where, so that a CUDA graph can hold the launch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which rows of work belong to which expert. A row r is token r // K of K experts a token.

    Attributes:
        rows: int32 [blocks * block]: rows, those of an expert side by side, in order; N * K where a block is not full.
        experts: int32 [blocks]: the expert of each block that is in use.
        used: int32 [1]: how many blocks are.
        block: rows of a block.
    """

    rows: Tensor
    experts: Tensor
    used: Tensor
    block: int


def most_blocks(assignments: int, experts: int, block: int) -> int:
    """Blocks that so many rows can take, however they are spread."""
    return min(assignments, experts + assignments // block)


def align(chosen: Tensor, experts: int, block: int) -> Alignment:
    """Sorts the rows int32 [N, K] of chosen experts into blocks. Stable: the same at every run."""
    count = chosen.numel()
    blocks = most_blocks(count, experts, block)
    rows = torch.empty(blocks * block, dtype=torch.int32, device=chosen.device)
    owners = torch.empty(blocks, dtype=torch.int32, device=chosen.device)
    used = torch.empty(1, dtype=torch.int32, device=chosen.device)
    _align[(experts,)](
        chosen, rows, owners, used, count, blocks,
        EXPERTS=triton.next_power_of_2(experts), COUNT=triton.next_power_of_2(count), BLOCK=block,
        BLOCKS=triton.next_power_of_2(blocks), num_warps=4,
    )  # fmt: skip
    return Alignment(rows, owners, used, block)


@triton.jit
def _align(
    chosen, rows, owners, used, count, blocks,
    EXPERTS: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """A program an expert: each counts all rows, which is sooner than a second launch, and places its own."""
    expert = tl.program_id(0)
    place = tl.arange(0, COUNT)
    valid = place < count
    owner = tl.load(chosen + place, mask=valid, other=-1).to(tl.int32)
    counts = tl.histogram(tl.where(valid, owner, 0), EXPERTS)
    numbers = tl.arange(0, EXPERTS)
    counts -= tl.where(numbers == 0, COUNT - count, 0)  # what is beyond the end was counted as expert 0
    per_expert = (counts + BLOCK - 1) // BLOCK
    first = tl.sum(tl.where(numbers < expert, per_expert, 0), 0)
    mine = tl.sum(tl.where(numbers == expert, counts, 0), 0)
    own_blocks = (mine + BLOCK - 1) // BLOCK

    is_mine = valid & (owner == expert)
    rank = tl.cumsum(is_mine.to(tl.int32), 0) - 1
    tl.store(rows + first * BLOCK + rank, place, mask=is_mine)
    fill = mine + tl.arange(0, BLOCK)
    tl.store(rows + first * BLOCK + fill, tl.zeros_like(fill) + count, mask=fill < own_blocks * BLOCK)
    block = tl.arange(0, BLOCKS)
    is_block = (block >= first) & (block < first + own_blocks) & (block < blocks)
    tl.store(owners + block, tl.zeros_like(block) + expert, mask=is_block)
    if expert == 0:
        tl.store(used, tl.sum(per_expert, 0))
