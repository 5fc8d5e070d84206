"""What the codes of NF4 stand for."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

# Quantiles of a normal distribution (QLoRA, appendix E), to the digits that bitsandbytes has them.
NF4: Final = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
_tables: dict[torch.device, Tensor] = {}


def nf4_table(device: torch.device) -> Tensor:
    """float32 [16], made once for a device."""
    if device not in _tables:
        _tables[device] = torch.tensor(NF4, device=device)
    return _tables[device]
