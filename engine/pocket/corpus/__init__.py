"""The text that the built-in model learns from: a small grammar library with held-out combinations."""

from __future__ import annotations

from pocket.corpus import code, knowledge, numbers, smalltalk, stories, things, words
from pocket.corpus.base import Task, Turn, is_held_out

_MODULES = (stories, things, numbers, words, code, smalltalk, knowledge)

TASKS: dict[str, Task] = {task.name: task for module in _MODULES for task in module.TASKS}

__all__ = ["TASKS", "Task", "Turn", "is_held_out"]
