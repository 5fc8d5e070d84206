"""`dgchat key`: keeps the keys of servers in the keyring. A key is never an argument, and never printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from dgchat import server_keys
from dgchat.exits import Exit, Failure, of_engine
from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgchat.settings import Settings

VERBS: Final = ("set", "rm", "list")
_USAGE: Final = "dgchat key takes set URL, rm URL or list."
_MOST: Final = 8192  # characters of a key


def key(words: Sequence[str], settings: Settings) -> Exit:
    """Does what the words say.

    Raises:
        click.UsageError: they say nothing. Failure: the address, the key or the keyring cannot be used.
    """
    match list(words):
        case ["list"]:
            for url in server_keys.kept():
                click.echo(clean_line(url))
        case ["set", url]:
            address = _address(url, settings)
            server_keys.check()
            server_keys.keep(address, _read(address))
            _say(f"The key for {address} is in the keyring.", settings)
        case ["rm", url]:
            address = _address(url, settings)
            if not server_keys.remove(address):
                raise Failure(f"No key is kept for {address}; dgchat key list shows those that are.", Exit.INPUT)
            _say(f"The key for {address} is gone.", settings)
        case ["set", _, *_]:
            raise click.UsageError(
                "A key is not given as a word, where others could see it: dgchat key set URL asks for it."
            )
        case _:
            raise click.UsageError(_USAGE)
    return Exit.FINE


def _address(url: str, settings: Settings) -> str:
    from dgbackends.vllm.address import normalised
    from dgengine.errors import EngineError

    try:
        return normalised(url, settings.insecure_http)
    except EngineError as error:
        raise of_engine(error) or Failure(str(error), Exit.USAGE) from None


def _read(address: str) -> str:
    """The key: typed without being seen, or the first line of what is piped in."""
    from dgbackends.vllm.address import Secret
    from dgengine.errors import EngineError

    if sys.stdin is not None and sys.stdin.isatty():
        import getpass

        text = getpass.getpass(f"Key for {clean_line(address)} (it is not shown): ", sys.stderr)
    else:
        text = sys.stdin.readline(_MOST + 1) if sys.stdin is not None else ""
    if len(text) > _MOST:
        raise Failure(f"The key is longer than {_MOST:,} characters.", Exit.INPUT)
    if not text.strip():
        raise Failure("There is no key: type it, or give it through a pipe.", Exit.INPUT)
    try:
        return Secret(text).reveal()
    except EngineError as error:
        raise Failure(str(error), Exit.INPUT) from None


def _say(text: str, settings: Settings) -> None:
    if not settings.quiet:
        click.echo(f"dgchat: {clean_line(text)}", err=True)
