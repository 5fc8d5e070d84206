"""The options of `dgchat pull` and `dgchat rm`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

# The subcommand that takes each option.
ONLY: Final = {"revision": "pull", "yes": "rm"}
OPTIONS: Final = (
    click.option("--revision", metavar="R", help="Pull this branch, tag or commit of a model."),
    click.option("-y", "--yes", is_flag=True, default=None, help="Remove a model without being asked."),
)


def check(subcommand: str, flags: Mapping[str, Any]) -> None:
    """Refuses options that mean nothing for the subcommand ("" for a prompt).

    Raises:
        click.UsageError: there is one.
    """
    for name, place in ONLY.items():
        if flags[name] is not None and subcommand != place:
            raise click.UsageError(f"--{name} goes with dgchat {place}.")
