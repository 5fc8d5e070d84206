"""`dgchat doctor`: what this machine has, which models fit it, and how to mend what is wrong."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dgchat import __version__
from dgchat.exits import Exit
from dgchat.machine.advice import advice
from dgchat.machine.fits import AT, Fit, best, fits, words
from dgchat.machine.probe import Machine, find
from dgchat.machine.problems import Problem, problems
from dgchat.machine.torch_build import TorchBuild
from dgchat.sanitize import clean_line
from dgengine import hub
from dgengine.planner import GIB, gib

_MARKS: Final = {True: ("✓", "ok", "green"), False: ("✗", "!!", "bold red"), None: ("·", "-", "dim")}
_COLORS: Final = {"fits": "green", "tight": "yellow", "slow": "yellow", "no": "dim"}
_PIPED_WIDTH = 120


def doctor(
    args: Sequence[str], as_json: bool, quiet: bool, look: Callable[[], Machine] = find, out: TextIO | None = None
) -> Exit:
    """Looks, and prints what was found, as JSON if asked for.

    Returns:
        `Exit.ENGINE` where something serious is to be mended.

    Raises:
        click.UsageError: there are words.
    """
    if args:
        raise click.UsageError("dgchat doctor takes no words; as a prompt: dgchat -- doctor ...")
    out = out or sys.stdout
    with nullcontext() if quiet or as_json else _waiting():
        machine = look()
        found, wrong = fits(machine), problems(machine)
    if as_json:
        out.write(json.dumps(report(machine, found, wrong), indent=2) + "\n")
    else:
        _print_page(out, machine, found, wrong)
    return Exit.ENGINE if any(problem.serious for problem in wrong) else Exit.FINE


def _waiting() -> Any:
    console = Console(stderr=True)
    if not console.is_terminal or os.environ.get("TERM") == "dumb":
        return nullcontext()
    return console.status("looking at this machine", spinner="dots")


def report(machine: Machine, found: Sequence[Fit], wrong: Sequence[Problem]) -> dict[str, Any]:
    """What `--json` prints: the machine, its GPUs, torch, the disk, models, fits, problems, and what to run."""
    chosen = best(found)
    return {
        "dgchat": __version__,
        "machine": {name: getattr(machine, name) for name in _MACHINE},
        "gpus": [asdict(gpu) for gpu in machine.gpus],
        "gpu_usable": machine.gpu is not None,
        "driver_problem": machine.nvidia.problem,
        "torch": asdict(machine.torch) if machine.torch is not None else None,
        "disk": asdict(machine.disk),
        "models": [
            {"name": _name(model), "state": model.state.value, "bytes": model.disk_bytes} for model in machine.models
        ],
        "fits": [asdict(fit) for fit in found],
        "problems": [asdict(problem) for problem in wrong],
        "run": {"model": chosen.model, "precision": chosen.precision} if chosen is not None else None,
    }


_MACHINE: Final = ("system", "processor", "python", "cores", "memory", "memory_free", "compiler")


def _name(model: hub.CachedModel) -> str:
    known = hub.known(model.repo)
    return known.short if known else clean_line(model.repo)


def _print_page(out: TextIO, machine: Machine, found: list[Fit], wrong: list[Problem]) -> None:
    if out.isatty():
        _Page(Console(file=out, highlight=False)).write(machine, found, wrong)
        return
    console = Console(file=io.TextIOWrapper(io.BytesIO(), out.encoding or "utf-8"), width=_PIPED_WIDTH, highlight=False)
    with console.capture() as captured:
        _Page(console).write(machine, found, wrong)
    out.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


class _Page:
    """The report for people."""

    def __init__(self, console: Console) -> None:
        self._console = console
        try:
            "✓".encode(self._console.encoding)
            self._sign = 0
        except (UnicodeEncodeError, LookupError):
            self._sign = 1

    def write(self, machine: Machine, found: list[Fit], wrong: list[Problem]) -> None:
        self._title(f"dgchat {__version__}, Python {machine.python}")
        self._print(self._found(machine))
        self._title(f"What fits {_where(machine)}; needs are those of a context of {AT:,} tokens", before=1)
        self._print(_table(found))
        for reason in _remarks(found):
            self._print(Text(reason, style="dim"))
        if wrong:
            self._title("To mend", before=1)
        for number, problem in enumerate(wrong, 1):
            self._problem(number, problem)
        again = any(problem.serious for problem in wrong)
        self._title("Then run dgchat doctor again." if again else advice(machine, found), before=1)

    def _title(self, text: str, before: int = 0) -> None:
        self._console.print("\n" * before, end="")
        self._console.print(Text(text, style="bold"))

    def _print(self, what: Table | Text) -> None:
        self._console.print(Padding(what, (0, 0, 0, 2), expand=False))

    def _problem(self, number: int, problem: Problem) -> None:
        self._print(Text(f"{number}. {problem.what}"))
        for line in problem.mend:
            self._console.print(Text(f"     {line}", style="cyan"), soft_wrap=True)  # a command is to be copied whole

    def _found(self, machine: Machine) -> Table:
        table = Table.grid(padding=(0, 1))
        for fine, title, text in _rows(machine):
            mark = _MARKS[fine]
            table.add_row(Text(mark[self._sign], style=mark[2]), Text(title, style="dim"), Text(clean_line(text)))
        return table


def _where(machine: Machine) -> str:
    if machine.gpu is not None:
        return "this GPU" if len(machine.gpus) == 1 else f"the {machine.gpu.name}"
    if machine.best_gpu is not None:
        return f"the {machine.best_gpu.name}, once it works"
    return "the processor and its memory"


def _rows(machine: Machine) -> Iterator[tuple[bool | None, str, str]]:
    """Each thing that was looked at: whether it is in order (None: it does not matter), its name, what was found."""
    free = f"{machine.memory_free / GIB:.0f} free"
    memory = f", {machine.memory / GIB:.0f} GiB of memory, {free}" if machine.memory else ""
    yield True, "Machine", f"{machine.system}, {machine.processor}, {machine.cores} cores{memory}"
    yield from _gpu_rows(machine)
    if machine.torch is not None:
        yield _torch_row(machine, machine.torch)
        if machine.system == "Linux":
            yield _triton_row(machine, machine.torch)
            yield _native_row(machine.torch)
    if machine.disk.free is not None:
        yield True, "Disk", f"{hub.amount(machine.disk.free)} free in {_short(machine.disk.path)}"
    yield True, "Models", "; ".join(["pocket (built in)", *map(_cached, machine.models)])


def _gpu_rows(machine: Machine) -> Iterator[tuple[bool | None, str, str]]:
    for gpu in machine.gpus:
        parts = [f"{gpu.name}: {gib(gpu.memory)}, {gib(gpu.free)} of it free"]
        parts += [f"compute capability {gpu.capability[0]}.{gpu.capability[1]}"] if gpu.capability else []
        parts += [f"driver {gpu.driver}"] if gpu.driver else []
        yield machine.gpu is not None, "GPU", ", ".join(parts)
    if not machine.gpus:
        if machine.nvidia.problem is not None:
            yield False, "GPU", machine.nvidia.problem
        elif machine.nvidia.silent:
            yield False, "GPU", "an NVIDIA GPU without a driver"
        else:
            yield None, "GPU", "no NVIDIA GPU: models run on the processor"


def _torch_row(machine: Machine, build: TorchBuild) -> tuple[bool | None, str, str]:
    if build.version is None or build.problem is not None:
        return False, "torch", build.problem or "missing"
    if build.cuda is None:
        return not machine.nvidia.gpus, "torch", f"{build.version}, for the processor alone"
    made_for = build.cuda if build.cuda.startswith("ROCm") else f"CUDA {build.cuda}"
    return build.computes or (False if machine.nvidia.gpus else None), "torch", f"{build.version}, for {made_for}"


def _triton_row(machine: Machine, build: TorchBuild) -> tuple[bool | None, str, str]:
    if not build.computes:
        return None, "Triton", f"{build.triton or 'none'}; it serves GPUs only"
    if build.triton is None:
        return False, "Triton", build.triton_problem or "missing"
    return machine.compiler is not None, "Triton", f"{build.triton}, with {machine.compiler or 'no C compiler'}"


def _native_row(build: TorchBuild) -> tuple[bool | None, str, str]:
    if build.native_problem is None:
        return True, "C code", "built for this processor: pocket runs as fast as it can"
    return None, "C code", f"not used, {build.native_problem}: pocket takes longer"


def _cached(model: hub.CachedModel) -> str:
    whole = "" if model.state is hub.State.WHOLE else ", not all of it"
    return f"{_name(model)} ({hub.amount(model.disk_bytes)}{whole})"


def _short(path: str) -> str:
    """With a tilde for the home directory."""
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path == home or path.startswith(home + os.sep) else path


def _table(found: Sequence[Fit]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, justify in (("MODEL", "left"), ("PRECISION", "left"), ("WEIGHTS", "right"), ("NEEDS", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("FITS")
    for fit in found:
        verdict = Text(words(fit), style=_COLORS[fit.verdict])
        table.add_row(Text(fit.model), Text(fit.precision), Text(gib(fit.weights)), Text(gib(fit.needs)), verdict)
    return table


def _remarks(found: Sequence[Fit]) -> list[str]:
    """What the planner says of the one to run, where that is not a matter of course."""
    chosen = best(found)
    return [clean_line(reason) for reason in chosen.reasons] if chosen is not None and chosen.verdict == "tight" else []
