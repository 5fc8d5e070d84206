"""Every error the engine raises on purpose, under one base.

Each message is one or two plain sentences: what is wrong, where, and what to do. A front end may print
`str(error)` as it is.
"""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose."""


class ModelNotFoundError(EngineError):
    """The named model is neither built in, nor a directory, nor to be had from the hub."""


class DownloadError(ModelNotFoundError):
    """A model that could not be fetched, kept or removed: no network, no room, a file that is not what the hub says."""


class CheckpointError(EngineError):
    """A model directory that cannot be read: a file or tensor missing, unexpected, misshapen or corrupted."""


class ConfigError(CheckpointError):
    """A model directory whose configuration names another architecture or something that is not supported."""


class DeviceError(EngineError):
    """The asked device or precision is not there, or this version cannot run on it."""


class InsufficientMemoryError(DeviceError):
    """The memory of the device, or of the host, does not suffice for the model, or for what it was asked for."""


class ChatTemplateError(EngineError):
    """The checkpoint has no tokenizer or chat template, or the template refuses the messages."""


class SamplingError(EngineError, ValueError):
    """A sampling setting outside its range."""


class PromptError(EngineError, ValueError):
    """A prompt that cannot be answered; the subclasses say why."""


class EmptyPromptError(PromptError):
    """A prompt of no tokens, or a chat of no messages."""


class PromptTooLongError(PromptError):
    """A prompt that, with the room asked for the answer, is longer than the context."""


class TokenIdError(PromptError):
    """A token id outside the vocabulary."""


class ImageError(PromptError):
    """An image that cannot be read, or a model that cannot see one."""


class InfillError(EngineError, ValueError):
    """A request to rewrite something that cannot be met: a span outside the text, one too long, no such value."""


class NumericsError(EngineError):
    """The model's output holds NaN or infinity."""


def not_finite(where: str = "") -> NumericsError:
    """The error for NaN or infinity in the logits; `where`: such as "step 3 of an infill"."""
    at = f" at {where}" if where else ""
    return NumericsError(
        f"The model gave NaN or infinity{at}: the weights may be damaged, or overflow at this precision; "
        "float32 may help."
    )


class SessionBusyError(EngineError):
    """A session was asked for a second answer while the first is still being written."""


def first_line(error: BaseException) -> str:
    """Of the error's own words; the name of its type where it has none. Libraries append a page to it now and then."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].strip()


def described(error: BaseException) -> str:
    """ "RuntimeError: out of resources": its type and its first line."""
    return f"{type(error).__name__}: {first_line(error) if str(error).strip() else ''}"
