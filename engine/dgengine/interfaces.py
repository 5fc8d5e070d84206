"""What a session needs of a model and of its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from dgkernels.outcome import Outcome, Softmax

if TYPE_CHECKING:
    from dgengine.frame import Frame
    from dgengine.kernels.vocabulary import KernelHead
    from dgengine.sampler import Look


class Cache(Protocol):
    """The K/V cache of one conversation, as `dgengine.cache` makes it."""

    @property
    def length(self) -> int:
        """Tokens held."""

    def rollback(self, length: int) -> int:
        """Forgets what lies past `length`; returns the length really kept, which may be lower."""


class Model(Protocol):
    """What a session needs of a model, as `dgengine.checkpoint.load_model` makes it."""

    @property
    def config(self) -> Any:
        """With canvas_length, vocab_size, max_position_embeddings."""

    @property
    def device(self) -> torch.device:
        """Where the weights live."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""

    @property
    def kernel_head(self) -> KernelHead | None:
        """What takes the place of the logits in `denoise`; None where there are only logits."""

    @property
    def look(self) -> Look | None:
        """What takes the place of the sampler's statistics, and gives softmaxes that `decode` takes; None for them."""

    def new_cache(self) -> Any:
        """An empty cache."""

    def encode(self, ids: Tensor, cache: Any) -> None:
        """Appends the K and V of ids int64 [T]."""

    def decode(self, canvas: Tensor, cache: Any, self_conditioning: Any = None) -> Tensor:
        """Logits float32 [(B,) C, V] of a canvas int64 [(B,) C]; the cache is not changed.

        It is conditioned on logits over their temperature, or on what `look` made of them.
        """

    def frame(self, cache: Any) -> Frame:
        """Where a canvas lies after what the cache holds, where there is a `kernel_head`."""

    def denoise(
        self, canvas: Tensor, frame: Frame, self_conditioning: Softmax | None, temperature: float, uniforms: Tensor
    ) -> Outcome:
        """What a step wants of the logits of a canvas int64 [C], where there is a `kernel_head`."""

    def score(self, ids: Tensor, cache: Any) -> Tensor:
        """Causal log-probabilities float32 [T] of ids int64 [T]; the cache is not changed."""
