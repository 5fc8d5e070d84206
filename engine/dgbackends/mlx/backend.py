"""`MlxBackend`: a model that mlx-vlm loads and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dgbackends.local import LocalBackend, opened
from dgbackends.mlx import loading
from dgengine.engine import EngineInfo, Progress

if TYPE_CHECKING:
    from dgbackends.mlx.session import MlxSession


class MlxBackend(LocalBackend):
    """A loaded model. Make one with `dgbackends.mlx.load`."""

    engine = "MLX"
    device = torch.device("cpu")  # torch has no part in it

    def __init__(self, model: Any, path: Path, name: str, context: int | None = None) -> None:
        """Wraps a model of `mlx_vlm.utils.load_model` that was read from `path`."""
        self.model = model
        self._read(path)
        mx = loading.core()
        text = model.config.text_config
        longest = int(text.max_position_embeddings)
        arrays = list(_arrays(model.parameters()))
        self.info = EngineInfo(
            name=name,
            path=path,
            parameters=sum(_count(module) for module in model.modules()),
            canvas_length=int(model.config.canvas_length),
            vocab_size=int(text.vocab_size),
            context_length=longest if context is None else min(context, longest),
            device="mlx:cpu" if loading.on_cpu(mx) else "mlx:gpu",
            precision=_precision(model),
            weight_bytes=sum(int(array.nbytes) for array in arrays),
        )

    def session(self) -> MlxSession:
        """A new conversation."""
        from dgbackends.mlx.session import MlxSession

        return MlxSession(self)


def load(
    name: str | Path, device: str, precision: str, context: int | None, offline: bool, progress: Progress | None
) -> MlxBackend:
    """See `dgbackends.mlx.load`."""
    loading.core()  # what is not installed shows before gigabytes are fetched

    def read(path: Path) -> MlxBackend:
        return MlxBackend(loading.load_model(path, device, precision), path, str(name), context)

    return opened(name, context, offline, progress, read)


def _arrays(tree: Any) -> Iterator[Any]:
    """The arrays of a tree of parameters."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for branch in tree:
            yield from _arrays(branch)
    else:
        yield tree


def _count(module: Any) -> int:
    """Parameters of a module itself, those of its parts left out; packed ones count as what they stand for."""
    bits = getattr(module, "bits", None)
    own = {key: value for key, value in dict(module).items() if hasattr(value, "nbytes") and not key.startswith("_")}
    if bits is None or "weight" not in own:
        return sum(int(array.size) for array in own.values())
    return int(own["weight"].size) * 32 // int(bits)  # packed into uint32; scales are none of the model's


def _precision(model: Any) -> str:
    """ "4-bit" where it is stored quantised; else the type of its numbers."""
    bits = {int(module.bits) for module in model.modules() if getattr(module, "bits", None) is not None}
    if bits:
        return f"{min(bits)}-bit"
    return str(model.model.decoder.norm.weight.dtype).rpartition(".")[2]
