"""dgengine: DiffusionGemma on your own machine, exact and streamed step by step.

    import dgengine

    engine = dgengine.Engine.load("pocket")
    ids = engine.encode_chat([{"role": "user", "content": "Tell me a story about a fox."}])
    session = engine.session()
    for event in session.generate(ids):
        match event:
            case dgengine.Block(tokens=tokens):
                print(engine.decode(tokens), end="")

Importing this package imports neither torch nor transformers: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dgengine.capabilities import Capabilities as Capabilities
    from dgengine.chat import ChatTokenizer as ChatTokenizer
    from dgengine.chat import EncodedChat as EncodedChat
    from dgengine.control import Control as Control
    from dgengine.conversion import convert as convert
    from dgengine.engine import Engine as Engine
    from dgengine.engine import EngineInfo as EngineInfo
    from dgengine.errors import ChatTemplateError as ChatTemplateError
    from dgengine.errors import CheckpointError as CheckpointError
    from dgengine.errors import ConfigError as ConfigError
    from dgengine.errors import DeviceError as DeviceError
    from dgengine.errors import EmptyPromptError as EmptyPromptError
    from dgengine.errors import EngineError as EngineError
    from dgengine.errors import ImageError as ImageError
    from dgengine.errors import InfillError as InfillError
    from dgengine.errors import InsufficientMemoryError as InsufficientMemoryError
    from dgengine.errors import ModelNotFoundError as ModelNotFoundError
    from dgengine.errors import NumericsError as NumericsError
    from dgengine.errors import PromptError as PromptError
    from dgengine.errors import PromptTooLongError as PromptTooLongError
    from dgengine.errors import SamplingError as SamplingError
    from dgengine.errors import SessionBusyError as SessionBusyError
    from dgengine.errors import TokenIdError as TokenIdError
    from dgengine.events import Block as Block
    from dgengine.events import Candidate as Candidate
    from dgengine.events import Done as Done
    from dgengine.events import Event as Event
    from dgengine.events import Hole as Hole
    from dgengine.events import Notice as Notice
    from dgengine.events import Prefill as Prefill
    from dgengine.events import Step as Step
    from dgengine.infill.request import InfillRequest as InfillRequest
    from dgengine.sampling import ResolvedSampling as ResolvedSampling
    from dgengine.sampling import Sampling as Sampling
    from dgengine.session import Session as Session
    from dgengine.stats import Stats as Stats

_HOMES = {
    "capabilities": ("Capabilities",),
    "chat": ("ChatTokenizer", "EncodedChat"),
    "control": ("Control",),
    "conversion": ("convert",),
    "engine": ("Engine", "EngineInfo"),
    "errors": (
        "ChatTemplateError",
        "CheckpointError",
        "ConfigError",
        "DeviceError",
        "EmptyPromptError",
        "EngineError",
        "ImageError",
        "InfillError",
        "InsufficientMemoryError",
        "ModelNotFoundError",
        "NumericsError",
        "PromptError",
        "PromptTooLongError",
        "SamplingError",
        "SessionBusyError",
        "TokenIdError",
    ),
    "events": ("Block", "Candidate", "Done", "Event", "Hole", "Notice", "Prefill", "Step"),
    "infill.request": ("InfillRequest",),
    "sampling": ("ResolvedSampling", "Sampling"),
    "session": ("Session",),
    "stats": ("Stats",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
_OTHERS = ("cache", "checkpoint", "config", "hub", "infill", "model", "sampler")
_MODULES = frozenset({*_HOMES, *_OTHERS} - {"infill.request"})

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Loads a public name, or a submodule, on first use."""
    if name in _MODULES:
        return importlib.import_module(f"dgengine.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'dgengine' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dgengine.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
