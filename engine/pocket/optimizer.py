"""Muon for the matrices, AdamW for the rest: fewer steps to the same loss than AdamW alone.

Muon (Jordan et al. 2024) orthogonalises the momentum of each matrix by Newton-Schulz iterations; the scale that makes
AdamW's learning rates fit is from "Muon is scalable for LLM training" (Liu et al. 2025). torch.optim.Muon takes
two-dimensional parameters only; the experts are stacks of matrices, orthogonalised here one by one in a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the quintic iteration


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly (singular values within about 0.7 to 1.2). [..., m, n] -> same."""
    a, b, c = NEWTON_SCHULZ
    x: Tensor = matrix.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(-1, -2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    back = x.transpose(-1, -2) if tall else x
    return back.to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for parameters of two or more dimensions."""

    def __init__(self, params: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        assert parameter.grad is not None  # `step` has looked
        momentum.lerp_(parameter.grad, 1 - MOMENTUM)
        update = orthogonalise(torch.lerp(parameter.grad, momentum, MOMENTUM))
        scale = 0.2 * max(parameter.shape[-2:]) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * scale)


def optimizers(network: nn.Module, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices; AdamW for the embedding, the router and everything that is a vector."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        small = parameter.ndim < 2 or "embed" in name or "router" in name
        (rest if small else matrices).append(parameter)
    return [
        Muon(matrices, lr, weight_decay=0.05),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
