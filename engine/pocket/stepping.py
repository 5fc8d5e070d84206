"""Canvases as the sampler itself leaves them, for training: with the model's own mistakes on them.

Noise alone teaches to trust every token that is no noise. In use the tokens that were accepted side by side may
disagree ("and and", a name that two places chose apart), and the model must see and mend that. So a part of the
canvases takes one step of the sampler (its entropy bound, its temperature) from a noisier canvas, and learns from where
that ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

TEMPERATURES = (0.4, 0.8)  # between those of the checkpoint's ramp, and a little hotter
BOUNDS = (0.03, 1.0)  # nats; above the sampler's own, so that mistakes are not too rare


def draw_temperatures(count: int, generator: torch.Generator) -> Tensor:
    """float32 [count, 1, 1]."""
    low, high = TEMPERATURES
    return low + (high - low) * torch.rand(count, 1, 1, generator=generator)


def draw_bounds(settled: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """float32 [N, 1]: log-uniform for a `share` of the `settled` canvases, -1 for those that keep their noise.

    Args:
        settled: bool [N, 1], canvases whose prompts leave no choice. An open one (a story) would learn from its own
            choices to trust none of them, and settle on nothing.
    """
    low, high = (torch.tensor(bound).log() for bound in BOUNDS)
    bounds = (low + (high - low) * torch.rand(settled.shape, generator=generator)).exp()
    return torch.where(settled & (torch.rand(settled.shape, generator=generator) < share), bounds, -1.0)


def stepped(processed: Tensor, target: Tensor, free: Tensor, noise: Tensor, draws: Tensor, bounds: Tensor) -> Tensor:
    """The canvas after one step of the sampler.

    Args:
        processed: float32 [N, C, V], logits over the temperature.
        target: int64 [N, C], what stands where nothing is free.
        free: bool [N, C], places that the step decides.
        noise: int64 [N, C], for the places that are not accepted.
        draws: float32 [N, C] in [0, 1), one for each place's token.
        bounds: float32 [N, 1], entropy bounds in nats; below zero nothing is accepted.

    Returns:
        int64 [N, C].
    """
    log_probabilities = processed.log_softmax(-1)
    probabilities = log_probabilities.exp()
    last = processed.shape[-1] - 1
    tokens = (probabilities.cumsum(-1) < draws[..., None]).sum(-1).clamp(max=last)
    entropy = -(probabilities * log_probabilities).sum(-1).masked_fill(~free, 0.0)
    ordered, order = entropy.sort(1)
    accepted = torch.zeros_like(free).scatter(1, order, ordered.cumsum(1) - ordered <= bounds)
    return torch.where(free, torch.where(accepted, tokens, noise), target)
