"""The mixture of experts: routing, and the experts themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dgengine.norm import gated_gelu


class Experts(Protocol):
    """The matrices [I, O] of all experts of a layer."""

    @property
    def width(self) -> int:
        """O."""

    def __len__(self) -> int:
        """How many experts."""

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        """The matrix [I, O] of one expert, for one product."""

    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds."""

    def holding(self, tensors: Sequence[Tensor]) -> Experts:
        """The same with others, of the same shapes, in place of `tensors`."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainExperts:
    """`Experts` as they are multiplied with."""

    matrices: Tensor  # [E, I, O]

    @property
    def width(self) -> int:
        """O."""
        return self.matrices.shape[2]

    def __len__(self) -> int:
        return self.matrices.shape[0]

    def matrix(self, expert: int, dtype: torch.dtype) -> Tensor:
        return self.matrices[expert]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.matrices,)

    def holding(self, tensors: Sequence[Tensor]) -> PlainExperts:
        return PlainExperts(*tensors)


def route(scores: Tensor, top_k: int, per_expert_scale: Tensor) -> tuple[Tensor, Tensor]:
    """Chooses experts by router scores [N, E].

    Returns weights float32 [N, K] and expert indices int64 [N, K]. The weights are the softmax over all experts,
    renormalised over the chosen ones, which is the softmax over the chosen scores; then times `per_expert_scale` [E].
    """
    chosen, index = scores.float().topk(top_k, dim=-1)
    return chosen.softmax(dim=-1).mul_(per_expert_scale[index]), index


def route_all(scores: Tensor, top_k: int, per_expert_scale: Tensor) -> Tensor:
    """The weights of `route` as float32 [N, E], zero where an expert is not chosen."""
    chosen, index = scores.float().topk(top_k, dim=-1)
    weights = torch.zeros_like(scores, dtype=torch.float32).scatter_(1, index, chosen.softmax(dim=-1))
    return weights.mul_(per_expert_scale)


def apply_experts(x: Tensor, weights: Tensor, index: Tensor, gate_up: Experts, down: Experts) -> Tensor:
    """The weighted sum of each token's experts.

    Tokens are sorted by expert, so that each expert is one product over its tokens. The sum over a token's experts is
    a gather and a reduction, not an atomic scatter: the result is the same at every run, on every device.

    Args:
        x: tokens [N, D].
        weights: float32 [N, K].
        index: experts of each token, int64 [N, K], all different.
        gate_up: E matrices [D, 2F], the gate first.
        down: E matrices [F, D].
    """
    count, top_k = index.shape
    flat = index.reshape(-1)
    order = flat.argsort(stable=True)  # [N * K], grouped by expert
    per_expert = torch.bincount(flat, minlength=len(gate_up)).tolist()
    hidden = _per_expert(x.index_select(0, order // top_k), gate_up, per_expert)
    grouped = _per_expert(gated_gelu(hidden).to(x.dtype), down, per_expert)
    place = torch.empty_like(order)
    place[order] = torch.arange(order.shape[0], device=order.device)
    outputs = grouped.index_select(0, place).view(count, top_k, -1)
    if outputs.dtype != torch.float32:
        return (outputs * weights.unsqueeze(-1)).sum(dim=1).to(x.dtype)
    return torch.bmm(weights.unsqueeze(1), outputs).squeeze(1)


def _per_expert(x: Tensor, experts: Experts, per_expert: list[int]) -> Tensor:
    """x [M, I], grouped by expert, times each expert's matrix [I, O] -> [M, O]. One matrix is in use at a time."""
    out = x.new_empty(x.shape[0], experts.width)
    for expert, (rows, result) in enumerate(zip(x.split(per_expert), out.split(per_expert), strict=True)):
        if rows.shape[0]:
            torch.mm(rows, experts.matrix(expert, x.dtype), out=result)
    return out
