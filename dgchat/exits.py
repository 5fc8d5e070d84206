"""How dgchat ends: its exit codes, and the failures that it reports in one sentence."""

from __future__ import annotations

from enum import IntEnum

from dgchat.sanitize import clean_line


class Exit(IntEnum):
    """Exit codes, as `dgchat --help` lists them."""

    FINE = 0
    ENGINE = 1
    USAGE = 2
    MODEL = 3
    INPUT = 4
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


# What torch says where Python would raise a MemoryError; the types are torch's own.
_NO_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator", "CUDA out of memory")


def of_engine(error: Exception) -> Failure | None:
    """The failure that an error from the engine stands for; None when it is not one of the engine's own."""
    from dgengine import errors

    if isinstance(error, MemoryError) or any(sign in f"{type(error).__name__} {error}" for sign in _NO_MEMORY):
        return Failure("There is not enough memory for this model or prompt.", Exit.ENGINE)
    if not isinstance(error, errors.EngineError):
        return None
    codes = {
        errors.SamplingError: Exit.USAGE,
        errors.DeviceError: Exit.USAGE,
        errors.ModelNotFoundError: Exit.MODEL,
        errors.CheckpointError: Exit.MODEL,
        errors.ChatTemplateError: Exit.MODEL,
        errors.PromptError: Exit.INPUT,
    }
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), Exit.ENGINE)
    return Failure(str(error), code)
