"""How the known models fit this machine, as far as the engine can tell."""

from __future__ import annotations

from collections.abc import Callable

from dgengine import hub


def fits() -> Callable[[hub.KnownModel], str | None] | None:
    """A function from a model to a few words about how it fits; None where nothing can be told.

    The place where a planner of the engine comes in: `dgchat models` has the column as soon as this returns a function.
    """
    return None
