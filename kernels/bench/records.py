"""The file of a stage: what it measured, and how it ended."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

Result: TypeAlias = dict[str, Any]

RUNNING: Final = "running"
DONE: Final = "done"


@dataclass
class Record:
    """The JSON file of a stage: written whenever a part of the result is there, so that it can be cut off.

    Attributes:
        path: of the file.
        result: what was measured so far.
        state: "running", "done", or why it is neither.
        seconds: so far.
    """

    path: Path
    result: Result = field(default_factory=dict)
    state: str = RUNNING
    seconds: float = 0.0
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"))
    _start: float = field(default_factory=time.perf_counter, compare=False, repr=False)

    @property
    def stage(self) -> str:
        return self.path.stem

    def put(self, **parts: Any) -> None:
        """Adds parts to the result, and writes the file."""
        self.result.update(parts)
        self.seconds = time.perf_counter() - self._start
        self.write()

    def end(self, state: str = DONE) -> None:
        """Says how it ended, and writes the file."""
        self.state = state
        self.put()

    def write(self) -> None:
        """Whole or not at all: a process may be killed meanwhile."""
        contents = {"stage": self.stage, "state": self.state, "date": self.date, "seconds": round(self.seconds, 1)}
        beside = self.path.with_suffix(".partial")
        beside.write_text(json.dumps({**contents, "result": self.result}, indent=2) + "\n", encoding="utf-8")
        os.replace(beside, self.path)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """What a file holds; None where there is none."""
        if not path.exists():
            return None
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(path, dict(found["result"]), found["state"], found["seconds"], found["date"])
