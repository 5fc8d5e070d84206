"""`dgchat bench`: measures, keeps what it has measured, and compares."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import click

from dgchat import __version__
from dgchat.bench import runs, table
from dgchat.bench.runs import Run
from dgchat.exits import Exit, Failure, of_engine
from dgchat.hush import hushed
from dgchat.notes import Notes
from dgchat.paths import bench_folder
from dgchat.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from dgchat.bench.measuring import Plan


@dataclass(frozen=True)
class Order:
    """What `dgchat bench` is to do.

    Attributes:
        names: of runs that were kept; none to measure.
        repeat: how often to measure each prompt; None for what is usual.
        quick: few prompts.
        listed, compared: to list, or compare, runs that were kept.
        pasted, as_json: how to print.
    """

    names: tuple[str, ...] = ()
    repeat: int | None = None
    quick: bool = False
    listed: bool = False
    compared: bool = False
    pasted: bool = False
    as_json: bool = False

    @property
    def measures(self) -> bool:
        """Whether something is to be measured."""
        return not (self.names or self.listed or self.compared)


def order_of(words: Sequence[str], flags: dict[str, Any]) -> Order:
    """What the command line asks for.

    Raises:
        click.UsageError: what does not go together.
    """
    order = Order(
        tuple(words), flags["repeat"], bool(flags["quick"]), bool(flags["list"]), bool(flags["compare"]),
        bool(flags["paste"]), bool(flags["json"]),
    )  # fmt: skip
    if order.listed and (order.compared or order.pasted or words):
        raise click.UsageError("dgchat bench --list takes no runs, and neither --compare nor --paste.")
    if order.pasted and order.as_json:
        raise click.UsageError("--paste and --json exclude each other.")
    if len(words) > (2 if order.compared else 1):
        raise click.UsageError("dgchat bench takes one run to show, and with --compare two of them.")
    if not order.measures and (order.repeat is not None or order.quick):
        raise click.UsageError("--repeat and --quick are for measuring, not for runs that were kept.")
    return order


def bench(order: Order, settings: Settings, out: TextIO | None = None, folder: Path | None = None) -> Exit:
    """Does it.

    Raises:
        Failure: there is no such run, the model cannot be used, or the engine failed.
    """
    out = out or sys.stdout
    folder = folder or bench_folder()
    notes = Notes(sys.stderr, settings.quiet)
    if order.listed:
        _list(runs.read_all(folder, notes.say), order, notes, out)
    elif order.compared:
        first, second = _pair(order.names, folder, notes)
        _print_comparison(first, second, order, out)
    elif order.names:
        _print(runs.named(folder, order.names[0]), order, out)
    else:
        _print(_kept(measured(order, settings), folder, notes), order, out)
    return Exit.FINE


def measured(order: Order, settings: Settings) -> Run:
    """Opens the model and measures it.

    Raises:
        Failure: it cannot be used, or failed.
    """
    with hushed() as screen:
        notes = Notes(screen, settings.quiet)
        try:
            return _measured(order, settings, notes)
        except Exception as error:
            failure = of_engine(error)
            if failure is None:
                raise
            raise failure from error
        finally:
            notes.clear()


def _measured(order: Order, settings: Settings, notes: Notes) -> Run:
    from dgchat.bench import figures, machine
    from dgchat.bench.measuring import measure
    from dgchat.inline.answer import open_engine

    plan = _plan(order, settings)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    start = time.perf_counter()
    engine = open_engine(settings, notes)
    load_seconds = time.perf_counter() - start
    info, remote = engine.info, machine.is_remote(engine.info)
    place = machine.look(info)  # before we ourselves keep the machine busy
    found = measure(engine, plan, notes.wait)
    values = figures.figures(found, load_seconds, remote)
    return Run(
        date=date,
        dgchat=__version__,
        model=machine.model_name(info),
        backend=_backend_of(settings),
        device=machine.device_name(info),
        precision=info.precision,
        parameters=info.parameters,
        **asdict(place),
        **asdict(plan),
        figures=values,
        missing=figures.missing(values, engine, remote),
        prompts=tuple(figures.by_prompt(found)),
    )


def _backend_of(settings: Settings) -> str:
    from dgchat.opening import planned

    return planned(settings).backend


def _plan(order: Order, settings: Settings) -> Plan:
    from dgchat.bench.measuring import Plan
    from dgchat.bench.prompts import SEED

    return Plan(
        quick=order.quick,
        repeat=order.repeat or (1 if order.quick else 3),
        seed=SEED if settings.seed is None else settings.seed,
        max_tokens=settings.max_tokens,
        steps=settings.steps,
    )


def _kept(run: Run, folder: Path, notes: Notes) -> Run:
    """The run as it is kept; where it cannot be, a note says so, and it is at least shown."""
    try:
        kept = runs.save(run, folder)
    except OSError as error:
        notes.say(f"The run cannot be kept: {error.strerror or error}.")
        return run
    others = "; dgchat bench --compare sets it against the one before" if kept.number > 1 else ""
    notes.say(f"kept as run {kept.number}{others}")
    return kept


def _pair(names: Sequence[str], folder: Path, notes: Notes) -> tuple[Run, Run]:
    """Two runs: those named, the one named and the last, or the last two.

    Raises:
        Failure: there are not so many (exit code 4).
    """
    if len(names) == 2:
        return runs.named(folder, names[0]), runs.named(folder, names[1])
    chosen = [runs.named(folder, name) for name in names]
    others = [run for run in runs.read_all(folder, notes.say) if run.number not in {item.number for item in chosen}]
    pair = [*chosen, *others[len(chosen) - 2 :]]
    if len(pair) < 2:
        raise Failure("There are no two runs to compare yet; dgchat bench makes one.", Exit.INPUT)
    return pair[0], pair[1]


def _print(run: Run, order: Order, out: TextIO) -> None:
    if order.as_json:
        out.write(json.dumps(run.as_dict(), indent=2) + "\n")
        return
    sheets = table.run_sheets(run)
    if order.pasted:
        out.write(table.markdown(sheets))
    else:
        table.write(sheets, out)


def _print_comparison(first: Run, second: Run, order: Order, out: TextIO) -> None:
    if order.as_json:
        ratios = {name: table.ratio(first, second, name) for name in first.figures}
        out.write(json.dumps({"runs": [first.as_dict(), second.as_dict()], "ratios": ratios}, indent=2) + "\n")
        return
    sheet = table.comparison(first, second)
    if order.pasted:
        out.write(table.markdown([sheet]))
    else:
        table.write([sheet], out)


def _list(found: Sequence[Run], order: Order, notes: Notes, out: TextIO) -> None:
    if order.as_json:
        out.write(json.dumps([run.as_dict() for run in found], indent=2) + "\n")
    elif found:
        table.write([table.listing(found)], out, words=4)
    else:
        notes.say("There are no runs yet; dgchat bench makes one.")
