"""The C library is tried before it is used: where it gives something else than torch, torch is used."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from dgengine.kernels.trials import refusal, relative_error
from dgengine.native import compiling, packing
from dgengine.native.denoiser import NativeDenoiser
from dgengine.native.packing import Packed, Recording
from dgengine.native.passes import NativePasses
from dgengine.sampler import fast_statistics
from dgengine.weights import CONDITIONING, decoder_layer
from dgkernels.outcome import Softmax

if TYPE_CHECKING:
    from dgengine.model import Model

_LONGEST: Final = 160  # tokens before the canvas; or, where that is less, a few more than the window of sliding layers
_TRIED: Final = 24  # positions of the canvas: three tiles for one thread, two and one for two
_TEMPERATURE: Final = 0.7
_FLOAT32: Final = 1e-3  # relative, of the root mean square
_BFLOAT16: Final = 0.05  # likewise, of the position in the middle: rounding sends a few to other experts
_DRAWS: Final = 0.1  # the share of draws that rounding may move to a neighbour


def native_passes(model: Model, recording: Recording) -> tuple[NativePasses | None, str | None]:
    """Them where they run and give what torch does, and else why not, in a few words.

    Args:
        model: on a CPU, computed by torch.
        recording: what has given its weights.
    """
    parts = (CONDITIONING, *(decoder_layer(index) for index in range(len(model.config.layers))))
    if not all(recording.is_plain(part) for part in parts):
        return None, "the weights are in codes"
    if (reason := packing.why_not(model.config)) is not None:
        return None, reason
    library, reason = compiling.library()
    if library is None:
        return None, reason
    if model.dtype == torch.bfloat16 and not compiling.has_bf16(library):
        return None, "this processor has no products of bfloat16"
    denoiser = NativeDenoiser(library, Packed(model.config, recording, model.embedding_scale, model.dtype))
    own = NativePasses(denoiser, model.config, model.rotary, model.dtype)
    tolerance = _FLOAT32 if model.dtype == torch.float32 else _BFLOAT16
    reason = refusal("passes in C", partial(_errors, own, model), tolerance)
    return (own, None) if reason is None else (None, reason)


def _errors(own: NativePasses, model: Model) -> Iterator[float]:
    """The relative errors of a first step and of a second one after words drawn at random, and of a look at them."""
    generator = torch.Generator().manual_seed(0)
    words = model.config.vocab_size
    ids = torch.randint(0, words, (min(model.config.sliding_window + 3, _LONGEST),), generator=generator)
    canvas = torch.randint(0, words, (_TRIED,), generator=generator)
    by_torch, by_c = model.new_cache(), model.new_cache()
    model.encode(ids, by_torch)
    own.encode(ids, by_c)
    shares = torch.randn(_TRIED, words, generator=generator).mul_(4.0).softmax(-1)
    logits = torch.empty(0)
    for softmax in (None, Softmax(shares, torch.ones(_TRIED))):
        logits = model.decode(canvas, by_torch, softmax)
        yield _difference(own.decode(canvas, by_c, softmax), logits, model.dtype)
    yield from _look_errors(own, logits)


def _difference(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> float:
    if dtype == torch.float32:
        return relative_error(found, wanted)
    rows = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    # NaN counts as large, and in the middle there is then none unless half of them are
    return float(rows.nan_to_num(torch.inf).median())


def _look_errors(own: NativePasses, logits: Tensor) -> Iterator[float]:
    """Of each part of an outcome; what is counted is 0, or 1 where it is wrong."""
    uniforms = torch.rand(logits.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    scaled = logits / _TEMPERATURE
    wanted = fast_statistics(scaled.clone(), torch.Generator().manual_seed(1))
    found = own.look(logits, _TEMPERATURE, uniforms)
    yield float(not torch.equal(found.argmax, wanted.argmax))
    yield float((found.sample != wanted.sample).float().mean() > _DRAWS)
    yield relative_error(found.entropy, wanted.entropy)
    yield relative_error(found.softmax.weights / found.softmax.totals.unsqueeze(1), scaled.softmax(-1))
