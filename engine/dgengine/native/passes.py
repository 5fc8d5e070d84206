"""A model's passes by the C library: what `Model.encode` and `Model.decode` do, on the same cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dgengine.attention import everything
from dgengine.cache import KVCache
from dgengine.config import ModelConfig
from dgengine.native.denoiser import Attended, NativeDenoiser
from dgengine.rope import RotaryTable
from dgkernels.outcome import Outcome, Softmax


class NativePasses:
    """The passes of one model."""

    def __init__(
        self, denoiser: NativeDenoiser, config: ModelConfig, rotary: Sequence[RotaryTable], dtype: torch.dtype
    ) -> None:
        """Puts the library's calls at a model's disposal.

        Args:
            denoiser: has its weights.
            config: the model's.
            rotary: the factors of each layer.
            dtype: of the weights.
        """
        self._denoiser = denoiser
        self._config = config
        self._rotary = rotary
        self._dtype = dtype

    def nbytes(self) -> int:
        """Bytes of its own copy of the weights."""
        return self._denoiser.nbytes()

    def encode(self, ids: Tensor, cache: KVCache) -> None:
        """See `Model.encode`.

        Raises:
            IndexError: an id outside the vocabulary.
        """
        self._expect_within(ids)
        for piece in ids.split(self._denoiser.piece):
            if piece.shape[0]:
                self._denoiser.encode(piece, self._attended(piece.shape[0], cache))
                cache.commit(piece)

    def decode(self, canvas: Tensor, cache: KVCache, conditioning: Tensor | Softmax | None) -> Tensor:
        """See `Model.decode`.

        Raises:
            IndexError: an id outside the vocabulary.
        """
        self._expect_within(canvas)
        attended = self._attended(canvas.shape[-1], cache)
        if canvas.ndim == 1:
            return self._denoiser.logits(canvas, attended, self._softmax_of(conditioning))
        # a batch shares the prefix: each canvas takes its turn in the room after it
        each = list(conditioning) if isinstance(conditioning, Tensor) else [None] * len(canvas)
        return torch.stack(
            [
                self._denoiser.logits(own, attended, self._softmax_of(given))
                for own, given in zip(canvas, each, strict=True)
            ]
        )

    def look(self, logits: Tensor, temperature: float, uniforms: Tensor) -> Outcome:
        """See `dgengine.sampler.Look`."""
        return self._denoiser.look(logits, temperature, uniforms)

    @torch.inference_mode()  # as a cache's buffers are made
    def _attended(self, count: int, cache: KVCache) -> list[Attended]:
        """What a pass of `count` tokens after what `cache` holds sees in each layer, with room for itself."""
        start = cache.length
        cache.reserve(count)
        found = []
        for index, (layer, table) in enumerate(zip(self._config.layers, self._rotary, strict=True)):
            window = None if layer.kind == "full" else self._config.sliding_window
            room = cache.room(index, everything(start, window).first, start, start + count)
            found.append(Attended(room.keys, room.values, table.range(start, count), window or 0))
        return found

    def _softmax_of(self, conditioning: Tensor | Softmax | None) -> Softmax | None:
        """Logits over a temperature [C, V] as their softmax, from logits rounded as `Model.decode` tells."""
        if conditioning is None:
            return None
        if isinstance(conditioning, Softmax):
            return Softmax(conditioning.weights.float().contiguous(), conditioning.totals.float().contiguous())
        shares = conditioning.to(self._dtype).float().softmax(dim=-1).contiguous()
        return Softmax(shares, torch.ones(shares.shape[0]))

    def _expect_within(self, ids: Tensor) -> None:
        words = self._config.vocab_size
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < words:
            raise IndexError(f"token ids must be from 0 to {words - 1}")
