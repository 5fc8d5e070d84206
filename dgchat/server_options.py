"""The options about engines: which one, and where a server is. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])

BACKENDS: Final = ("embedded", "transformers", "vllm", "mlx")  # as dgbackends has them: to import it takes too long
ONLY: Final = ("backend", "server", "insecure_http", "server_timeout")
LONGEST: Final = 24 * 60 * 60  # seconds that may be waited for a server
_OPTIONS = (
    click.option(
        "--backend", type=click.Choice(BACKENDS), metavar="NAME",
        help="The engine: embedded (dgchat's own), transformers, vllm (a server), mlx (Apple silicon).",
    ),
    click.option("--server", metavar="URL", help="Ask this vLLM server; its key: dgchat key set URL."),
    click.option("--insecure-http", is_flag=True, default=None, help="Allow http:// to another machine."),
    click.option(
        "--server-timeout", type=click.IntRange(1, LONGEST), metavar="SECONDS",
        help="How long a server may be silent.",
    ),
)  # fmt: skip


def shown_address(url: str) -> str:
    """The address of a server as it was written, for a screen; nothing of one that may hold a name, password or key."""
    return "(not shown: it holds more than an address)" if any(c in url for c in "@?#") else url


def server_options(function: _Function) -> _Function:
    """Adds the options; those that are not given are None."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
