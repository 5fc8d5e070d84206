"""How dgchat ends: its exit codes, and the failures that it reports in one sentence."""

from __future__ import annotations

import os
import re
import sys
from enum import IntEnum

from dgchat.sanitize import clean_line


class Exit(IntEnum):
    """Exit codes, as `dgchat --help` lists them."""

    FINE = 0
    ENGINE = 1
    USAGE = 2
    MODEL = 3
    INPUT = 4
    HUNG_UP = 129
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


class Failure(Exception):
    """Something that ends the program with one sentence on stderr.

    Args:
        message: what is wrong and what to do; control characters in it are removed.
        code: the exit code.
    """

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(clean_line(message))
        self.code = code


def complain(text: str) -> None:
    """One sentence on stderr, or nothing where nobody reads that."""
    try:
        sys.stderr.write(f"dgchat: {clean_line(text)}\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


_WANTED = re.compile(r"(?:tried to allocate|Tried to allocate) ([\d.]+) ?(bytes|KiB|MiB|GiB)")
_CAPACITY = re.compile(r"total capacity of ([\d.]+ [KMG]iB) of which ([\d.]+ [KMG]iB) is free")


def _memory_sentence(error: BaseException) -> str:
    """What was wanted and what was there, as far as the error tells, and what takes less."""
    wanted, capacity = _WANTED.search(str(error)), _CAPACITY.search(str(error))
    parts = ["There is not enough memory for this model or prompt"]
    if wanted:
        amount = f"{float(wanted[1]) / 2**30:.1f} GiB" if wanted[2] == "bytes" else f"{wanted[1]} {wanted[2]}"
        parts.append(f"{amount} more were wanted")
    if capacity:
        parts.append(f"{capacity[2]} of {capacity[1]} were free")
    advice = "A shorter chat, a smaller --max-tokens, --device cpu, or --model pocket takes less."
    return f"{parts[0]}{': ' if parts[1:] else ''}{', '.join(parts[1:])}. {advice}"


def of_engine(error: Exception) -> Failure | None:
    """The failure that an error from the engine stands for; None when it is not one of the engine's own."""
    if isinstance(error, Failure):
        return error
    from dgbackends import errors as servers
    from dgengine import errors, memory

    if memory.is_exhausted(error):
        return Failure(_memory_sentence(error), Exit.ENGINE)
    if not isinstance(error, errors.EngineError):
        return None
    codes = {
        servers.ServerAddressError: Exit.USAGE,
        servers.ServerRefusedError: Exit.INPUT,
        servers.ServerUnusableError: Exit.MODEL,
        servers.ServerKeyError: Exit.MODEL,
        errors.SamplingError: Exit.USAGE,
        errors.InsufficientMemoryError: Exit.ENGINE,
        errors.DeviceError: Exit.USAGE,
        errors.ModelNotFoundError: Exit.MODEL,
        errors.CheckpointError: Exit.MODEL,
        errors.ChatTemplateError: Exit.MODEL,
        errors.PromptError: Exit.INPUT,
        errors.InfillError: Exit.INPUT,
    }
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), Exit.ENGINE)
    return Failure(str(error), code)
