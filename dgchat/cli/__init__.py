"""The command line: `dgchat [OPTIONS] [PROMPT...]`.

Imports nothing heavy: `dgchat --version` and completion answer at once, and each subcommand imports what it needs.
"""

from __future__ import annotations

from dgchat.cli.entry import main, run
from dgchat.cli.root import command

__all__ = ["command", "main", "run"]
