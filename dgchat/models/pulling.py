"""`dgchat pull [NAME]`: fetches a model, or what is missing of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

import click

from dgchat.exits import Exit, Failure, of_engine
from dgchat.hush import hushed
from dgchat.models.showing import Shown, shown
from dgchat.notes import Notes
from dgchat.settings import Settings
from dgengine import EngineError, hub

_USAGE = "dgchat pull takes one NAME, such as {}; dgchat models lists them."


def pull(words: Sequence[str], revision: str | None, settings: Settings, out: TextIO | None = None) -> Exit:
    """Fetches the model named, or that of the settings, or the full model in 4 bits; prints its directory.

    Raises:
        click.UsageError: there is more than one name.
        Failure: it cannot be fetched (exit code 3), or the network is not to be used (exit code 2).
    """
    out = out or sys.stdout
    name = name_of(words, settings)
    if settings.offline:
        raise Failure(f"{name} is not fetched: dgchat is set to be offline, as dgchat config shows.", Exit.USAGE)
    with hushed() as screen:
        told = shown(screen, settings.quiet, name)
        notes = Notes(screen, settings.quiet)
        try:
            with told:
                pulled = hub.pull(name, revision, told.show)
        except KeyboardInterrupt:
            notes.say(_stopped(told, _full(name, revision)))
            return Exit.INTERRUPTED
        except EngineError as error:
            raise of_engine(error) or error from error
        notes.say(_summary(name, pulled))
    out.write(f"{pulled.path}\n")
    return Exit.FINE


def name_of(words: Sequence[str], settings: Settings) -> str:
    """The model to fetch.

    Raises:
        click.UsageError: more than one is named.
    """
    if len(words) > 1:
        raise click.UsageError(_USAGE.format(hub.DEFAULT.short))
    if words:
        return words[0]
    return settings.model if hub.parse(settings.model) else hub.DEFAULT.short


def _full(name: str, revision: str | None) -> str:
    """As it is to be typed again."""
    return f"{name} --revision {revision}" if revision and "@" not in name else name


def _stopped(told: Shown, name: str) -> str:
    how_far = f" at {told.how_far}" if told.how_far else ""
    return f"Stopped{how_far}; dgchat pull {name} goes on."


def _summary(name: str, pulled: hub.Pulled) -> str:
    how = "was here already" if not pulled.fetched else "is here"
    version = f"version {pulled.commit[:7]}"
    return f"{pulled.repo} {how}: {hub.amount(pulled.bytes)}, {version}, checked. dgchat --model {name} runs it."
