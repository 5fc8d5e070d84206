"""The options of the command line that are about traces. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import click

MOST_CANDIDATES: Final = 20
FORMATS: Final = ("npz", "cast", "anim", "svg", "gif", "html")
_FILE = click.Path(dir_okay=False)

# The subcommands that take each option; "" is a prompt.
ONLY: Final = {
    "trace": ("",),
    "top_k": ("",),
    "inline": ("replay",),
    "export": ("replay",),
    "export_format": ("replay",),
    "speed": ("replay", "history"),
    "step": ("replay", "history"),
    "width": ("replay", "history"),
    "force": ("", "replay", "history", "infill"),
}


def _finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("it is no number.", param=parameter)
    return value


OPTIONS: Final = (
    click.option("--trace", type=_FILE, metavar="FILE", help="Keep the steps of the answer in an npz file."),
    click.option("--top-k", type=click.IntRange(0, MOST_CANDIDATES), metavar="N", help="And N candidates a position."),
    click.option("--inline", is_flag=True, default=None, help="Replay in the terminal's text, in place."),
    click.option("--speed", type=click.FloatRange(0, 1000), metavar="N", callback=_finite, help="Steps a second."),
    click.option("--step", type=click.IntRange(1, 10**9), metavar="N", help="Show step N alone, as text or as an svg."),
    click.option("--export", type=_FILE, metavar="FILE", help="Make a file of it; its ending tells the format."),
    click.option("--format", "export_format", type=click.Choice(FORMATS), help="The format, whatever the ending."),
    click.option("--width", type=click.IntRange(20, 400), metavar="N", help="Cells of a row."),
    click.option("--force", is_flag=True, default=None, help="Write over a file that is there."),
)


def check(subcommand: str, flags: Mapping[str, Any]) -> None:
    """Refuses options that mean nothing for the subcommand ("" for a prompt).

    Raises:
        click.UsageError: there is one.
    """
    for name, places in ONLY.items():
        if flags[name] is not None and subcommand not in places:
            option = {"top_k": "top-k", "export_format": "format"}.get(name, name)
            raise click.UsageError(f"--{option} goes with {'dgchat replay' if 'replay' in places else 'a prompt'}.")
