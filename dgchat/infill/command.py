"""`dgchat infill`: spans of a file rewritten, as a diff, in the file itself, or as a filter."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TextIO

from dgchat.exits import Exit, Failure, of_engine
from dgchat.hush import hushed
from dgchat.infill.order import Order
from dgchat.infill.patch import display_name, painted, unified
from dgchat.infill.spans import line_and_column
from dgchat.infill.task import Task, request_of, task_of
from dgchat.inline.answer import dumps, open_engine, sampling_of
from dgchat.notes import Notes, plural
from dgchat.offered import why_not
from dgchat.sanitize import clean, clean_line
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.inline.hole import HoleWriter
    from dgengine import Candidate, Done, Event, InfillRequest

_JOINS_NOT = "no candidate joins well with the text around it"


@dataclass(frozen=True)
class Found:
    """What came of it: the candidates, best first, at least one."""

    model: str
    candidates: Sequence[Candidate]
    done: Done

    @property
    def best(self) -> Candidate:
        """The first one."""
        return self.candidates[0]


def infill(order: Order, settings: Settings, out: TextIO | None = None) -> Exit:
    """Does what is asked for; results go to `out` (standard output).

    Raises:
        Failure: the text, the model or a setting cannot be used, the engine failed, or nothing that joins was found
            to write. The file is as it was then.
        BrokenPipeError: nobody reads the output any more.
    """
    out = out or sys.stdout
    task = task_of(order)
    with hushed() as screen:
        notes = Notes(screen, settings.quiet)
        try:
            found = _rewritten(order, task, settings, notes, out)
        except Exception as error:
            failure = of_engine(error)
            if failure is None or failure is error:
                raise
            raise failure from error
        finally:
            notes.clear()
        _deliver(order, task, found, notes, out, settings.quiet)
    return Exit.FINE


def _rewritten(order: Order, task: Task, settings: Settings, notes: Notes, out: TextIO) -> Found:
    request = request_of(order, task)
    # An editor that runs a filter may take what it says for text: it says nothing but what is wrong.
    engine = open_engine(settings, notes if order.file is not None else Notes(sys.stderr, True))
    events = engine.session().infill(request, sampling_of(settings))
    notes.clear()
    writer = None if order.as_json else _writer(engine, request, settings, out)
    if writer is None:
        with closing(events):
            return _collected(engine.info.name, _told(events, notes, order.file is None))
    with closing(events), closing(writer):
        return _collected(engine.info.name, _drawn(events, writer))


def _writer(engine: Backend, request: InfillRequest, settings: Settings, out: TextIO) -> HoleWriter | None:
    if settings.watch and out.isatty() and why_not(engine, "drafts") is None:
        from dgchat.inline.watch import can_animate

        if can_animate(out):
            from dgchat.inline.hole import HoleWriter

            return HoleWriter(engine, request, settings, out)
    return None


def _drawn(events: Iterable[Event], writer: HoleWriter) -> Iterable[Event]:
    for event in events:
        writer.take(event)
        yield event


def _told(events: Iterable[Event], notes: Notes, silent: bool) -> Iterable[Event]:
    """Says on a terminal how far it is."""
    from dgengine import Notice, Step

    seen = 0
    for event in events:
        if isinstance(event, Notice) and not silent:
            notes.say(event.text)
        if isinstance(event, Step) and event.step != seen and not silent:
            seen = event.step
            notes.wait(f"rewriting, step {seen}")
        yield event


def _collected(model: str, events: Iterable[Event]) -> Found:
    from dgengine import Candidate, Done

    candidates: list[Candidate] = []
    done: Done | None = None
    for event in events:
        if isinstance(event, Candidate):
            candidates.append(event)
        elif isinstance(event, Done):
            done = event
    if done is None or not candidates:
        raise Failure("The model found nothing to put there; another --seed or --length may help.", Exit.ENGINE)
    return Found(model, sorted(candidates, key=lambda candidate: candidate.rank), done)


def _deliver(order: Order, task: Task, found: Found, notes: Notes, out: TextIO, quiet: bool) -> None:
    """Prints what was found, and writes it where that is asked for."""
    good = found.best.joins or order.force
    if order.write and good:
        _write(task, found)
    if order.as_json:
        _put(out, dumps(report(order, task, found, written=order.write and good)) + "\n")
    elif order.within is not None:
        _put(out, "".join(task.replacements(found.best.replacements)) + task.tail)
    elif order.file is None:
        _put_whole(out, task, found)
    elif not (order.write and good and quiet):
        _put_diffs(order, task, found, out)
    out.flush()
    for remark in _remarks(order, task, found):
        notes.say(remark)
    if order.write and not good:
        raise Failure(f"Nothing was written: {_JOINS_NOT}; --force writes the best one all the same.", Exit.ENGINE)


def _write(task: Task, found: Found) -> None:
    assert task.document is not None  # `order_of` has seen to it
    task.document.write(task.spliced(found.best.replacements))


def _remarks(order: Order, task: Task, found: Found) -> list[str]:
    """What there is to say once the result is printed."""
    others = len(found.candidates) - 1
    remarks = []
    if not any(candidate.joins for candidate in found.candidates) and not (order.write and not order.force):
        remarks.append(f"{_JOINS_NOT}; another --seed, --length or more --candidates may find one")
    if order.file is None or order.as_json:
        return remarks
    if order.write and (found.best.joins or order.force):
        remarks.append(f"wrote {order.file}; {plural(len(task.spans), 'span')} rewritten")
    elif list(found.best.replacements) == [task.contents.text[start:end] for start, end in task.spans]:
        remarks.append("the best candidate is the text as it was")
    if others and not order.every and not order.write:
        remarks.append(f"{plural(others, 'other candidate')}: --all shows {'it' if others == 1 else 'them'} too")
    return remarks


def _put(out: TextIO, text: str) -> None:
    """Into a pipe or a file the text as it is, whatever the locale; to a terminal without control characters."""
    if out.isatty() or not hasattr(out, "buffer"):
        out.write(clean(text) if out.isatty() else text)
        return
    out.flush()
    out.buffer.write(text.encode())


def _put_whole(out: TextIO, task: Task, found: Found) -> None:
    text = task.spliced(found.best.replacements)
    if task.contents.bom and not out.isatty():
        text = "\ufeff" + text
    _put(out, text)


def _put_diffs(order: Order, task: Task, found: Found, out: TextIO) -> None:
    assert order.file is not None
    name = display_name(order.file)
    colors = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for candidate in found.candidates if order.every else found.candidates[:1]:
        if order.every:
            _put(out, f"# {_heading(candidate, len(found.candidates))}\n")
        for line in diff_of(task, candidate, name):
            if out.isatty():
                line = clean(line.rstrip("\n")) + "\n"
                out.write(painted(line) if colors else line)
            else:
                _put(out, line)


def diff_of(task: Task, candidate: Candidate, name: str) -> list[str]:
    """The unified diff of a candidate; the byte order mark of a file is a part of its first line."""
    shift = int(task.contents.bom)
    spans = [(start + shift, end + shift) for start, end in task.spans]
    return unified(name, "\ufeff" * shift + task.contents.text, spans, task.replacements(candidate.replacements))


def _heading(candidate: Candidate, count: int) -> str:
    joins = "joins well" if candidate.joins else "does not join well"
    return clean_line(f"candidate {candidate.rank} of {count}: {joins}, score {candidate.score:.2f}")


def report(order: Order, task: Task, found: Found, written: bool = False) -> dict[str, Any]:
    """Everything about the candidates, for a program; `best` is a place in `candidates`."""
    stats = found.done.stats.as_dict()
    seed = stats.pop("seed")
    where = order.file or order.within
    return {
        "file": None if where is None else str(where),
        "spans": [_span_fields(task, start, end) for start, end in task.spans],
        "model": found.model,
        "seed": seed,
        "candidates": [_candidate_fields(task, candidate) for candidate in found.candidates],
        "best": 0,
        "written": written,
        "stats": stats,
    }


def _span_fields(task: Task, start: int, end: int) -> dict[str, Any]:
    text = task.contents.text
    first = len(text[:start].encode()) + 3 * task.contents.bom
    return {
        "start": start,
        "end": end,
        "bytes": [first, first + len(text[start:end].encode())],
        "from": list(line_and_column(text, start)),
        "to": list(line_and_column(text, end)),
        "text": text[start:end],
    }


def _candidate_fields(task: Task, candidate: Candidate) -> dict[str, Any]:
    """All fields; a number that JSON cannot tell is null."""
    values = {field.name: getattr(candidate, field.name) for field in fields(candidate)}
    values = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in values.items()}
    replacements = task.replacements(candidate.replacements)
    return {**values, "replacements": replacements, "text": task.spliced(candidate.replacements)}
