"""`TransformersBackend`: a model that transformers loads and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dgbackends.local import LocalBackend, opened
from dgbackends.transformers.loading import Loaded, load_model
from dgengine.engine import EngineInfo, Progress

if TYPE_CHECKING:
    from dgbackends.transformers.session import TransformersSession


class TransformersBackend(LocalBackend):
    """A loaded model. Make one with `dgbackends.transformers.load`."""

    engine = "transformers"

    def __init__(self, loaded: Loaded, path: Path, name: str, context: int | None = None) -> None:
        """Wraps a model that was read from `path`."""
        self.model = loaded.model
        self.device = loaded.device
        self._read(path)
        self._loaded = loaded  # keeps the folder of offloaded weights
        config = self.model.config
        longest = int(config.get_text_config().max_position_embeddings)
        self.info = EngineInfo(
            name=name,
            path=path,
            parameters=int(self.model.num_parameters()),
            canvas_length=int(config.canvas_length),
            vocab_size=int(config.get_text_config().vocab_size),
            context_length=longest if context is None else min(context, longest),
            device=str(loaded.device),
            precision=loaded.precision,
            weight_bytes=int(self.model.get_memory_footprint()),
            notes=loaded.notes,
        )

    def session(self) -> TransformersSession:
        """A new conversation."""
        from dgbackends.transformers.session import TransformersSession

        return TransformersSession(self)


def load(
    name: str | Path, device: str, precision: str, context: int | None, offline: bool, progress: Progress | None
) -> TransformersBackend:
    """See `dgbackends.transformers.load`."""

    def read(path: Path) -> TransformersBackend:
        return TransformersBackend(load_model(path, device, precision), path, str(name), context)

    return opened(name, context, offline, progress, read)
