"""Files that are written whole or not at all, and never over another one unless that is asked for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dgchat.exits import Exit, Failure


def check_free(path: Path, force: bool) -> None:
    """Refuses a path that cannot be written to, before there is anything to write.

    Raises:
        Failure: something is there and `force` is not given, or there is no such folder (exit code 2).
    """
    if path.is_dir():
        raise Failure(f"{path} is a folder; name a file.", Exit.USAGE)
    if not force and os.path.lexists(path):
        raise Failure(f"{path} is there already; --force overwrites it.", Exit.USAGE)
    if not path.parent.is_dir():
        raise Failure(f"There is no folder {path.parent}.", Exit.USAGE)


def write(path: Path, data: bytes, force: bool) -> None:
    """Writes a new file; with `force` also over one that is there, which stays as it is until the new one is whole.

    Raises:
        Failure: see `check_free`; or the disk does not take it (exit code 2).
    """
    check_free(path, force)
    try:
        if force and (path.is_file() or not os.path.lexists(path)):
            _replace(Path(os.path.realpath(path)), data)
        elif force:  # a device or a pipe
            path.write_bytes(data)
        else:
            _create(path, data)
    except FileExistsError as error:
        raise Failure(f"{path} is there already; --force overwrites it.", Exit.USAGE) from error
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror or error}.", Exit.USAGE) from error


def _create(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        try:
            file.write(data)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _create(beside, data)
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()
