"""The prompt: the words of the command line, and the text that is piped in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import BinaryIO, TextIO

from dgchat.exits import Exit, Failure

_MAX_BYTES = 16 << 20  # Far more than any context holds: what is longer is a mistake, such as /dev/zero.
_PATIENCE = 3.0  # seconds of silence on stdin until a note says what is being waited for


def read_prompt(words: Sequence[str], stdin: TextIO | None) -> str:
    """The user's message: the piped text, and after an empty line the words.

    Args:
        words: of the command line.
        stdin: the standard input; a terminal is not read.

    Raises:
        Failure: there is no text, or it is not UTF-8 (exit code 4).
    """
    asked = " ".join(words)
    check_text(asked, "The prompt")
    piped = "" if stdin is None or stdin.isatty() else read_piped(stdin.buffer)
    parts = [part for part in (piped.strip("\n"), asked) if part.strip()]
    if not parts:
        raise Failure('The prompt is empty: write what to ask, such as dgchat "Tell me a story."', Exit.INPUT)
    return "\n\n".join(parts)


def read_piped(stdin: BinaryIO) -> str:
    """All of standard input as text.

    Raises:
        Failure: it cannot be read, is too long, or is not UTF-8 (exit code 4).
    """
    data = read_bytes(stdin, _MAX_BYTES)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Failure(
            f"Standard input is not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start:,}; "
            "convert it first, for example with iconv.",
            Exit.INPUT,
        ) from error


def read_bytes(stdin: BinaryIO, most: int) -> bytes:
    """All of standard input, at most so many bytes. On a terminal a note comes after a while of silence.

    Raises:
        Failure: it cannot be read, or is too long (exit code 4).
    """
    reminder = threading.Timer(_PATIENCE, _remind)
    reminder.daemon = True
    reminder.start()
    try:
        data = stdin.read(most + 1)
    except OSError as error:
        raise Failure(f"Standard input cannot be read: {error.strerror or error}.", Exit.INPUT) from error
    finally:
        reminder.cancel()
    if len(data) > most:
        raise Failure(f"Standard input is longer than {most >> 20} MiB: give less text.", Exit.INPUT)
    return data


def check_text(text: str, what: str) -> None:
    """Refuses text with bytes that are not UTF-8 (Python hands them on as lone surrogates).

    Raises:
        Failure: exit code 4.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Failure(f"{what} is not UTF-8 text.", Exit.INPUT) from error


def _remind() -> None:
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write("dgchat: waiting for standard input (Ctrl-D ends it; < /dev/null gives none)\n")
        sys.stderr.flush()
