"""Runs that were kept: one JSON file each, numbered from 1."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from dgchat.bench.figures import FIGURES, PromptFigures
from dgchat.exits import Exit, Failure

VERSION: Final = 1
_MOST_BYTES: Final = 1 << 20  # of a file that is read
_MOST_TEXT: Final = 1000


@dataclass(frozen=True)
class Run:
    """What was measured, of what, and where.

    Attributes:
        date: when it began, in UTC, as ISO 8601.
        dgchat: its version.
        model, backend, device, precision: what was measured; no path, and no server's name.
        parameters: of the model; 0 where that is not known.
        system, cpu, cores, gpu, load, python, torch: see `machine.Place`.
        quick, repeat, seed, max_tokens, steps: see `measuring.Plan`.
        figures: a value for each of FIGURES; None for what could not be measured.
        missing: for each of those, why, in one sentence.
        prompts: the figures of each prompt.
        number: that it is kept under; 0 for a run that is not kept.
    """

    date: str
    dgchat: str
    model: str
    backend: str
    device: str
    precision: str
    parameters: int
    system: str
    cpu: str
    cores: int
    gpu: str | None
    load: float | None
    python: str
    torch: str | None
    quick: bool
    repeat: int
    seed: int
    max_tokens: int | None
    steps: int | None
    figures: Mapping[str, float | None]
    missing: Mapping[str, str]
    prompts: tuple[PromptFigures, ...]
    number: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The run as JSON knows it."""
        return {"version": VERSION, **asdict(self)}


class BrokenRunError(Exception):
    """A file that holds no run; says what is wrong with it."""


def save(run: Run, folder: Path) -> Run:
    """Keeps a run under the next number, whole or not at all; returns it with that number.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{os.getpid()}.part"
    try:
        number = max(numbers(folder), default=0) + 1
        while True:
            kept = replace(run, number=number)
            part.write_text(json.dumps(kept.as_dict(), indent=2) + "\n", "utf-8")
            if _claim(part, folder / f"{number}.json"):
                return kept
            number += 1
    finally:
        with suppress(OSError):
            part.unlink()


def _claim(part: Path, target: Path) -> bool:
    """Gives a whole file its name; False where another program has taken that meanwhile."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except (OSError, AttributeError):  # a file system without links
        if target.exists():
            return False
        part.replace(target)
    return True


def numbers(folder: Path) -> list[int]:
    """The numbers of all files of runs, in order."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal() and len(stem) < 10)


def read(folder: Path, number: int) -> Run:
    """The run of this number.

    Raises:
        BrokenRunError: its file cannot be read, or holds none.
    """
    try:
        with (folder / f"{number}.json").open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BrokenRunError(error.strerror or str(error)) from error
    if len(data) > _MOST_BYTES:
        raise BrokenRunError("it is larger than any run")
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenRunError("it is no JSON") from error
    return _run(table, number)


def read_all(folder: Path, trouble: Callable[[str], None]) -> list[Run]:
    """All runs, oldest first; `trouble` is told in a sentence of each file that holds none, which is left as it is."""
    found = []
    for number in numbers(folder):
        try:
            found.append(read(folder, number))
        except BrokenRunError as error:
            trouble(f"Run {number} cannot be read and is left out: {error}.")
    return found


def named(folder: Path, name: str) -> Run:
    """The run that a person names: its number, or "last".

    Raises:
        Failure: there is none, or its file is broken (exit code 4).
    """
    there = numbers(folder)
    number = there[-1] if name == "last" and there else int(name) if name.isascii() and name.isdecimal() else 0
    if number not in there:
        raise Failure(f"There is no run {name!r}; dgchat bench --list lists them.", Exit.INPUT)
    try:
        return read(folder, number)
    except BrokenRunError as error:
        raise Failure(f"Run {number} cannot be read: {error}.", Exit.INPUT) from error


# ---- from JSON

_TEXTS = ("date", "dgchat", "model", "backend", "device", "precision", "system", "cpu", "python")
_COUNTS = ("parameters", "cores", "repeat", "seed")
_MAYBE_TEXTS = ("gpu", "torch")
_MAYBE_COUNTS = ("max_tokens", "steps")


def _run(table: Any, number: int) -> Run:
    if not isinstance(table, dict):
        raise BrokenRunError("it holds no run")
    if table.get("version") != VERSION:
        raise BrokenRunError(f"it is of version {str(table.get('version'))[:20]}, and this dgchat reads {VERSION}")
    values: dict[str, Any] = {name: _text(table, name) for name in _TEXTS}
    values |= {name: _count(table, name) for name in _COUNTS}
    values |= {name: None if table.get(name) is None else _text(table, name) for name in _MAYBE_TEXTS}
    values |= {name: None if table.get(name) is None else _count(table, name) for name in _MAYBE_COUNTS}
    values["load"] = _value(table, "load")
    values["quick"] = _checked(table, "quick", bool)
    found = _checked(table, "figures", dict)
    reasons = _checked(table, "missing", dict)
    return Run(
        **values,
        figures={name: _value(found, name) for name in FIGURES},
        missing={name: _text(reasons, name) for name in FIGURES if name in reasons},
        prompts=tuple(_prompt(item) for item in _checked(table, "prompts", list)[:100]),
        number=number,
    )


def _prompt(item: Any) -> PromptFigures:
    if not isinstance(item, dict):
        raise BrokenRunError("its prompts make no sense")
    values = {field.name: _value(item, field.name) for field in fields(PromptFigures) if field.name != "name"}
    tokens = values.pop("tokens")
    if tokens is None:
        raise BrokenRunError("its prompts make no sense")
    return PromptFigures(_text(item, "name"), tokens, **values)


def _checked(table: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = table.get(name)
    if type(value) is not kind:
        raise BrokenRunError(f"its {name} is missing, or makes no sense")
    return value


def _text(table: Mapping[str, Any], name: str) -> str:
    return str(_checked(table, name, str))[:_MOST_TEXT]


def _count(table: Mapping[str, Any], name: str) -> int:
    value = int(_checked(table, name, int))
    if not 0 <= value < 2**63:
        raise BrokenRunError(f"its {name} makes no sense")
    return value


def _value(table: Mapping[str, Any], name: str) -> float | None:
    """A finite number that is not negative; None for none."""
    value = table.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < 1e18 or not math.isfinite(value):
        raise BrokenRunError(f"its {name} makes no sense")
    return float(value)
