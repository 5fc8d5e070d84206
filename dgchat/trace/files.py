"""Traces on disk."""

from __future__ import annotations

from pathlib import Path

from dgchat.exits import Exit, Failure
from dgchat.trace.archive import TraceError
from dgchat.trace.codec import unpack
from dgchat.trace.limits import MOST_FILE_BYTES
from dgchat.trace.steps import StepTrace


def read_trace(path: Path) -> StepTrace:
    """The trace in a file.

    Raises:
        Failure: there is no such file, it cannot be read, or it is no trace or a damaged one (exit code 4).
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(f"The trace {path} cannot be read: {error.strerror or error}.", Exit.INPUT) from error
    except ValueError as error:  # a null byte in the path
        raise Failure(f"The trace {str(path)!r} cannot be read: {error}.", Exit.INPUT) from error
    return opened(data, str(path))


def opened(data: bytes, name: str) -> StepTrace:
    """The trace that these bytes are; `name` says where they come from.

    Raises:
        Failure: they are none, or a damaged one (exit code 4).
    """
    try:
        return unpack(data)
    except TraceError as error:
        raise Failure(f"{name}: {error}", Exit.INPUT) from error
