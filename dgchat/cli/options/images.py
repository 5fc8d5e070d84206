"""The option of images. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click
from click.shell_completion import CompletionItem


def _complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


OPTIONS: Final = (
    click.option(
        "--image", multiple=True, metavar="FILE", shell_complete=_complete_file,
        help="An image that the prompt is about: PNG, JPEG or WebP; may be given again.",
    ),
)  # fmt: skip


def check(subcommand: str, flags: Mapping[str, Any]) -> None:
    """Refuses images for a subcommand ("" for a prompt or a chat).

    Raises:
        click.UsageError: there are any.
    """
    if flags["image"] and subcommand:
        raise click.UsageError("--image goes with a prompt or a chat.")
