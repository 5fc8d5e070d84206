"""The head, and what a step wants of its logits, by the kernels of `dgkernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.errors import described
from dgengine.kernels import trials
from dgengine.kernels.trials import relative_error
from dgkernels.outcome import Outcome, Softmax
from dgkernels.tiles import FP8, VocabularyTiles, vocabulary_tiles

if TYPE_CHECKING:
    from dgkernels.eights import EightBits

_TRIED: Final = 24  # positions
_ENTROPY: Final = 0.02  # nats
_TEMPERATURE: Final = 0.7
_PIECE: Final = 2**14  # words whose embeddings are in float32 at a time: all of them would take 3 GB


class KernelHead:
    """Denoising's last pass over a vocabulary."""

    def __init__(self, embedding: Tensor | EightBits, softcap: float, tiles: VocabularyTiles) -> None:
        """Takes the embedding [V, D], which is the head's matrix too: in bfloat16, or in FP8."""
        from dgkernels.vocabulary import LOWEST_TEMPERATURE

        self._embedding = embedding
        self._softcap = softcap
        self._tiles = tiles
        self.lowest_temperature = LOWEST_TEMPERATURE * softcap

    def __call__(
        self, hidden: Tensor, temperature: float | Tensor, uniforms: Tensor, into: Softmax | None = None
    ) -> Outcome:
        """What the logits of `hidden` say over a temperature.

        Args:
            hidden: bfloat16 [C, D], normed and over the softcap.
            temperature: at least `lowest_temperature`; a number, or float32 [1] on the device.
            uniforms: float32 [C, 2] within 0 and 1.
            into: where the softmax is put; None for new tensors.
        """
        from dgkernels.vocabulary import denoise

        return denoise(hidden, self._embedding, self._softcap, temperature, uniforms, self._tiles, into)


def kernel_head(embedding: Tensor, softcap: float, fp8: bool = False) -> tuple[KernelHead | None, str | None]:
    """The head by kernels where they run and give what torch does, and else why not, in a few words.

    Args:
        embedding: [V, D].
        softcap: bounds the logits.
        fp8: whether it multiplies in FP8, which takes a byte a number more memory, and half the time at best.
    """
    from dgkernels import support

    if (reason := trials.why_not(embedding.device, embedding.dtype)) is not None:
        return None, reason
    capability = support.capability_of(embedding.device)
    if fp8 and capability < FP8:
        return None, "this GPU has no FP8"
    tiles = vocabulary_tiles(capability, embedding.shape[0], embedding.shape[1], fp8)
    if tiles is None:
        return None, f"a vocabulary of {embedding.shape[0]} x {embedding.shape[1]} cannot be cut into tiles"
    try:
        matrix = _in_fp8(embedding) if fp8 else embedding
    except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
        return None, f"those of the head fail here ({described(failure)})"
    head = KernelHead(matrix, softcap, tiles)
    reason = _difference(head, embedding, matrix, softcap)
    return (head, None) if reason is None else (None, reason)


def _in_fp8(embedding: Tensor) -> EightBits:
    from dgkernels.eights import quantise_rows

    return quantise_rows(embedding)


@torch.inference_mode()
def _difference(head: KernelHead, embedding: Tensor, matrix: Tensor | EightBits, softcap: float) -> str | None:
    """How what they give of positions drawn at random is not what torch gives; None where it is.

    In FP8 it is what torch gives of the rounded numbers: what rounding costs is not the kernels' fault.
    """
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(_TRIED, embedding.shape[1], generator=generator).to(embedding)
    hidden *= 0.7 / (hidden @ embedding.t()).float().std()  # so that the softcap bends the highest logits
    uniforms = torch.rand(_TRIED, 2, generator=generator).to(embedding.device)
    try:
        found = head(hidden, _TEMPERATURE, uniforms)
        soft = found.softmax.mean(embedding)
    except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
        return f"those of the head fail here ({described(failure)})"
    logits = _product(hidden, matrix).tanh() * (softcap / _TEMPERATURE)
    shares = logits.softmax(-1)
    entropy = -(shares * logits.log_softmax(-1)).sum(-1)
    error = relative_error(soft, _mean(shares, embedding))
    off = float((found.entropy - entropy).abs().max())
    highest = logits.gather(1, found.argmax.unsqueeze(1)).squeeze(1) >= logits.amax(-1) - 0.2
    if not (error < _ENTROPY and off < _ENTROPY and bool(highest.all())):  # NaN as well
        return f"the results of those of the head differ from torch's by {error:.1%} and {off:.3f} nats here"
    return None


def _product(hidden: Tensor, matrix: Tensor | EightBits) -> Tensor:
    """By torch: float32 [N, V]."""
    from dgkernels import reference

    if isinstance(matrix, Tensor):
        return F.linear(hidden, matrix).float()
    rows = reference.quantise_rows(hidden)
    return torch.cat([F.linear(rows, piece.dense()) for piece in matrix.split(_PIECE)], dim=1)


def _mean(shares: Tensor, embedding: Tensor) -> Tensor:
    """float32 [N, D]."""
    mean = shares.new_zeros(shares.shape[0], embedding.shape[1])
    for own, piece in zip(shares.split(_PIECE, dim=1), embedding.split(_PIECE), strict=True):
        mean.addmm_(own, piece.float())
    return mean
