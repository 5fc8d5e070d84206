"""What all formats take."""

from __future__ import annotations

from dataclasses import dataclass, field

from dgchat.exits import Exit, Failure
from dgchat.themes import Theme, load
from dgchat.trace.frames import View
from dgchat.trace.steps import StepTrace

# A film is dark, and a page as its reader likes it, where the user has chosen no palette.
_DARK, _LIGHT = "night", "day"


@dataclass(frozen=True)
class Options:
    """How a trace is to be exported.

    Attributes:
        step: of all, from 1: the one that a still picture shows; None for the middle one.
        theme: the name of a palette; "auto" for a dark one, and on a page for a light one where that is liked.
    """

    view: View = field(default_factory=View)
    step: int | None = None
    theme: str = "auto"

    @property
    def dark(self) -> Theme:
        """The palette, or the dark one of a pair."""
        return load(_DARK if self.theme == "auto" else self.theme)

    @property
    def light(self) -> Theme:
        """The palette, or the light one of a pair."""
        return load(_LIGHT if self.theme == "auto" else self.theme)

    def still(self, trace: StepTrace) -> int:
        """The number of the frame that a still picture shows.

        Raises:
            Failure: there is no such step (exit code 2).
        """
        if self.step is None:
            return (len(trace) + 1) // 2 or 1
        return step_of(trace, self.step)


def step_of(trace: StepTrace, step: int) -> int:
    """The step, if the trace has it.

    Raises:
        Failure: it has not (exit code 2).
    """
    if not 1 <= step <= len(trace):
        has = f"steps 1 to {len(trace)}" if len(trace) else "no steps"
        raise Failure(f"The trace has {has}, not {step}.", Exit.USAGE)
    return step
