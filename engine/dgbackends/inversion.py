"""A function that calls back, turned into a generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Emit: TypeAlias = Callable[[T], None]


class Abandoned(Exception):
    """Raised by `emit` where nobody wants the rest: the function is to let it through."""


class _End:
    """The last thing that the function's thread hands over: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def generated(produce: Callable[[Emit[T]], None]) -> Generator[T, None, None]:
    """What `produce` emits, one by one.

    `produce` runs in a thread of its own, but never beside its consumer: `emit` returns only when the next item is
    asked for. Closing the generator makes `emit` raise `Abandoned`, and waits until `produce` has ended.

    Args:
        produce: called once with `emit`. What it raises is raised from the generator.
    """
    items: SimpleQueue[T | _End] = SimpleQueue()
    turns: SimpleQueue[bool] = SimpleQueue()

    def emit(item: T) -> None:
        items.put(item)
        if not turns.get():
            raise Abandoned

    def run() -> None:
        error: BaseException | None = None
        try:
            if turns.get():
                produce(emit)
        except BaseException as raised:  # noqa: BLE001 - it is raised again, by the consumer
            error = raised
        items.put(_End(error))

    thread = threading.Thread(target=run, name="dgbackends-produce", daemon=True)
    thread.start()
    going = True
    try:
        while True:
            turns.put(True)
            item = items.get()
            if isinstance(item, _End):
                going = False
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        if going:
            turns.put(False)
        thread.join()
