# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
"""The end of a denoising step: logits, softcap, temperature, entropy, argmax and a draw, without float32 [C, V].

The softcap bounds the logits, so that one exponent serves for all of a row, and no running maximum has to be carried.
The vocabulary is cut into tiles, each a program of its own, that leave their exponentials in bfloat16 and four sums; a
second launch draws from them by inverting the distribution function, first among the tiles and then within one. The
exponentials are also what the next step is conditioned on.
"""

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from dgkernels.eights import EightBits, quantise_rows
from dgkernels.launching import on_device_of_first
from dgkernels.outcome import Outcome, Softmax
from dgkernels.tiles import VocabularyTiles

# A logit over the temperature is within +-cap / T. The highest exponent is e**_TOP: with 2**18 of them the sum, and the
# sum of its products with the exponents, stay within float32; at T >= 2 cap / (_TOP + 87) the lowest does not vanish.
_TOP: Final = 70.0
LOWEST_TEMPERATURE: Final = 2.0 / (_TOP + 87.0)
"""The lowest temperature that can be said, as a share of the softcap."""


@on_device_of_first
def denoise(
    hidden: Tensor,
    embedding: Tensor | EightBits,
    softcap: float,
    temperature: float | Tensor,
    uniforms: Tensor,
    tiles: VocabularyTiles,
    into: Softmax | None = None,
) -> Outcome:
    """Logits softcap * tanh(hidden @ embedding.T) over the temperature, and all that a step wants of them.

    Args:
        hidden: bfloat16 [C, D], normed, and over the softcap already.
        embedding: bfloat16 [V, D]; or in FP8, and then `hidden` is quantised as well, and their products are FP8's.
        softcap: bounds the logits.
        temperature: at least `LOWEST_TEMPERATURE` of the softcap. A float32 [1] on the device is read when the kernels
            run, and is not checked; it gives what the same number gives.
        uniforms: float32 [C, 2] within 0 and 1: the randomness of the draw.
        tiles: how it is cut; V is a multiple of `tiles.words`.
        into: where the softmax is put; None for new tensors.

    Raises:
        ValueError: a temperature below that.
    """
    count, width = hidden.shape
    left, right, left_scales, right_scales = _operands(hidden, embedding)
    words = right.shape[0]
    cuts = words // tiles.words
    device = hidden.device
    weights = torch.empty(count, words, dtype=torch.bfloat16, device=device) if into is None else into.weights
    sums = torch.empty(3, count, cuts, dtype=torch.float32, device=device)  # mass, mass times exponent, peak
    best = torch.empty(count, cuts, dtype=torch.int32, device=device)
    _head[(triton.cdiv(count, tiles.rows), cuts)](
        left, right, left_scales, right_scales, weights, sums, best, count,
        _highest(softcap, temperature, device),
        WIDTH=width, WORDS=words, CUTS=cuts, ROWS=tiles.rows, TILE=tiles.words, COLUMNS=tiles.columns,
        TOP=_TOP, SCALED=left_scales is not left, STAGES=tiles.launch.stages, num_warps=tiles.launch.warps,
    )  # fmt: skip
    argmax = torch.empty(count, dtype=torch.int64, device=device)
    sample, entropy = torch.empty_like(argmax), torch.empty_like(sums[0, :, 0])
    totals = torch.empty_like(entropy) if into is None else into.totals
    _finish[(count,)](
        weights, sums, best, uniforms, argmax, sample, entropy, totals, count,
        WORDS=words, CUTS=cuts, CUTS_PADDED=triton.next_power_of_2(cuts), TILE=tiles.words, num_warps=4,
    )  # fmt: skip
    return Outcome(argmax, sample, entropy, Softmax(weights, totals))


def _operands(hidden: Tensor, embedding: Tensor | EightBits) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both operands of the product, and the scales of their rows; without scales, the operands once more."""
    if isinstance(embedding, Tensor):
        return hidden, embedding, hidden, embedding
    rows = quantise_rows(hidden)
    return rows.codes, embedding.codes, rows.scales, embedding.scales


def _highest(softcap: float, temperature: float | Tensor, device: torch.device) -> Tensor:
    """The highest logit over the temperature, float32 [1] on the device: rounded once, however it comes."""
    if isinstance(temperature, Tensor):
        return torch.full_like(temperature, softcap) / temperature
    if temperature < LOWEST_TEMPERATURE * softcap:
        raise ValueError(f"a temperature of {temperature} takes exponents that float32 does not have")
    return torch.full((1,), softcap / temperature, dtype=torch.float32, device=device)


@triton.jit
def _head(
    hidden, embedding, hidden_scales, word_scales, weights, sums, best, count, cap,
    WIDTH: tl.constexpr, WORDS: tl.constexpr, CUTS: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr,
    COLUMNS: tl.constexpr, TOP: tl.constexpr, SCALED: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Program (m, n): ROWS positions, TILE words."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cut = tl.program_id(1)
    present = row < count
    word = cut * TILE + tl.arange(0, TILE)
    column = tl.arange(0, COLUMNS)
    acc = tl.zeros((ROWS, TILE), tl.float32)
    left = hidden + row.to(tl.int64)[:, None] * WIDTH + column[None, :]
    right = embedding + word.to(tl.int64)[None, :] * WIDTH + column[:, None]
    for _ in tl.range(0, WIDTH // COLUMNS, num_stages=STAGES):
        first = tl.load(left, mask=present[:, None], other=0.0)
        if SCALED:  # a tensor core of 9.0 adds up FP8 in 14 bits: what it has is taken from it at every turn
            acc = tl.dot(first, tl.load(right), acc, max_num_imprecise_acc=COLUMNS)
        else:
            acc = tl.dot(first, tl.load(right), acc)
        left += COLUMNS
        right += COLUMNS
    if SCALED:
        acc *= tl.load(hidden_scales + row, mask=present, other=0.0)[:, None] * tl.load(word_scales + word)[None, :]
    # tanh is 2 sigmoid(2x) - 1; the highest logit over the temperature is `cap`
    exponents = tl.load(cap) * (2.0 * tl.sigmoid(2.0 * acc) - 2.0) + TOP
    mass = tl.exp(exponents)
    place = row.to(tl.int64) * CUTS + cut
    plane = count.to(tl.int64) * CUTS
    tl.store(weights + row.to(tl.int64)[:, None] * WORDS + word[None, :], mass.to(tl.bfloat16), mask=present[:, None])
    tl.store(sums + place, tl.sum(mass, 1), mask=present)
    tl.store(sums + plane + place, tl.sum(mass * exponents, 1), mask=present)
    known = tl.where(acc == acc, acc, float("-inf"))  # the entropy tells of NaN; an index has to be one in any case
    tl.store(sums + 2 * plane + place, tl.max(known, 1), mask=present)
    tl.store(best + place, cut * TILE + tl.argmax(known, 1).to(tl.int32), mask=present)


@triton.jit
def _finish(
    weights, sums, best, uniforms, argmax, sample, entropy, totals, count,
    WORDS: tl.constexpr, CUTS: tl.constexpr, CUTS_PADDED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """A program a position."""
    row = tl.program_id(0).to(tl.int64)
    cut = tl.arange(0, CUTS_PADDED)
    inside = cut < CUTS
    plane = count.to(tl.int64) * CUTS
    mass = tl.load(sums + row * CUTS + cut, mask=inside, other=0.0)
    moment = tl.load(sums + plane + row * CUTS + cut, mask=inside, other=0.0)
    peak = tl.load(sums + 2 * plane + row * CUTS + cut, mask=inside, other=float("-inf"))
    total = tl.sum(mass, 0)
    tl.store(entropy + row, tl.log(total) - tl.sum(moment, 0) / total)
    tl.store(totals + row, total)
    first = tl.min(tl.where(peak == tl.max(peak, 0), cut, CUTS - 1), 0)
    tl.store(argmax + row, tl.load(best + row * CUTS + first))

    running = tl.cumsum(mass, 0)
    # a uniform number of 24 bits is 0 now and then: then it would be the first word, however unlikely that is
    target = tl.maximum(tl.load(uniforms + 2 * row), 2.0**-25) * total
    chosen = tl.minimum(tl.sum(((running <= target) & inside).to(tl.int32), 0), CUTS - 1)
    word = tl.arange(0, TILE)
    own = tl.load(weights + row * WORDS + chosen * TILE + word).to(tl.float32)
    within = tl.cumsum(own, 0)
    goal = tl.maximum(tl.load(uniforms + 2 * row + 1), 2.0**-25) * tl.sum(own, 0)
    place = tl.sum((within <= goal).to(tl.int32), 0)
    tl.store(sample + row, chosen * TILE + tl.minimum(place, TILE - 1))
