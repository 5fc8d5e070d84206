"""The options about engines: which one, and where a server is. Imports nothing heavy."""

from __future__ import annotations

from typing import Final

import click

from dgchat.backends import BACKENDS, LONGEST

ONLY: Final = ("backend", "server", "insecure_http", "server_timeout")
OPTIONS: Final = (
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
