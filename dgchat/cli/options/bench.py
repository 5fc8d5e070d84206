"""The options of `dgchat bench`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

ONLY: Final = ("repeat", "quick", "list", "compare", "paste")
OPTIONS: Final = (
    click.option("--repeat", type=click.IntRange(1, 1000), metavar="N", help="Measure every prompt N times."),
    click.option("--quick", is_flag=True, default=None, help="Few and short prompts, once each."),
    click.option("--list", is_flag=True, default=None, help="List the runs that were kept."),
    click.option("--compare", is_flag=True, default=None, help="Compare the last two runs, or the RUNs named."),
    click.option("--paste", is_flag=True, default=None, help="Print a Markdown table."),
)


def check(subcommand: str, flags: Mapping[str, Any]) -> None:
    """Refuses options that mean nothing for the subcommand ("" for a prompt).

    Raises:
        click.UsageError: there is one.
    """
    for name in ONLY:
        if flags[name] is not None and subcommand != "bench":
            raise click.UsageError(f"--{name} goes with dgchat bench.")
