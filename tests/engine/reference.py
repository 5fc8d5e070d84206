"""transformers' own network behind the interface that a session expects: the same numbers, to the bit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


class ReferenceCache:
    """A cache of transformers, which is made anew on a roll-back."""

    def __init__(self, config: Any) -> None:
        self._config = config.get_text_config(decoder=True)
        self.values = self._make()
        self.length = 0

    def _make(self) -> Any:
        from transformers import DynamicCache

        make: Any = DynamicCache  # not annotated
        return make(config=self._config)

    def rollback(self, length: int) -> int:
        self.values = self._make()
        self.length = 0
        return 0


class ReferenceModel:
    """`DiffusionGemmaForBlockDiffusion` as a `dgengine.interfaces.Model`."""

    dtype = torch.float32
    device = torch.device("cpu")
    kernel_head = None
    look = None

    def denoise(self, *_: object) -> Any:
        raise NotImplementedError  # there is no head

    def __init__(self, network: Any) -> None:
        self._network = network
        text = network.config.text_config
        self.config = SimpleNamespace(
            canvas_length=network.config.canvas_length,
            vocab_size=text.vocab_size,
            max_position_embeddings=text.max_position_embeddings,
        )

    def new_cache(self) -> ReferenceCache:
        return ReferenceCache(self._network.config)

    def encode(self, ids: Tensor, cache: ReferenceCache) -> None:
        self._network.model.encoder(
            input_ids=ids[None],
            attention_mask=torch.ones(1, cache.length + len(ids), dtype=torch.bool),
            past_key_values=cache.values,
            position_ids=self._positions(cache.length, len(ids)),
        )
        cache.length += len(ids)

    def decode(self, canvas: Tensor, cache: ReferenceCache, self_conditioning: Tensor | None = None) -> Tensor:
        out = self._network(
            decoder_input_ids=canvas[None],
            self_conditioning_logits=None if self_conditioning is None else self_conditioning[None],
            decoder_attention_mask=torch.ones(1, cache.length + len(canvas), dtype=torch.bool),
            past_key_values=cache.values,
            decoder_position_ids=self._positions(cache.length, len(canvas)),
        )
        logits: Tensor = out.logits[0]
        return logits

    @staticmethod
    def _positions(start: int, count: int) -> Tensor:
        return torch.arange(start, start + count, dtype=torch.int32)[None]
