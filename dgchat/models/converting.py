"""`dgchat convert SRC DST`: writes a plain model again with its experts in NVFP4."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import click

from dgchat.exits import Exit, of_engine
from dgchat.hush import hushed
from dgchat.notes import Notes
from dgchat.settings import Settings
from dgengine import EngineError, hub

_USAGE = "dgchat convert takes SRC, a model in bfloat16, and DST, a directory that is not there yet."


def convert(words: Sequence[str], settings: Settings, out: TextIO | None = None) -> Exit:
    """Quantises the experts of SRC, which is here, and writes it all to DST; prints that directory.

    Raises:
        click.UsageError: there are not two words.
        Failure: SRC is not here, or is no whole plain checkpoint, or DST cannot be written (exit code 3).
    """
    if len(words) != 2:
        raise click.UsageError(_USAGE)
    out = out or sys.stdout
    source, target = words[0], Path(words[1]).expanduser()
    with hushed() as screen:
        notes = Notes(screen, settings.quiet)
        try:
            before, after = _converted(source, target, settings, notes)
        except KeyboardInterrupt:
            notes.say(f"Stopped; nothing has been written to {target}.")
            return Exit.INTERRUPTED
        except EngineError as error:
            notes.clear()
            raise of_engine(error) or error from error
        notes.clear()
        notes.say(f"{hub.amount(before)} became {hub.amount(after)}; dgchat --model {target} runs it.")
    out.write(f"{target}\n")
    return Exit.FINE


def _converted(source: str, target: Path, settings: Settings, notes: Notes) -> tuple[int, int]:
    """Converts; returns the bytes of both directories."""
    import dgengine
    from dgengine.engine import find_device, find_model

    notes.wait(f"reading {source}")
    path = find_model(source, offline=True)
    device = find_device(settings.device)
    dgengine.convert(path, target, device, lambda done: notes.wait(f"quantising {source}", done))
    return _size(path), _size(target)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))
