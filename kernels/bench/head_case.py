"""The head, drawn at random: what a step wants of its logits, by kernels and by torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.sampler import fast_statistics
from dgkernels import reference, support
from dgkernels.eights import EightBits, quantise_rows
from dgkernels.outcome import Outcome
from dgkernels.tiles import VocabularyTiles, vocabulary_tiles
from dgkernels.vocabulary import denoise

_TEMPERATURE: Final = 0.7
_SPREAD: Final = 0.3  # of logits over the softcap, so that it bends the highest


@dataclass(frozen=True, eq=False)
class HeadCase:
    """Normed hidden states bfloat16 [C, D] over the softcap, and an embedding bfloat16 [V, D]."""

    hidden: Tensor
    embedding: Tensor
    uniforms: Tensor
    softcap: float
    tiles: VocabularyTiles

    def head(self) -> Outcome:
        """The kernels."""
        return denoise(self.hidden, self.embedding, self.softcap, _TEMPERATURE, self.uniforms, self.tiles)

    @property
    def fp8(self) -> VocabularyTiles | None:
        """The tiles in FP8; None where this device or this size has none."""
        words, hidden = self.embedding.shape
        return vocabulary_tiles(support.capability_of(self.embedding.device), words, hidden, fp8=True)

    @cached_property
    def rounded(self) -> EightBits:
        """The embedding in FP8."""
        return quantise_rows(self.embedding)

    def head_in_fp8(self) -> Outcome:
        """The kernels, in FP8."""
        assert self.fp8 is not None
        return denoise(self.hidden, self.rounded, self.softcap, _TEMPERATURE, self.uniforms, self.fp8)

    def exact_logits_in_fp8(self) -> Tensor:
        """As `exact_logits`, of the numbers as they are rounded."""
        product = reference.quantise_rows(self.hidden) @ self.rounded.dense().t()
        return product.tanh_().mul_(self.softcap / _TEMPERATURE)

    def conditioned(self) -> Tensor:
        """And what the next step makes of it."""
        return self.head().softmax.mean(self.embedding)

    def exact_logits(self) -> Tensor:
        """float32 [C, V], over the temperature; the product is not rounded."""
        product = self.hidden.float() @ self.embedding.float().t()
        return product.tanh_().mul_(self.softcap / _TEMPERATURE)

    def logits(self) -> Tensor:
        """The same as the engine has them by torch: rounded to bfloat16 before the softcap."""
        return F.linear(self.hidden, self.embedding).float().tanh_().mul_(self.softcap / _TEMPERATURE)

    def reference_head(self) -> None:
        """As the engine has it by torch."""
        fast_statistics(self.logits(), torch.Generator(self.hidden.device))

    def reference_conditioned(self) -> Tensor:
        """Likewise: rounded to bfloat16 first."""
        return (self.logits().bfloat16().softmax(-1) @ self.embedding).float()


def draw_head(config: ModelConfig, count: int, generator: torch.Generator) -> HeadCase | None:
    """A head of these dimensions; None where the kernels have no tiles for it."""
    device = generator.device
    words, hidden = config.vocab_size, config.hidden_size
    tiles = vocabulary_tiles(support.capability_of(device), words, hidden)
    if tiles is None:
        return None
    embedding = torch.randn(words, hidden, generator=generator, device=device, dtype=torch.bfloat16)
    states = torch.randn(count, hidden, generator=generator, device=device) * (_SPREAD * hidden**-0.5)
    uniforms = torch.rand(count, 2, generator=generator, device=device)
    return HeadCase(states.bfloat16(), embedding, uniforms, config.final_logit_softcapping, tiles)
