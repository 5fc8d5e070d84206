"""Runs as tables: for a terminal, for a pipe, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dgchat.bench.figures import FIGURES, PromptFigures
from dgchat.bench.machine import anonymous
from dgchat.bench.runs import Run
from dgchat.notes import plural
from dgchat.sanitize import clean_line

DASH = "–"
_SAME = 0.03  # by which figures of the same thing differ from run to run
_BUSY = 0.5  # of the cores that others may take before a run is doubted


@dataclass(frozen=True)
class Sheet:
    """A table and what stands around it.

    Attributes:
        above: lines before it.
        titles: of the columns; the first column holds words, the others figures.
        rows: of cells.
        below: sentences after it.
    """

    above: tuple[str, ...]
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


def run_sheets(run: Run) -> list[Sheet]:
    """A run: its figures, and those of each prompt."""
    rows = tuple((figure.title, shown(run, name)) for name, figure in FIGURES.items())
    heading = ("PROMPT", "TOKENS", "STEPS", "TOKENS/S", "A STEP")
    prompts = tuple(_prompt_row(prompt) for prompt in run.prompts)
    return [Sheet(about(run), ("FIGURE", "VALUE"), rows, _reasons(run)), Sheet((), heading, prompts, _doubts(run))]


def about(run: Run) -> tuple[str, ...]:
    """What was measured, and where, in a few lines."""
    where = run.gpu or f"{run.cpu}, {plural(run.cores, 'core')}"
    torch = f", torch {run.torch}" if run.torch else ""
    number = f"run {run.number}, " if run.number else ""
    load = f", load average {run.load:.1f}" if run.load is not None else ""
    return (
        f"{number}{run.date[:16].replace('T', ' ')} UTC, dgchat {run.dgchat}, {how(run)}",
        ", ".join(filter(None, [run.model, run.precision, f"{run.backend} on {run.device}"])),
        f"{where}, {run.system}, Python {run.python}{torch}{load}",
    )


def how(run: Run) -> str:
    """What was asked, in a few words."""
    limits = [f"at most {run.max_tokens} tokens"] if run.max_tokens is not None else []
    limits += [f"at most {run.steps} steps"] if run.steps is not None else []
    each = "once each" if run.repeat == 1 else f"{run.repeat} times each"
    return ", ".join([plural(len(run.prompts), "prompt"), each, f"seed {run.seed}", *limits])


def shown(run: Run, name: str) -> str:
    """A figure as text; a dash for one that is not there."""
    value = run.figures.get(name)
    return DASH if value is None else FIGURES[name].show(value)


def _prompt_row(prompt: PromptFigures) -> tuple[str, ...]:
    rest = (
        (prompt.tokens, FIGURES["tokens_per_second"]),
        (prompt.steps, FIGURES["tokens_per_second"]),
        (prompt.tokens_per_second, FIGURES["tokens_per_second"]),
        (prompt.step_ms, FIGURES["step_ms"]),
    )
    return (prompt.name, *(DASH if value is None else figure.show(value) for value, figure in rest))


def _reasons(*runs: Run) -> tuple[str, ...]:
    """Why figures are missing: each sentence once, with the figures that it is about."""
    told: dict[str, list[str]] = {}
    for run in runs:
        for name, reason in run.missing.items():
            titles = told.setdefault(reason, [])
            if FIGURES[name].title not in titles:
                titles.append(FIGURES[name].title)
    return tuple(f"{DASH} {'; '.join(titles)}: {reason}" for reason, titles in told.items())


def _doubts(run: Run) -> tuple[str, ...]:
    busy = run.load is not None and run.load > _BUSY * run.cores
    if not busy:
        return ()
    of = f"run {run.number}" if run.number else "this run"
    return (
        f"The load average was {run.load:.1f} on {plural(run.cores, 'core')} as {of} began: others may have slowed it.",
    )


# ---- two runs


def comparison(first: Run, second: Run) -> Sheet:
    """Two runs side by side, and what the second is by the first."""
    titles = ("FIGURE", f"RUN {first.number}", f"RUN {second.number}", "RATIO", "")
    rows = tuple(
        (figure.title, shown(first, name), shown(second, name), *_ratio(first, second, name))
        for name, figure in FIGURES.items()
    )
    below = (*_differences(first, second), *_reasons(first, second), *_doubts(first), *_doubts(second))
    return Sheet((*about(first), *about(second)), titles, rows, below)


def ratio(first: Run, second: Run, name: str) -> float | None:
    """A figure of the second run by that of the first; None where one of them is not there, or is 0."""
    before, after = first.figures.get(name), second.figures.get(name)
    return after / before if before and after else None


def _ratio(first: Run, second: Run, name: str) -> tuple[str, str]:
    found = ratio(first, second, name)
    if found is None:
        return DASH, ""
    text = f"{found:.2f}"
    if abs(found - 1) < _SAME:
        return text, "same"
    return text, "better" if (found < 1) == FIGURES[name].less_is_better else "worse"


_COMPARED = ("model", "backend", "device", "precision", "quick", "max_tokens", "steps", "cpu", "gpu", "torch", "dgchat")


def _differences(first: Run, second: Run) -> tuple[str, ...]:
    different = [
        f"{name.replace('_', ' ')} ({_word(getattr(first, name))}, {_word(getattr(second, name))})"
        for name in _COMPARED
        if getattr(first, name) != getattr(second, name)
    ]
    return (f"The runs differ in: {', '.join(different)}.",) if different else ()


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None or value == "" else str(value)


# ---- many runs


def listing(runs: Sequence[Run]) -> Sheet:
    """All runs, a line each."""
    titles = ("RUN", "DATE", "MODEL", "ENGINE", "A STEP", "TOKENS/S")
    rows = tuple(
        (
            str(run.number), run.date[:16].replace("T", " "), f"{run.model} {run.precision}".strip(),
            f"{run.backend} on {run.gpu or run.device}", shown(run, "step_ms"), shown(run, "tokens_per_second"),
        )
        for run in runs
    )  # fmt: skip
    return Sheet((), titles, rows)


# ---- on paper


def write(sheets: Sequence[Sheet], out: TextIO, words: int = 1) -> None:
    """Writes sheets: with colours on a terminal, else as plain lines.

    Args:
        words: how many columns, from the left, hold words; the others hold figures.
    """
    if not out.isatty():
        out.write("\n".join("\n".join(_plain(sheet, words)) + "\n" for sheet in sheets))
        return
    console = Console(file=out, highlight=False)
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        for line in sheet.above:
            console.print(Text(clean_line(line), style="dim"), soft_wrap=True)
        console.print(_drawn(sheet, words))
        for line in sheet.below:
            console.print(Text(clean_line(line), style="dim"))


def _drawn(sheet: Sheet, words: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, title in enumerate(sheet.titles):
        table.add_column(title, justify="left" if place < words or not title else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(clean_line(cell), style=_STYLES.get(cell, "")) for cell in row))
    return table


_STYLES = {"better": "green", "worse": "red", "same": "dim", DASH: "dim"}


def _plain(sheet: Sheet, words: int) -> list[str]:
    cells = [sheet.titles, *(tuple(clean_line(cell) for cell in row) for row in sheet.rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(sheet.titles))]
    lines = [
        "  ".join(
            cell.ljust(width) if place < words or not sheet.titles[place] else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [*map(clean_line, sheet.above), *lines, *map(clean_line, sheet.below)]


def markdown(sheets: Sequence[Sheet], words: int = 1) -> str:
    """Sheets as Markdown, ready to be pasted anywhere: without paths, and without the names of machine and user."""
    return "\n\n".join("\n\n".join(filter(None, _markdown(sheet, words))) for sheet in sheets) + "\n"


def _markdown(sheet: Sheet, words: int) -> list[str]:
    rule = tuple(" --- " if place < words else " ---: " for place in range(len(sheet.titles)))
    lines = [_line(sheet.titles), "|" + "|".join(rule) + "|", *map(_line, sheet.rows)]
    return ["\n".join(f"- {_escaped(line)}" for line in sheet.above), "\n".join(lines), *map(_escaped, sheet.below)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    safe = anonymous(text)
    for char in "\\|<*_`[":
        safe = safe.replace(char, f"\\{char}")
    return safe
