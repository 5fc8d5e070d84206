"""transformers' own implementation of the model, behind the protocol of `dgbackends`.

It is the reference that the embedded engine is tested against: slower, without pins and infill, and with what the
libraries around it bring: several GPUs and offloading (accelerate), bitsandbytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgengine.engine import BUILT_IN, Progress

if TYPE_CHECKING:
    from dgbackends.transformers.backend import TransformersBackend


def load(
    name: str | Path = BUILT_IN,
    *,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> TransformersBackend:
    """Loads a model with `from_pretrained`.

    Args:
        name: "pocket", a directory, a known model's short name, or a hub id, as for `dgengine.Engine.load`.
        device: "auto" (shared out by accelerate over all GPUs, then the host's memory, then the disk; the CPU where
            there is no GPU), "cpu", "cuda", "cuda:1".
        precision: "auto" (bfloat16 on a GPU, float32 on the CPU; a checkpoint that is stored quantised stays so),
            "float32", "bfloat16", "int8" or "nf4" (bitsandbytes, of the linear layers alone: `info.notes`).
        context: tokens that prompt and answer may come to, at most the model's; None for the model's.
        offline: whether the hub is left alone.
        progress: told how far it is.

    Raises:
        ModelNotFoundError, CheckpointError, DeviceError: each says what to do. InsufficientMemoryError, a
            DeviceError, where it does not fit.
        ValueError: a context that is not positive.
    """
    from dgbackends.transformers.backend import load as load_backend

    return load_backend(name, device, precision, context, offline, progress)
