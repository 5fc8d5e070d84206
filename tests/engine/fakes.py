"""A model that is a few lines of arithmetic: for tests of what stands around the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FakeConfig:
    """The fields of a model's configuration that a session reads."""

    canvas_length: int = 8
    vocab_size: int = 64
    max_position_embeddings: int = 512


@dataclass
class FakeCache:
    """Holds ids; a roll-back by more than `slack` loses everything, as a sliding layer may."""

    slack: int
    ids: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.ids)

    def rollback(self, length: int) -> int:
        kept = length if len(self.ids) - length <= self.slack else 0
        del self.ids[kept:]
        return kept


class FakeModel:
    """Wants one token at each position, which depends on all that was encoded, with the given `sharpness`.

    Attributes:
        sharpness: logit of the wanted token, the others having 0. From about 20 on a canvas converges in two steps;
            at 3 it never does.
        encoded: the pieces given to `encode`, in order.
        canvases: the canvases given to `decode`.
        conditioning: the self-conditioning given to `decode`.
        poison: a value put into the logits of the decode with this number, counted from 1.
    """

    dtype = torch.float32
    kernel_head = None
    look = None

    def denoise(self, *_: object) -> Any:
        raise NotImplementedError  # there is no head

    frame = denoise

    def __init__(self, sharpness: float = 25.0, slack: int = 10**6, **config: int) -> None:
        self.config = FakeConfig(**config)
        self.device = torch.device("cpu")
        self.sharpness = sharpness
        self.slack = slack
        self.encoded: list[list[int]] = []
        self.canvases: list[list[int]] = []
        self.conditioning: list[Tensor | None] = []
        self.poison: dict[int, float] = {}

    def new_cache(self) -> FakeCache:
        return FakeCache(self.slack)

    def encode(self, ids: Tensor, cache: FakeCache) -> None:
        self.encoded.append(ids.tolist())
        cache.ids.extend(ids.tolist())

    def decode(self, canvas: Tensor, cache: FakeCache, self_conditioning: Tensor | None = None) -> Tensor:
        self.canvases.append(canvas.tolist())
        self.conditioning.append(None if self_conditioning is None else self_conditioning.clone())
        logits = torch.zeros(self.config.canvas_length, self.config.vocab_size)
        logits.scatter_(1, torch.tensor(self.wanted(cache.ids)).unsqueeze(1), self.sharpness)
        if len(self.canvases) in self.poison:
            logits[2, 3] = self.poison[len(self.canvases)]
        return logits

    def score(self, ids: Tensor, cache: FakeCache) -> Tensor:
        return torch.zeros(ids.shape[0])

    def wanted(self, ids: list[int]) -> list[int]:
        """The token wanted at each canvas position after `ids`: 3 to V - 1, so that 0 to 2 can be EOS ids."""
        span = self.config.vocab_size - 3
        seed = sum((n + 1) * i for n, i in enumerate(ids))
        return [3 + (seed + 7 * place) % span for place in range(self.config.canvas_length)]


def answer_of(events: list[Any]) -> list[int]:
    """The tokens of an answer, from its events."""
    from dgengine.events import Block

    blocks = {event.block: event.tokens for event in events if isinstance(event, Block)}
    return [int(token) for number in sorted(blocks) for token in blocks[number]]
