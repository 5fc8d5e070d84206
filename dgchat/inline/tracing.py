"""The trace of one answer, from its events to its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dgchat.export.writing import write
from dgchat.trace.codec import pack
from dgchat.trace.limits import MOST_BYTES, MOST_CELLS, MOST_STEPS
from dgchat.trace.steps import About, StepTrace
from dgengine.events import Done, Event, Step

if TYPE_CHECKING:
    from dgbackends.protocol import Backend


class Tracer:
    """Keeps the steps of an answer, up to as many as a trace may have."""

    def __init__(
        self, engine: Backend, prompt: str, seed: int | None, path: Path, force: bool, thinking: bool = False
    ) -> None:
        self._engine = engine
        about = About(engine.info.name, prompt, seed, engine.eos_ids, marks=engine.thought_marks, thinking=thinking)
        self._trace = StepTrace(about=about)
        self._path, self._force = path, force
        self._bytes = self._cells = self._steps = 0
        self._whole = True

    def take(self, event: Event) -> None:
        """Keeps what the event tells of the canvas."""
        if isinstance(event, Step):
            self._count(event)
        if isinstance(event, Done):
            self._trace.about = replace(self._trace.about, seed=event.stats.seed)
        elif self._whole:
            self._trace.take(event)

    def _count(self, step: Step) -> None:
        """Whether there is room for the step; the planes lie in memory about as they do in the file."""
        planes = (step.draft, step.entropy, step.top_ids, step.top_probs)
        self._bytes += sum(plane.nbytes for plane in planes if plane is not None)
        self._cells += len(step.draft)
        self._steps += 1
        room = self._bytes <= MOST_BYTES // 2 and self._cells <= MOST_CELLS and self._steps <= MOST_STEPS
        self._whole = self._whole and room

    def save(self) -> list[str]:
        """Writes the file, also after an answer that broke off; returns what there is to say of it.

        Raises:
            Failure: it cannot be written (exit code 2).
        """
        self._trace.learn(self._engine.spell)
        write(self._path, pack(self._trace), self._force)
        cut = "" if self._whole else f", up to block {self._trace.blocks[-1].number}: a trace cannot be longer"
        return [f"the steps are in {self._path}{cut}; dgchat replay {self._path} shows them"]
