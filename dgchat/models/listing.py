"""`dgchat models`: the models that are known, and those that are here."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from dgchat.exits import Exit
from dgchat.notes import Notes
from dgchat.sanitize import clean_line
from dgengine import hub

if TYPE_CHECKING:
    from dgchat.machine.fits import Fit
    from dgchat.machine.probe import Machine

_TITLES = ("NAME", "MODEL", "SIZE", "HERE", "FITS")
_WITHOUT_MODEL = (0, 2, 3, 4)


@dataclass(frozen=True)
class Row:
    """A model, as `dgchat models --json` prints it.

    Attributes:
        name: what --model takes.
        repo: its name on the hub; None for the built-in model.
        format: how its weights are kept; None where that is not known.
        bytes: of all its files; None where that is not known.
        state: "whole", "partial" or "none".
        bytes_here: of `bytes`, how many are here.
        bytes_on_disk: what all versions and parts of it take.
        commit: the version that is here; None for none.
        path: its directory, where it is whole.
        fits: whether this machine can run it, in words; None for a model whose dimensions are not known.
    """

    name: str
    repo: str | None
    format: str | None
    bytes: int | None
    state: str
    bytes_here: int
    bytes_on_disk: int
    commit: str | None
    path: str | None
    fits: str | None = None


def models(words: Sequence[str], as_json: bool, quiet: bool, out: TextIO | None = None) -> Exit:
    """Prints the table, or a JSON array.

    Raises:
        click.UsageError: there are words.
    """
    if words:
        raise click.UsageError("dgchat models takes no words; as a prompt: dgchat -- models ...")
    out = out or sys.stdout
    found = here_rows()
    if as_json:
        out.write(json.dumps([asdict(row) for row in found], indent=2) + "\n")
        return Exit.FINE
    for line in table(found, shutil.get_terminal_size().columns if out.isatty() else None):
        out.write(f"{line}\n")
    if out.isatty():
        Notes(sys.stderr, quiet).say("dgchat pull NAME fetches one, --model NAME runs it, dgchat rm NAME removes it.")
    return Exit.FINE


def here_rows(held: int = 0) -> list[Row]:
    """All models, and how they fit this machine, where `held` bytes more than now could be free."""
    from dgchat.machine import probe

    machine = probe.find(ask_torch=False)
    if any(not gpu.memory for gpu in machine.gpus):  # of some systems only CUDA tells how much they have
        machine = probe.find()
    return rows(_fits(machine, held), machine.models)


def _fits(machine: Machine, held: int) -> dict[str, str]:
    from dgchat.machine import fits

    found = fits.fits(machine, held=held)
    best = {model.short: fits.of_model(found, model.short) or _first(found, model.short) for model in hub.KNOWN}
    return {short: fits.words(fit) for short, fit in best.items()}


def _first(found: Sequence[Fit], short: str) -> Fit:
    """The one that needs least, of a model that does not fit at all."""
    return min((fit for fit in found if fit.model == short), key=lambda fit: fit.needs)


def rows(fits: Mapping[str, str], here: Iterable[hub.CachedModel] = ()) -> list[Row]:
    """The built-in model, the known ones, then what else the cache holds.

    Args:
        fits: how a known model fits, by its short name.
        here: what the cache holds.
    """
    cached = {model.repo: model for model in here}
    known = [_row(model, cached.pop(model.repo, None), fits.get(model.short)) for model in hub.KNOWN]
    return [_built_in(), *known, *(_row(None, model, None) for model in cached.values())]


def _row(model: hub.KnownModel | None, cached: hub.CachedModel | None, fit: str | None) -> Row:
    """A known model, a cached one, or one that is both."""
    repo = model.repo if model else cached.repo if cached else ""
    name, form, size = (model.short, model.format, model.bytes) if model else (repo, None, None)
    if cached is None:
        return Row(name, repo, form, size, "none", 0, 0, None, None, fit)
    whole = cached.state is hub.State.WHOLE
    return Row(
        name=name,
        repo=repo,
        format=form,
        bytes=cached.total or (cached.disk_bytes if whole else size),
        state=cached.state.value,
        bytes_here=cached.done or cached.disk_bytes,
        bytes_on_disk=cached.disk_bytes,
        commit=cached.commit,
        path=str(cached.path) if whole else None,
        fits=fit,
    )


def _built_in() -> Row:
    from dgengine.engine import BUILT_IN, built_in_path

    folder: Path = built_in_path()
    size = sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    state = "whole" if (folder / "config.json").is_file() else "none"
    return Row(BUILT_IN, None, "built in", size, state, size, size, None, str(folder), "fits: everywhere")


def table(found: Sequence[Row], width: int | None = None) -> list[str]:
    """The rows as lines below a line of titles, without the models' whole names where `width` is too small for them."""
    lines = [_TITLES, *(_cells(row) for row in found)]
    whole = _aligned(lines, range(len(_TITLES)))
    if width is None or max(map(len, whole)) <= width:
        return whole
    return _aligned([_short(line) for line in lines], _WITHOUT_MODEL)


def cells(found: Sequence[Row]) -> list[str]:
    """The rows as lines for a narrow place: without the models' whole names."""
    return _aligned([_short(_cells(row)) for row in found], _WITHOUT_MODEL)


def _short(line: tuple[str, ...]) -> tuple[str, ...]:
    """A line that has a name even if it is the model's whole one."""
    return (line[0] or line[1], *line[1:])


def _aligned(lines: Sequence[tuple[str, ...]], shown: Sequence[int]) -> list[str]:
    widths = {column: max(len(line[column]) for line in lines) for column in shown}
    return ["  ".join(_padded(line[column], column, widths[column]) for column in shown).rstrip() for line in lines]


def _padded(text: str, column: int, width: int) -> str:
    return text.rjust(width) if _TITLES[column] == "SIZE" else text.ljust(width)


def _cells(row: Row) -> tuple[str, ...]:
    where = clean_line(row.repo) if row.repo else "built in"
    name = "" if row.name == row.repo else row.name
    return (name, where, hub.amount(row.bytes) if row.bytes else "", _here(row), row.fits or "")


def _here(row: Row) -> str:
    """ "whole", "38 %", or "-"."""
    if row.state != "partial":
        return "whole" if row.state == "whole" else "-"
    return f"{100 * row.bytes_here // row.bytes} %" if row.bytes and row.bytes_here <= row.bytes else "a part"
