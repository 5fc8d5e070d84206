"""Keeps what libraries print off the screen.

torch, transformers and the C code below them write to stderr as they please. While an answer is made, file descriptor
2 leads to the log, and dgchat's own notes go through a private copy of the real one.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from dgchat.outlet import Outlet
from dgchat.paths import log_file

_MAX_LOG = 1 << 20  # bytes; a longer log is begun anew
_QUIET_LIBRARIES = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def debugging() -> bool:
    """Whether DGCHAT_DEBUG asks for tracebacks and for what libraries print."""
    return os.environ.get("DGCHAT_DEBUG", "") not in ("", "0")


@contextmanager
def hushed() -> Iterator[TextIO]:
    """Within it only what is written to the yielded stream reaches stderr. With DGCHAT_DEBUG nothing is hidden."""
    for name, value in _QUIET_LIBRARIES.items():
        os.environ.setdefault(name, value)
    if debugging() or not _is_real(sys.stderr):
        yield sys.stderr
        return
    sys.stderr.flush()
    encoding = sys.stderr.encoding
    with (
        os.fdopen(os.dup(2), "w", encoding=encoding, errors="replace", buffering=1) as screen,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        logging.captureWarnings(True)
        _lead_to_log(2)
        try:
            yield screen
        finally:
            sys.stderr.flush()
            os.dup2(screen.fileno(), 2)
            logging.captureWarnings(False)


@contextmanager
def screen_alone() -> Iterator[TextIO]:
    """Within it only what is written to the yielded stream reaches the terminal: stdout, too, leads to the log.

    For the full-screen app, which any line from elsewhere would spoil. The terminal is the one that stdout leads to:
    stderr may lead to a file.
    """
    with hushed(), Outlet(os.fdopen(os.dup(1), "wb"), encoding=sys.stdout.encoding, errors="replace") as screen:
        sys.stdout.flush()
        if not debugging():
            _lead_to_log(1)
        before = sys.__stdout__, sys.__stderr__
        vars(sys)["__stdout__"] = vars(sys)["__stderr__"] = screen  # where Textual measures, and where it draws
        try:
            yield screen
        finally:
            vars(sys)["__stdout__"], vars(sys)["__stderr__"] = before
            sys.stdout.flush()
            os.dup2(screen.fileno(), 1)


def _lead_to_log(descriptor: int) -> None:
    log = _open_log()
    os.dup2(log, descriptor)
    os.close(log)


def _is_real(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except (OSError, ValueError):  # replaced by something without a descriptor
        return False


def _open_log() -> int:
    """A descriptor of the log, or of the null device where no log can be written."""
    path = log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        anew = os.O_TRUNC if path.is_file() and path.stat().st_size > _MAX_LOG else 0
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | anew, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def log_traceback() -> str:
    """Appends the traceback of the error being handled to the log; returns where it went, "" for nowhere."""
    import time
    import traceback

    log = _open_log()
    lost = os.path.samestat(os.fstat(log), os.stat(os.devnull))
    with os.fdopen(log, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')}\n{traceback.format_exc()}")
    return "" if lost else str(log_file())
