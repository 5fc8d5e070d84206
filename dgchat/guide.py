"""The guide: what `dgchat help` and the help screen show. Its entries stand in guide.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TextIO

_WORD = re.compile(r"[a-z0-9_+.]+")
# Words of questions that say nothing about their topic.
_EMPTY_WORDS = frozenset(
    "a about an and are can do does dgchat for from how i in is it me my of on or please tell that the this to use"
    " what when where which who why will with you your".split()
)
_ENOUGH = 0.5  # A topic whose best entry scores less than this matches nothing.


@dataclass(frozen=True)
class Entry:
    """One question answered: `answer` is a paragraph, with what one types in backticks."""

    id: str
    section: str
    title: str
    answer: str
    questions: tuple[str, ...]


@cache
def entries() -> tuple[Entry, ...]:
    """All entries in the order of the file."""
    table = tomllib.loads(files("dgchat").joinpath("guide.toml").read_text("utf-8"))
    return tuple(Entry(**{**entry, "questions": tuple(entry["questions"])}) for entry in table["entry"])


def sections(chosen: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """The entries grouped by section, sections in the order of their first entry."""
    grouped: dict[str, list[Entry]] = {}
    for entry in chosen:
        grouped.setdefault(entry.section, []).append(entry)
    return list(grouped.items())


def find(topic: str, limit: int = 5) -> list[Entry]:
    """The entries that are about `topic`, best first; empty when none is.

    A section's name gives the whole section. Otherwise words count: most in the title, then in the questions, least
    in the answer; a word that begins one of the entry's counts half.
    """
    wanted = topic.strip().lower()
    section = [entry for entry in entries() if entry.section == wanted]
    if section:
        return section
    words = _words(wanted) - _EMPTY_WORDS or _words(wanted)
    scored = [(_score(entry, words), entry) for entry in entries()]
    best = max((score for score, _ in scored), default=0.0)
    if best < _ENOUGH:
        return []
    close = [pair for pair in scored if pair[0] >= 0.6 * best]
    return [entry for _, entry in sorted(close, key=lambda pair: -pair[0])[:limit]]


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip(".") for word in _WORD.findall(text.lower()))


@cache
def _fields(entry: Entry) -> tuple[tuple[float, frozenset[str]], ...]:
    return (
        (3.0, _words(f"{entry.id.replace('-', ' ')} {entry.title}")),
        (1.5, _words(" ".join(entry.questions))),
        (1.0, _words(entry.answer)),
    )


def _score(entry: Entry, words: frozenset[str]) -> float:
    """Mean over the words of the weight of the best field that has it."""
    return sum(max(weight * _match(word, field) for weight, field in _fields(entry)) for word in words) / (
        len(words) or 1
    )


def _match(word: str, field: frozenset[str]) -> float:
    if word in field:
        return 1.0
    return 0.5 if len(word) > 2 and any(other.startswith(word) for other in field) else 0.0


def show(topic: str, out: TextIO, color: bool, width: int) -> bool:
    """Writes the guide, or what it says about `topic`, to `out`; False when it says nothing about it."""
    chosen = find(topic) if topic.strip() else list(entries())
    if color:
        _show_rich(chosen, out, width)
    else:
        out.write(plain(chosen))
    return bool(chosen)


def plain(chosen: Sequence[Entry]) -> str:
    """The entries as plain text, grouped by section."""
    blocks = []
    for section, group in sections(chosen):
        body = "\n\n".join(f"{entry.title}\n  {entry.answer}" for entry in group)
        blocks.append(f"{section.upper()}\n\n{body}\n")
    return "\n".join(blocks)


def _show_rich(chosen: Sequence[Entry], out: TextIO, width: int) -> None:
    from rich.console import Console, Group
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    console = Console(file=out, width=min(width, 100), highlight=False)
    for section, group in sections(chosen):
        console.print(Rule(Text(section, style="bold"), align="left", style="dim"))
        for entry in group:
            body = Padding(Text.assemble(*code_spans(entry.answer)), (0, 2))
            console.print(Group(Text(entry.title, style="bold"), body, Text()))


def code_spans(answer: str) -> list[tuple[str, str]]:
    """The answer as (text, rich style) pairs: what stands in backticks is cyan, and the backticks go."""
    return [(part, "cyan" if place % 2 else "") for place, part in enumerate(answer.split("`")) if part]
