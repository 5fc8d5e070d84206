"""One thing after another: what a key does must not go on in the middle of what the engine's last event does."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from textual.message_pump import MessagePump

_P = ParamSpec("_P")
_Node = TypeVar("_Node", bound=MessagePump)


def in_turn(
    action: Callable[Concatenate[_Node, _P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[_Node, _P], Coroutine[Any, Any, None]]:
    """Puts a call from elsewhere in the line of the node's own messages; it has then not been done when it returns.

    Textual runs the actions of keys, and what follows a dialog, on the app's task: between any two awaits of theirs
    a handler of the screen may run, and the other way round.
    """

    @functools.wraps(action)
    async def called(node: _Node, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        if asyncio.current_task() is node.task:
            await action(node, *args, **kwargs)
        else:
            node.call_later(action, node, *args, **kwargs)

    return called
