"""The C library is tried before it is used: where it gives something else than torch, torch is used."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import torch

from dgengine.kernels.trials import refusal, relative_error
from dgengine.native import compiling, packing
from dgengine.native.denoiser import NativeDenoiser
from dgengine.native.packing import Packed, Recording
from dgkernels.outcome import Softmax

if TYPE_CHECKING:
    from dgengine.model import Model

_COMMITTED: Final = 5  # tokens before the canvas
_TRIED: Final = 24  # positions: three tiles for one thread, or one and two
_TOLERANCE: Final = {torch.float32: 1e-3, torch.bfloat16: 0.05}  # relative, of the root mean square


def native_denoiser(model: Model, recording: Recording) -> tuple[NativeDenoiser | None, str | None]:
    """It where it runs and gives what torch does, and else why not, in a few words.

    Args:
        model: on a CPU, denoising by torch.
        recording: what has given its weights.
    """
    if not all(recording.is_plain(f"model.decoder.layers.{index}") for index in range(len(model.config.layers))):
        return None, "the weights are in codes"
    if (reason := packing.why_not(model.config)) is not None:
        return None, reason
    library, reason = compiling.library()
    if library is None:
        return None, reason
    if model.dtype == torch.bfloat16 and not compiling.has_bf16(library):
        return None, "this processor has no products of bfloat16"
    own = NativeDenoiser(library, Packed(model.config, recording, model.embedding_scale, model.dtype))
    reason = refusal("passes in C", partial(_errors, own, model), _TOLERANCE[model.dtype])
    return (own, None) if reason is None else (None, reason)


def _errors(own: NativeDenoiser, model: Model) -> Iterator[float]:
    """The relative errors of a first pass and of a second one, of words drawn at random."""
    generator = torch.Generator().manual_seed(0)
    words = model.config.vocab_size
    ids = torch.randint(0, words, (_COMMITTED + _TRIED,), generator=generator)
    cache = model.new_cache()
    model.encode(ids[:_COMMITTED], cache)
    shares = torch.randn(_TRIED, words, generator=generator).mul_(4.0).softmax(-1)
    for softmax in (None, Softmax(shares, torch.ones(_TRIED))):
        wanted = model.decode(ids[_COMMITTED:], cache, softmax)
        yield relative_error(own.logits(ids[_COMMITTED:], model.attended(_TRIED, cache), softmax), wanted)
