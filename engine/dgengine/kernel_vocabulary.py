"""The head, and what a step wants of its logits, by the kernels of `dgkernels`, on devices that run them.

Like the experts (`dgengine.kernel_moe`), they are tried before they are used.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.errors import described
from dgkernels.outcome import Outcome
from dgkernels.tiles import VocabularyTiles, vocabulary_tiles

_TRIED: Final = 24  # positions
_ENTROPY: Final = 0.02  # nats
_TEMPERATURE: Final = 0.7


class KernelHead:
    """Denoising's last pass over a vocabulary."""

    def __init__(self, embedding: Tensor, softcap: float, tiles: VocabularyTiles) -> None:
        """Takes the embedding bfloat16 [V, D], which is the head's matrix too."""
        from dgkernels.vocabulary import LOWEST_TEMPERATURE

        self._embedding = embedding
        self._softcap = softcap
        self._tiles = tiles
        self.lowest_temperature = LOWEST_TEMPERATURE * softcap

    def __call__(self, hidden: Tensor, temperature: float, uniforms: Tensor) -> Outcome:
        """What the logits of `hidden` say over a temperature.

        Args:
            hidden: bfloat16 [C, D], normed and over the softcap.
            temperature: at least `lowest_temperature`.
            uniforms: float32 [C, 2] within 0 and 1.
        """
        from dgkernels.vocabulary import denoise

        return denoise(hidden, self._embedding, self._softcap, temperature, uniforms, self._tiles)


def kernel_head(embedding: Tensor, softcap: float) -> tuple[KernelHead | None, str | None]:
    """The head by kernels where they run and give what torch does, and else why not, in a few words.

    Args:
        embedding: [V, D].
        softcap: bounds the logits.
    """
    from dgkernels import support

    device = embedding.device
    if embedding.dtype != torch.bfloat16:
        return None, "they compute in bfloat16"
    reason = support.why_not(device)
    if reason is not None:
        return None, reason
    tiles = vocabulary_tiles(support.capability_of(device), *embedding.shape)
    if tiles is None:
        return None, f"a vocabulary of {embedding.shape[0]} x {embedding.shape[1]} cannot be cut into tiles"
    head = KernelHead(embedding, softcap, tiles)
    return (head, None) if (reason := _difference(head, embedding, softcap)) is None else (None, reason)


@torch.inference_mode()
def _difference(head: KernelHead, embedding: Tensor, softcap: float) -> str | None:
    """How what they give of positions drawn at random is not what torch gives; None where it is."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(_TRIED, embedding.shape[1], generator=generator).to(embedding)
    hidden *= 0.7 / (hidden @ embedding.t()).float().std()  # so that the softcap bends the highest logits
    uniforms = torch.rand(_TRIED, 2, generator=generator).to(embedding.device)
    try:
        found = head(hidden, _TEMPERATURE, uniforms)
        soft = found.softmax.mean(embedding)
    except Exception as failure:  # noqa: BLE001 - a kernel that cannot be compiled or launched is not used
        return f"they fail here ({described(failure)})"
    logits = F.linear(hidden, embedding).float().tanh() * (softcap / _TEMPERATURE)
    shares = logits.softmax(-1)
    entropy = -(shares * logits.log_softmax(-1)).sum(-1)
    wanted = shares @ embedding.float()
    error = float((soft - wanted).norm() / wanted.norm())
    off = float((found.entropy - entropy).abs().max())
    highest = logits.gather(1, found.argmax.unsqueeze(1)).squeeze(1) >= logits.amax(-1) - 0.2
    if not (error < _ENTROPY and off < _ENTROPY and bool(highest.all())):  # NaN as well
        return f"their results differ from torch's by {error:.1%} and {off:.3f} nats here"
    return None
