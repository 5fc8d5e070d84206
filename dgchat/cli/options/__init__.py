"""The options of the command line, a module a family. Imports nothing heavy.

Each has `OPTIONS`; most have `ONLY` (the names of those, or where each belongs), and `check`, which refuses them where
they mean nothing. An option that is not given is None, or () where it may be given several times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def adding(options: Sequence[Callable[[_Function], _Function]]) -> Callable[[_Function], _Function]:
    """Adds these options to a command, in their order."""

    def added(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return added
