"""Normalisation and the gated activation: the elementwise parts of a layer."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# gelu(x) with the tanh approximation is x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))
_LINEAR = 1.5957691216057308
_CUBIC = 0.044715 * _LINEAR


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Root-mean-square norm over the last dimension, times `weight` (not 1 + weight) unless that is None.

    Computed in float32 and rounded once, to the dtype of `x`.
    """
    if x.device.type != "cpu":
        if weight is None or weight.ndim == 1:
            return F.rms_norm(x, x.shape[-1:], weight, eps)
        return (F.rms_norm(x.float(), x.shape[-1:], None, eps) * weight).to(x.dtype)
    # torch has no fused kernel for CPUs; this takes two thirds of the time of the operations it falls back to
    wide = x.float()
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    inverse = torch.addcmul(_constant(eps), length, length, value=1 / x.shape[-1]).rsqrt_()
    normed = wide * inverse if weight is None else (wide * inverse).mul_(weight)
    return normed.to(x.dtype)


def gated_gelu(gate_up: Tensor) -> Tensor:
    """`gelu(gate) * up` of [..., 2F] with the gate in the first half -> [..., F]; the tanh approximation of gelu."""
    gate, up = gate_up.chunk(2, dim=-1)
    if gate.dtype != torch.float32 or gate.device.type != "cpu":
        return F.gelu(gate, approximate="tanh") * up
    # measured: torch's CPU kernel takes twice as long as its sigmoid and these plain operations do together
    inner = torch.addcmul(_constant(_LINEAR), gate, gate, value=_CUBIC).mul_(gate)
    return inner.sigmoid_().mul_(gate).mul_(up)


@cache
def _constant(value: float) -> Tensor:
    """A float32 scalar tensor, for operations that take no number in its place."""
    return torch.tensor(value)
