"""What the command line of `dgchat infill` asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from dgchat.infill.spans import MARKS, Places

_CANDIDATES: Final = 3
_USAGE: Final = (
    "dgchat infill takes a FILE, or text on standard input with ⟦…⟧ around what is to be rewritten; "
    "as a prompt: dgchat -- infill ..."
)


@dataclass(frozen=True)
class Order:
    """What is to be rewritten, how, and what is to be done with it.

    Attributes:
        file: None for standard input.
        places: where the spans lie; without them piped text has marks.
        within: the file that piped text is a part of.
        every: print all candidates; `write`: put the best one into the file; `force`: even if it does not join.
    """

    file: Path | None
    places: Places = field(default_factory=Places)
    instruction: str = ""
    strength: float = 1.0
    candidates: int = _CANDIDATES
    length: int | str = "search"
    marks: tuple[str, str] = MARKS
    within: Path | None = None
    every: bool = False
    write: bool = False
    force: bool = False
    as_json: bool = False


def order_of(words: Sequence[str], flags: Mapping[str, Any], piped: bool) -> Order:
    """The order that the words after `infill` and the options are.

    Args:
        piped: whether standard input is no terminal.

    Raises:
        click.UsageError: there is nothing to rewrite, or options exclude each other.
    """
    if len(words) > 1 or not (words or piped):
        raise click.UsageError(_USAGE)
    from_stdin = list(words) in ([], ["-"])
    places = Places(tuple(flags["lines"]), tuple(flags["match"]), tuple(flags["bytes"]))
    _check(from_stdin, places, flags)
    return Order(
        None if from_stdin else Path(words[0]),
        places,
        flags["instruction"] or "",
        flags["strength"] or 1.0,
        flags["candidates"] or _CANDIDATES,
        flags["length"] or "search",
        tuple(flags["marks"] or MARKS),
        Path(flags["within"]) if flags["within"] else None,
        bool(flags["all"]),
        bool(flags["write"]),
        bool(flags["force"]),
        bool(flags["json"]),
    )


def _check(from_stdin: bool, places: Places, flags: Mapping[str, Any]) -> None:
    wrong = _wrong_on_stdin(places, flags) if from_stdin else _wrong_with_file(places, flags)
    if flags["events"]:
        wrong = "--events goes with a prompt; --json tells all about the candidates."
    elif flags["all"] and flags["json"]:
        wrong = "--json tells all about the candidates already; leave out --all."
    elif flags["force"] and not flags["write"]:
        wrong = "--force goes with --write."
    elif "" in places.matches:
        wrong = "--match takes a text that is not empty; to insert: --bytes A:A."
    if wrong:
        raise click.UsageError(wrong)


def _wrong_with_file(places: Places, flags: Mapping[str, Any]) -> str | None:
    if flags["marks"] or flags["within"]:
        return "--marks and --in go with text on standard input, in the place of a FILE."
    return None if places else "Say what is to be rewritten: --lines 10-14, --match TEXT or --bytes A:B."


def _wrong_on_stdin(places: Places, flags: Mapping[str, Any]) -> str | None:
    if flags["write"] or flags["all"]:
        return f"--{'write' if flags['write'] else 'all'} goes with a FILE, not with text on standard input."
    if flags["marks"] and (places or flags["within"]):
        return "--marks says what is to be rewritten; leave out --lines, --match, --bytes and --in."
    if flags["within"] and places:
        return "With --in all of the piped text is rewritten; leave out --lines, --match and --bytes."
    if flags["marks"] and "" in flags["marks"]:
        return "--marks takes two texts that are not empty."
    return None
