"""The options of `dgchat infill`. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

# As `dgengine` has them: to import it takes too long here.
STRENGTHS: Final = MappingProxyType({"polish": 0.3, "rephrase": 0.6, "rewrite": 1.0})
MOST_CANDIDATES: Final = 16
LENGTHS: Final = ("search", "same")
if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:  # generic in newer releases of click alone
    _Type = click.ParamType

_LARGEST: Final = 10**12  # of a line or a byte: beyond any file

_ABOUT: Final = (
    "Rewrites parts of FILE, and nothing else in it: the model sees the text on both sides, and holds it while the "
    "part resolves. Prints a unified diff of the best candidate; --write puts that into the file where it joins well "
    "with the text around it. Without FILE the text comes through a pipe, with ⟦ and ⟧ around the parts, and goes on "
    "through it."
)
# What of dgchat's own options has a part in it; some mean something of their own.
_GENERAL: Final = (
    "watch", "model", "seed", "steps", "as_json", "quiet", "device", "precision", "context",
    "offline", "backend", "server", "insecure_http", "server_timeout",
)  # fmt: skip
_OWN_HELP: Final = {
    "force": "With --write: even what does not join.",
    "watch": "Show it resolve in place, on a terminal.",
    "seed": "The same seed gives the same rewrites.",
    "as_json": "Print one JSON object: all candidates with their scores.",
    "quiet": "No notes on stderr; with --write no diff either.",
}
_EPILOG: Final = """\b
Examples:
  dgchat infill story.txt --lines 3-4
  dgchat infill story.txt --match "a silver lantern" --instruction "something larger" --write
  dgchat infill story.txt --bytes 120:120 --length 8            an insertion
  dgchat infill story.txt --lines 3 --all                       every candidate
  dgchat infill story.txt --match fox --match owl --seed 7 | patch -p1
  dgchat infill --watch story.txt --lines 3 --strength polish

\b
As a filter, for editors:
  echo "Once there was a ⟦small⟧ fox." | dgchat infill
  echo "Once there was a <<small>> fox." | dgchat infill --marks "<<" ">>"
  dgchat infill - --lines 3 < story.txt                         the whole text, with line 3 anew
  echo "a silver lantern" | dgchat infill - --in story.txt      what takes its place there

\b
Exit codes:
  0 fine, 1 the engine failed, or --write found nothing that joins, 2 wrong usage,
  3 model not usable, 4 the file or the text is not usable, or has no such place, 130 Ctrl-C
Whatever goes wrong, the file stays as it was, and a filter writes nothing.
"""


class _Span(_Type):
    """Two numbers, of which the second is not below the first."""

    def __init__(self, name: str, form: str, wanted: str, least: int) -> None:
        self.name = name
        self._form, self._wanted, self._least = re.compile(form, re.ASCII), wanted, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = self._form.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not {self._wanted}.", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if first < self._least:
            self.fail(f"{value!r}: they count from {self._least}.", param, ctx)
        if not first <= last <= _LARGEST:
            self.fail(f"{value!r} ends before it begins." if last < first else f"{value!r} is too large.", param, ctx)
        return first, last


class _Strength(_Type):
    """A share of noise, by name or as a number."""

    name = "strength"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            strength = STRENGTHS.get(value) or float(value)
        except ValueError:
            strength = math.nan
        if not 0 < strength <= 1:
            self.fail(f"{value!r} is none of {', '.join(STRENGTHS)}, nor a number above 0 and up to 1.", param, ctx)
        return strength

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        shares = STRENGTHS.items()
        return [CompletionItem(name, help=f"{share:g}") for name, share in shares if name.startswith(incomplete)]


class _Length(_Type):
    """How long the new text may be."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value in LENGTHS:
            return str(value)
        try:
            length = int(value)
        except ValueError:
            length = 0
        if not 1 <= length <= 10**6:
            self.fail(f"{value!r} is none of {', '.join(LENGTHS)}, nor a number of tokens.", param, ctx)
        return length

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in LENGTHS if name.startswith(incomplete)]


_LINES = _Span("lines", r"(\d{1,15})(?:-(\d{1,15}))?", "a line, such as 10, nor lines, such as 10-14", 1)
_BYTES = _Span("bytes", r"(\d{1,15}):(\d{1,15})", "a range of bytes, such as 120:135", 0)
OPTIONS: Final = (
    click.option("--lines", type=_LINES, multiple=True, metavar="A[-B]", help="Rewrite these lines, from 1 on."),
    click.option("--match", multiple=True, metavar="TEXT", help="Rewrite this text, which stands there once."),
    click.option("--bytes", type=_BYTES, multiple=True, metavar="A:B", help="Rewrite these bytes; A:A inserts."),
    click.option("--instruction", metavar="TEXT", help="What the new text is to be like."),
    click.option("--strength", type=_Strength(), metavar="S", help="polish, rephrase, rewrite, or 0 to 1."),
    click.option("--candidates", type=click.IntRange(1, MOST_CANDIDATES), metavar="N", help="Rewrites to find (3)."),
    click.option("--length", type=_Length(), metavar="L", help="search, same, or N tokens for each span."),
    click.option("--all", is_flag=True, default=None, help="Print every candidate's diff, not the best one's alone."),
    click.option("--write", is_flag=True, default=None, help="Put the best candidate into the file."),
    click.option("--marks", nargs=2, metavar="OPEN CLOSE", help="What stands around spans of piped text (⟦ ⟧)."),
    click.option("--in", "within", type=click.Path(), metavar="FILE", help="The piped text is a part of this file."),
)
ONLY: Final = frozenset(
    {"lines", "match", "bytes", "instruction", "strength", "candidates", "length", "all", "write", "marks", "within"}
)


def write_help(formatter: click.HelpFormatter, path: str, records: Mapping[str, tuple[str, str]]) -> None:
    """Writes what `dgchat infill --help` says.

    Args:
        path: how dgchat was called.
        records: of all of its options, by name: how it is written, and what it does.
    """
    formatter.write_usage(f"{path} infill", "[OPTIONS] [FILE|-]")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(_ABOUT)
    rewriting = [name for name in records if name in ONLY]
    for heading, names in (("Rewriting", [*rewriting, "force"]), ("Options", _GENERAL)):
        with formatter.section(heading):
            formatter.write_dl([(records[name][0], _OWN_HELP.get(name, records[name][1])) for name in names])
    for paragraph in _EPILOG.split("\n\n"):
        formatter.write_paragraph()
        formatter.write_text(paragraph)


def check(subcommand: str, flags: Mapping[str, Any]) -> None:
    """Refuses these options where the subcommand is another one.

    Raises:
        click.UsageError: there is one.
    """
    if subcommand == "infill":
        return
    for name in sorted(ONLY):
        if flags[name] not in (None, ()):
            raise click.UsageError(f"--{'in' if name == 'within' else name} goes with dgchat infill.")
