"""The trace itself, for `dgchat replay` and for numpy."""

from __future__ import annotations

from dgchat.export.options import Options
from dgchat.trace.codec import pack
from dgchat.trace.steps import StepTrace


def export(trace: StepTrace, options: Options) -> bytes:
    """What `trace.codec.unpack` reads; no option changes it."""
    return pack(trace)
