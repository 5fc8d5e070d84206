"""mlx-vlm's implementation of the model, behind the protocol of `dgbackends`: for Apple silicon.

MLX also runs on Linux (`mlx[cpu]`), which is slow, and what it is tested on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgengine.engine import BUILT_IN, Progress

if TYPE_CHECKING:
    from dgbackends.mlx.backend import MlxBackend


def load(
    name: str | Path = BUILT_IN,
    *,
    device: str = "auto",
    precision: str = "auto",
    context: int | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> MlxBackend:
    """Loads a model with mlx-vlm.

    Args:
        name: "pocket", a directory, or a hub id, as for `dgengine.Engine.load`; conversions for MLX, too.
        device: "auto" (the GPU where MLX has one), "cpu", "gpu".
        precision: "auto" (as it is stored; float32 where MLX runs on the CPU), "float32", "bfloat16": of what is not
            stored quantised.
        context: tokens that prompt and answer may come to, at most the model's; None for the model's.
        offline: whether the hub is left alone.
        progress: told how far it is.

    Raises:
        ModelNotFoundError, CheckpointError, DeviceError: each says what to do; a DeviceError too where mlx-vlm is not
            installed. InsufficientMemoryError, a DeviceError, where it does not fit.
        ValueError: a context that is not positive.
    """
    from dgbackends.mlx.backend import load as load_backend

    return load_backend(name, device, precision, context, offline, progress)
