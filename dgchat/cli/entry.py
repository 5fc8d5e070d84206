"""From a command line to an exit code, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from dgchat.cli.completing import VARIABLE
from dgchat.cli.root import command
from dgchat.exits import Exit, Failure, complain


def main() -> NoReturn:
    """The entry point: ends the process with an exit code of `Exit`."""
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _hang_up)
    signal.signal(signal.SIGINT, _interrupt)
    closed = sys.stdout is None
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by whoever started us
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:]) if not closed else _nowhere_to_write()
    except SystemExit as ended:  # by a signal, see below
        code = ended.code if isinstance(ended.code, int) else Exit.ENGINE
    code = _flush(code)
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        os._exit(code)  # torch, busy on the engine's thread, would abort an interpreter that shuts down
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Runs one command line; every failure is one sentence on stderr and an exit code, never a traceback."""
    try:
        if VARIABLE in os.environ:
            command.main(list(args), prog_name="dgchat", complete_var=VARIABLE)
        # Not `main`: that of click ends with 1 where the pipe is closed.
        with command.make_context("dgchat", list(args)) as context:
            return int(command.invoke(context))
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.UsageError as error:
        infill = "infill " if list(args[:1]) == ["infill"] else ""
        complain(f"{error.format_message()} Try dgchat {infill}--help.")
        return Exit.USAGE
    except Failure as failure:
        complain(str(failure))
        return failure.code
    except BrokenPipeError:
        return Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:  # noqa: BLE001 - the last resort: it is logged, and shown in a sentence
        return _stopped() if _interrupted.is_set() else _unexpected(error)


def _nowhere_to_write() -> int:
    complain("The output cannot be written: standard output is closed.")
    return Exit.ENGINE


def _stopped() -> int:
    complain("Stopped.")
    return Exit.INTERRUPTED


def _unexpected(error: Exception) -> int:
    from dgchat.hush import debugging, log_traceback

    if debugging():
        import traceback

        traceback.print_exc()
    if isinstance(error, OSError) and error.filename is None:
        complain(f"The output cannot be written: {error.strerror or error}.")
        return Exit.ENGINE
    log = log_traceback()
    where = f"the traceback is in {log}" if log else "DGCHAT_DEBUG=1 shows the traceback"
    complain(f"Something unexpected went wrong ({type(error).__name__}: {error}); {where}.")
    return Exit.ENGINE


def _flush(code: int) -> int:
    """Flushes the output; into a closed pipe the rest is thrown away, so that Python does not complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or Exit.CLOSED_PIPE
    return code


# A library that is being imported may turn Ctrl-C into an error of its own.
_interrupted = threading.Event()


def _interrupt(*_: object) -> NoReturn:
    _interrupted.set()
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    """SIGTERM unwinds the stack, so that the terminal is put in order."""
    raise SystemExit(int(Exit.TERMINATED))


def _hang_up(*_: object) -> NoReturn:
    """So does SIGHUP, where there still is a terminal."""
    raise SystemExit(int(Exit.HUNG_UP))
