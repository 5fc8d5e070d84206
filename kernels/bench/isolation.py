"""A command in a process of its own, with a limit of time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

_GRACE = 5.0  # seconds between being asked to end and being ended


def run_apart(command: Sequence[str], seconds: float, log: Path) -> str:
    """Runs a command, with what it prints in `log`; returns how it ended, in a few words.

    A process that has broken its GPU context, or compiles for ever, harms no other so. When its time is up it and its
    children are ended.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"cut off after {seconds:.0f} s"
    except BaseException:  # an interrupt from the keyboard does not reach it, in its own session
        _end(process)
        raise
    return "ended" if status == 0 else f"failed: it ended with exit status {status}, see {log.name}"


def _end(process: subprocess.Popen[bytes]) -> None:
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, wanted)
        try:
            process.wait(_GRACE)
            return
        except subprocess.TimeoutExpired:
            continue
