"""A canvas' attention by the kernel of `dgkernels`, on devices that run it; tried before it is used.

Of torch's fused attention for GPUs, none takes heads of 512 but the one that wants a mask of all keys there is room
for; this one is told the range that is seen, and reads no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import torch
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.frame import CanvasAttention, Seen
from dgengine.kernels import trials
from dgengine.kernels.trials import relative_error

_KEYS: Final = 400  # of the trial, of which some at either end are not seen
_HIDDEN: Final = 33
_MOST_TRIED: Final = 64  # positions
_SPREAD: Final = 2.0  # of the scores
_TOLERANCE: Final = 0.015  # relative, of the root mean square; bfloat16 alone makes 0.003


def attend_by_kernel(queries: Tensor, keys: Tensor, values: Tensor, seen: Seen) -> Tensor:
    """A `dgengine.frame.CanvasAttention`."""
    from dgkernels.attention import attend_canvas

    return attend_canvas(queries.to(keys.dtype), keys, values, seen.first, seen.end)


def kernel_attention(
    config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> tuple[CanvasAttention | None, str | None]:
    """It where it runs and gives what torch does, and else why not, in a few words."""
    from dgkernels import support
    from dgkernels.tiles import attention_tiles

    if (reason := trials.why_not(device, dtype)) is not None:
        return None, reason
    widest = max(layer.head_dim for layer in config.layers)
    if attention_tiles(support.capability_of(device), widest) is None:
        return None, f"heads of {widest} cannot be cut into tiles"
    reason = trials.refusal("those of attention", partial(_errors, config, device), _TOLERANCE)
    return (attend_by_kernel, None) if reason is None else (None, reason)


def _errors(config: ModelConfig, device: torch.device) -> Iterator[float]:
    """The relative error in the layers of each kind, of numbers drawn at random."""
    from dgkernels import reference

    generator = torch.Generator().manual_seed(0)
    count = min(config.canvas_length, _MOST_TRIED)
    for layer in dict.fromkeys(config.layers):
        width = layer.head_dim
        shapes = (config.num_attention_heads, count), *[(layer.num_key_value_heads, _KEYS)] * 2
        queries, keys, values = (torch.randn(*shape, width, generator=generator).to(device) for shape in shapes)
        given = (queries * _SPREAD * width**-0.5).bfloat16(), keys.bfloat16(), values.bfloat16()
        bounds = [torch.tensor([place], dtype=torch.int32, device=device) for place in (_HIDDEN, _KEYS - _HIDDEN)]
        seen = Seen(bounds[0], bounds[1], keys.new_zeros(1))
        wanted = reference.attend_canvas(*given, _HIDDEN, _KEYS - _HIDDEN)
        yield relative_error(attend_by_kernel(*given, seen), wanted)
