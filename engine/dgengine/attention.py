"""Attention over a contiguous view of the cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which keys the queries of one pass see, in the layers of one kind.

    Attributes:
        first: the first position that any query sees.
        mask: bool [T, keys], True where a query sees a key; None where all see all, or `causal` says it.
        causal: queries and keys are the same positions, and each query sees those up to its own.
    """

    first: int
    mask: Tensor | None = None
    causal: bool = False


def everything(start: int, window: int | None) -> Visibility:
    """Denoising: each query sees the whole canvas, which begins at `start`, and the tokens before it.

    In a sliding layer those are the last `window` - 1, for every query alike: the window is not measured from each
    position.
    """
    return Visibility(0 if window is None else max(0, start - (window - 1)))


def causal(start: int, count: int, window: int | None, device: torch.device) -> Visibility:
    """Encoding: the queries at start .. start + count - 1 see themselves and what is before them, within the window."""
    first = 0 if window is None else max(0, start - (window - 1))
    if count == 1:
        return Visibility(first)
    if start == 0 and (window is None or count <= window):
        return Visibility(first, causal=True)
    queries = torch.arange(start, start + count, device=device).unsqueeze(1)
    keys = torch.arange(first, start + count, device=device).unsqueeze(0)
    mask = keys <= queries
    if window is not None:
        mask &= keys > queries - window
    return Visibility(first, mask)


def within(start: int, count: int, window: int | None, device: torch.device) -> Visibility:
    """Encoding an image: its `count` tokens see each other both ways, and what is before them within the window."""
    if window is None:
        return Visibility(0)
    first = max(0, start - (window - 1))
    queries = torch.arange(start, start + count, device=device).unsqueeze(1)
    keys = torch.arange(first, start + count, device=device).unsqueeze(0)
    return Visibility(first, (keys > queries - window) | (keys >= start))


def attend(queries: Tensor, keys: Tensor, values: Tensor, visible: Visibility) -> Tensor:
    """Grouped-query attention with scale 1: [H, T, D], [KV, S, D], [KV, S, D] -> [T, H * D], as the keys' dtype.

    Consecutive query heads share a K/V head.
    """
    heads, count, width = queries.shape
    # torch's fused kernels for GPUs take a mask, or heads that share keys, but not both: it would repeat the keys and
    # values for every head, in float32.
    if not visible.causal and (visible.mask is None or keys.device.type != "cpu"):
        out = _attend_grouped(queries, keys, values, visible.mask)
    else:
        out = F.scaled_dot_product_attention(
            queries.to(keys.dtype).unsqueeze(0),
            keys.unsqueeze(0),
            values.unsqueeze(0),
            attn_mask=visible.mask,
            is_causal=visible.causal,
            scale=1.0,
            enable_gqa=heads != keys.shape[0],
        )
    return out.view(heads, count, width).transpose(0, 1).reshape(count, -1)


def _attend_grouped(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Heads that share keys as more queries of one head, which in this order are one copy."""
    heads, _, width = queries.shape
    grouped = keys.new_empty(queries.shape).copy_(queries).view(keys.shape[0], -1, width)
    if mask is not None:
        mask = mask.repeat(heads // keys.shape[0], 1)
    return F.scaled_dot_product_attention(
        grouped.unsqueeze(0), keys.unsqueeze(0), values.unsqueeze(0), attn_mask=mask, scale=1.0
    )
