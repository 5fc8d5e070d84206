"""The stages one after the other, each within its time, and the table at the end; `gpu.py` says what they are."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.isolation import run_apart

if TYPE_CHECKING:
    from bench.records import Record
    from bench.setting import Setup
    from bench.timing import Deadline

SCRIPT: Final = Path(__file__).with_name("gpu.py")
UNABLE: Final = 2
REPORT: Final = "report.md"
_RESERVE: Final = 10  # seconds, for ending what is cut off

LEAST: Final = {"torch": (2, 11), "triton": (3, 6), "transformers": (5, 11)}
NEEDED: Final = ("accelerate", "huggingface_hub", "numpy", "psutil", "safetensors", "tokenizers")


@dataclass(frozen=True)
class Stage:
    """A part of the run.

    Attributes:
        name: also of its module in `bench.stages`.
        least: seconds that must be left to begin it.
        most: seconds that it may take.
    """

    name: str
    least: float
    most: float


STAGES: Final = (
    Stage("machine", 10, 60),
    Stage("correctness", 20, 150),
    Stage("kernels", 20, 90),
    Stage("step", 40, 220),
    Stage("graph", 40, 120),
    Stage("rival", 40, 600),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for; returns the exit status."""
    options = parse(arguments)
    if reason := why_not_here(options.device):
        print(reason, file=sys.stderr)
        return UNABLE
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and ends the stage that is running
    if options.child:
        return run_here(next(own for own in STAGES if own.name in options.only), options)
    wanted = [stage for stage in STAGES if not options.only or stage.name in options.only]
    for stage in wanted:
        (options.out / f"{stage.name}.json").unlink(missing_ok=True)
    succeeded = run_all(wanted, options)
    print(f"\n{(options.out / REPORT).read_text(encoding='utf-8')}")
    return 0 if succeeded else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpu.py", description="Correctness and speed on a GPU: kernels, the full-size model, and transformers'."
    )
    names = [stage.name for stage in STAGES]
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="for JSON, logs and table (default: out/gpu)")
    parser.add_argument("--minutes", type=float, default=9.0, help="that all of it may take (default: 9)")
    parser.add_argument("--only", action="append", choices=names, default=[], help="this stage; may be given again")
    parser.add_argument("--tiny", action="store_true", help="small dimensions, for a dry run")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: in Triton's interpreter")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# what is needed


def why_not_here(device: str) -> str | None:
    """What is missing, in a sentence; None where everything is there."""
    if sys.version_info < (3, 11):  # noqa: UP036 - it may be any python3 at all
        return f"This benchmark needs Python 3.11 or newer, and this is {sys.version.split()[0]}."
    for name in (*LEAST, *NEEDED):
        if reason := _lacks(name):
            return f"{reason} This benchmark installs nothing: run it with a python that has what it needs."
    import torch

    from dgkernels import support

    if device == "cpu":
        reason = support.why_not(torch.device("cpu"))
        return None if reason is None else "A dry run without a GPU needs Triton's interpreter: set TRITON_INTERPRET=1."
    if not torch.cuda.is_available() or torch.version.hip:
        return "This benchmark needs an NVIDIA GPU, and torch sees none here."
    return None


def _lacks(name: str) -> str | None:
    least = LEAST.get(name)
    asked = f"{name} {'.'.join(map(str, least))} or newer" if least else name
    if importlib.util.find_spec(name) is None:
        return f"This benchmark needs {asked}, which {sys.executable} does not have."
    if least and (found := importlib.metadata.version(name)) and _numbers(found) < least:
        return f"This benchmark needs {asked}, and {sys.executable} has {found}."
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


# running


def run_all(stages: Sequence[Stage], options: argparse.Namespace) -> bool:
    """Whether none failed; prints a line for each, and writes the table anew after each."""
    from bench.timing import Deadline

    deadline = Deadline(60 * options.minutes - _RESERVE)
    succeeded = True
    for stage in stages:
        record = _run_within(stage, options, deadline)
        print(f"{stage.name:<12} {record.state} ({record.seconds:.0f} s)", flush=True)
        write_report(options.out)
        succeeded &= _is_fine(record)
    return succeeded


def _is_fine(record: Record) -> bool:
    """What there was no time for is; but not correctness that is unknown."""
    from bench.records import DONE

    return record.state == DONE or (record.stage != "correctness" and not record.state.startswith("failed"))


def _run_within(stage: Stage, options: argparse.Namespace, deadline: Deadline) -> Record:
    """Runs a stage if there is time for it; its record says how it ended in any case."""
    from bench.records import RUNNING, Record

    path = options.out / f"{stage.name}.json"
    seconds = min(stage.most, deadline.left)
    if seconds < stage.least and not options.tiny:
        record = Record(path)
        record.end(f"skipped: {max(deadline.left, 0):.0f} s were left, and it takes {stage.least:.0f} at least")
        return record
    if options.device == "cpu":
        run_here(stage, options, seconds)
        how = "ended"
    else:
        how = run_apart(_command(stage, options, seconds), seconds, options.out / f"{stage.name}.log")
    written = Record.read(path) or Record(path)
    if written.state == RUNNING:  # nobody was left to say how it ended
        written.state = how
        written.write()
    return written


def _command(stage: Stage, options: argparse.Namespace, seconds: float) -> list[str]:
    tiny = ["--tiny"] if options.tiny else []
    own = ["--child", "--only", stage.name, "--out", str(options.out), "--minutes", str(seconds / 60), *tiny]
    return [sys.executable, str(SCRIPT), *own, "--device", options.device]


def run_here(stage: Stage, options: argparse.Namespace, seconds: float | None = None) -> int:
    """Runs a stage in this process; whatever goes wrong is in its record, and printed."""
    from bench.records import Record
    from dgengine.errors import described

    record = Record(options.out / f"{stage.name}.json")
    try:
        setup = _setup(options, 60 * options.minutes if seconds is None else seconds)
        _function(stage)(setup, record)
    except Exception as error:  # noqa: BLE001 - the other stages go on
        traceback.print_exc()
        record.end(f"failed: {described(error)}")
        return 1
    record.end()
    return 0


def _function(stage: Stage) -> Callable[[Setup, Record], None]:
    run: Callable[[Setup, Record], None] = importlib.import_module(f"bench.stages.{stage.name}").run
    return run


def _setup(options: argparse.Namespace, seconds: float) -> Setup:
    import torch

    from bench.setting import Setup
    from bench.sizes import FULL_SIZES, TINY_SIZES
    from bench.timing import Deadline

    device = torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")
    return Setup(device, TINY_SIZES if options.tiny else FULL_SIZES, options.out, Deadline(seconds))


# the table


def write_report(out: Path) -> None:
    """Writes the table of all that lies in `out`, there."""
    from bench.records import Record
    from bench.table import table

    found = {stage.name: Record.read(out / f"{stage.name}.json") for stage in STAGES}
    text = table({name: record for name, record in found.items() if record is not None})
    (out / REPORT).write_text(text, encoding="utf-8")
