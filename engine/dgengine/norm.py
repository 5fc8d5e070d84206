"""Normalisation, the gated activation, and the cap on logits: what is computed element by element."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

# gelu(x) with the tanh approximation is x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))
_LINEAR = 1.5957691216057308
_CUBIC = 0.044715 * _LINEAR


def rms_norm(x: Tensor, weight: Tensor | None, eps: float, dtype: torch.dtype | None = None) -> Tensor:
    """Root-mean-square norm over the last dimension, times `weight` (not 1 + weight) unless that is None.

    Computed in float32 and rounded once, to `dtype`, or to the dtype of `x` when that is None.
    """
    dtype = dtype or x.dtype
    if x.device.type == "cpu":
        return _scaled(x, weight, eps).to(dtype)
    if weight is None or (weight.ndim == 1 and weight.dtype == x.dtype):
        return F.rms_norm(x, x.shape[-1:], weight, eps).to(dtype)
    return (F.rms_norm(x.float(), x.shape[-1:], None, eps) * weight).to(dtype)


def add_rms_norm(residual: Tensor, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`residual` plus the norm of `x`, in the dtype of `residual`; a new tensor."""
    if residual.dtype != torch.float32 or residual.device.type != "cpu":
        return rms_norm(x, weight, eps).add_(residual)
    return torch.addcmul(residual, _scaled(x, None, eps), weight)


def _scaled(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """The norm in float32. torch has no fused kernel for CPUs; this takes two thirds of what it falls back to."""
    x = x.float()  # once, and not within each operation
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = torch.addcmul(_constant(eps), length, length, value=1 / x.shape[-1]).rsqrt_()
    normed = x * inverse  # float32, as `inverse` is
    return normed if weight is None else normed.mul_(weight)


def gated_gelu(gate_up: Tensor) -> Tensor:
    """`gelu(gate) * up` of [..., 2F] with the gate in the first half -> [..., F]; the tanh approximation of gelu.

    On a CPU the result is float32 whatever the input is: its kernels take longer in bfloat16, and round in between.
    """
    if gate_up.device.type != "cpu":
        gate, up = gate_up.chunk(2, dim=-1)
        return F.gelu(gate, approximate="tanh") * up
    gate, up = gate_up.float().chunk(2, dim=-1)
    # measured: torch's CPU kernel takes twice as long as its sigmoid and these plain operations do together
    inner = torch.addcmul(_constant(_LINEAR), gate, gate, value=_CUBIC).mul_(gate)
    return inner.sigmoid_().mul_(gate).mul_(up)


def softcap(logits: Tensor, cap: float) -> Tensor:
    """`cap * tanh(logits)` of float32, in place; the logits come in divided by `cap`."""
    if logits.device.type != "cpu":
        return logits.tanh_().mul_(cap)
    # measured: torch's sigmoid takes a sixth of its tanh; the difference is below 1e-5 at a cap of 30
    return logits.mul_(2.0).sigmoid_().mul_(2.0 * cap).sub_(cap)


@cache
def _constant(value: float) -> Tensor:
    """A float32 scalar tensor, for operations that take no number in its place."""
    return torch.tensor(value)
