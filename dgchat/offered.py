"""What the engine at hand can do, for whoever offers it. Knows no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dgbackends.protocol import Backend

# What each action of the chat takes of an engine.
NEEDS: Final = {
    "watch": "drafts", "mode": "drafts", "colors": "drafts", "canvas": "drafts", "rewrite": "infill",
}  # fmt: skip


def why_not(engine: Backend | None, name: str) -> str | None:
    """Why an engine cannot do something, by the name of the capability; None where it can, or is not there yet."""
    from dgengine import EngineError

    if engine is None:
        return None
    try:
        return engine.capabilities.reason(name)
    except EngineError:  # its tokenizer cannot be read: that is told where it is needed
        return None


def why_no_action(engine: Backend | None, action: str) -> str | None:
    """Why an action of the chat has no use with this engine; None where it has."""
    return why_not(engine, NEEDS[action]) if action in NEEDS else None
