"""What others have for a mixture of experts, as far as it is installed: functions that prepare a call.

A preparation that cannot be made raises `Missing`, with the reason. Each takes the same tokens, experts and routing
weights; of its weights the numbers are those of the case, in its own form.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.moe_case import Case
from bench.timing import Call

Preparation: TypeAlias = Callable[[Case], Call]


class Missing(Exception):
    """A rival is not there."""


def engine_by_torch(case: Case) -> Call:
    """The engine without kernels: each expert is decoded, and multiplied by torch."""
    from dgengine.moe import apply_experts
    from dgengine.quantized.matrices import QuantizedExperts

    if case.weights.form == "nf4":
        _import("bitsandbytes")
    gate_up, down = (QuantizedExperts(own.stack()) for own in (case.weights.gate_up, case.weights.down))
    chosen = case.chosen.long()
    return lambda: apply_experts(case.x, case.factors, chosen, gate_up, down)


class _Grouped:
    """torch's grouped product on rows sorted by expert, with weights in bfloat16."""

    def __init__(self, case: Case) -> None:
        product = getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)
        if product is None:
            raise Missing("this torch has no grouped_mm")
        self.product: Callable[..., Tensor] = product
        self.case = case
        # [E, D, 2X] and [E, X, D] as views, in the order of a checkpoint
        self.gate_up, self.down = (
            own.dense(torch.bfloat16).transpose(1, 2) for own in (case.weights.gate_up, case.weights.down)
        )

    def sort(self) -> tuple[Tensor, Tensor]:
        """The rows of work by expert, and where each expert's end."""
        order = self.case.chosen.flatten().argsort(stable=True)
        counts = torch.zeros(self.case.weights.size.experts, dtype=torch.int32, device=order.device)
        ones = torch.ones_like(order, dtype=torch.int32)
        counts.scatter_add_(0, self.case.chosen.flatten().long(), ones)
        return order, counts.cumsum(0).int()

    def inner(self, tokens: Tensor, ends: Tensor) -> Tensor:
        return _gated(self.product(tokens, self.gate_up, offs=ends))

    def experts(self) -> Tensor:
        order, ends = self.sort()
        rows = self.product(self.inner(self.case.x[order // self.case.top_k], ends), self.down, offs=ends)
        outputs: Tensor = torch.empty_like(rows).index_copy_(0, order, rows).unflatten(0, (-1, self.case.top_k))
        return (outputs * self.case.factors.unsqueeze(-1)).sum(dim=1).to(rows.dtype)


def grouped_gate_up(case: Case) -> Call:
    """The product of gate and up alone, of rows that are gathered and sorted already, and the gate."""
    grouped = _Grouped(case)
    order, ends = grouped.sort()
    tokens = case.x[order // case.top_k]
    return lambda: grouped.inner(tokens, ends)


def grouped_down(case: Case) -> Call:
    """The other product alone."""
    grouped = _Grouped(case)
    order, ends = grouped.sort()
    inner = case.inner[order]
    return lambda: grouped.product(inner, grouped.down, offs=ends)


def grouped_experts(case: Case) -> Call:
    """Sorting, both products and the weighted sum."""
    return _Grouped(case).experts


def bitsandbytes_experts(case: Case) -> Call:
    """NF4 by bitsandbytes, one expert at a time: it has no product of many."""
    functional: Any = _import("bitsandbytes.functional")

    def quantized(matrices: Tensor) -> list[Any]:
        return [functional.quantize_4bit(matrix, blocksize=64, quant_type="nf4") for matrix in matrices]

    gate_up, down = (quantized(own.dense(torch.bfloat16)) for own in (case.weights.gate_up, case.weights.down))
    counts = case.chosen.flatten().bincount(minlength=case.weights.size.experts).tolist()
    order = case.chosen.flatten().argsort(stable=True)

    def product(x: Tensor, weight: Any) -> Tensor:
        dense: Tensor = functional.dequantize_4bit(*weight)
        return x @ dense.to(x.dtype).t()

    def call() -> list[Tensor]:
        parts = case.x[order // case.top_k].split(counts)
        outputs = []
        for x, first, second in zip(parts, gate_up, down, strict=True):
            if x.shape[0]:
                outputs.append(product(_gated(product(x, first)), second))
        return outputs

    return call


def _gated(both: Tensor) -> Tensor:
    """[N, 2X] -> gelu_tanh(gate) * up [N, X]."""
    gate, up = both.chunk(2, dim=1)
    inner: Tensor = F.gelu(gate, approximate="tanh") * up
    return inner


def vllm_experts(case: Case) -> Call:
    """vLLM's fused experts in bfloat16, with its own activation (SiLU) in place of GELU."""
    fused = getattr(_import("vllm.model_executor.layers.fused_moe"), "fused_experts", None)
    if fused is None:
        raise Missing("this vllm has no fused_experts")
    gate_up, down = (own.dense(torch.bfloat16) for own in (case.weights.gate_up, case.weights.down))
    return lambda: fused(case.x, gate_up, down, case.factors, case.chosen)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken installation is as good as none
        raise Missing(f"{name.partition('.')[0]} cannot be imported ({type(error).__name__})") from error


RIVALS: Final[dict[str, dict[str, Preparation]]] = {
    "gate_up": {"torch grouped_mm, bf16": grouped_gate_up},
    "down": {"torch grouped_mm, bf16": grouped_down},
    "experts": {
        "dgengine without kernels": engine_by_torch,
        "torch grouped_mm, bf16": grouped_experts,
        "bitsandbytes NF4, one by one": bitsandbytes_experts,
        "vLLM fused_experts, bf16": vllm_experts,
    },
}
"""By kernel, then by name."""
