"""A vLLM server (0.33 or newer) as an engine, over HTTP. See docs/backends.md."""

from __future__ import annotations

from dgbackends.vllm.engine import ServerEngine as ServerEngine
from dgbackends.vllm.engine import load as load

__all__ = ["ServerEngine", "load"]
