"""One answer on the command line: as text, as JSON, as events, or resolving on the screen."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, TypeAlias

from dgchat.exits import Exit, of_engine
from dgchat.export.writing import check_free
from dgchat.hush import hushed
from dgchat.inline.wrap import Wrapper
from dgchat.notes import Notes, block_note, default_model_note, done_note, summary
from dgchat.sanitize import Sanitizer
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgchat.inline.tracing import Tracer
    from dgengine import Done, Engine, Event, Sampling

Mode: TypeAlias = Literal["text", "json", "events"]
Message: TypeAlias = dict[str, Any]


class Writer(Protocol):
    """Takes the events of an answer and writes what the user asked to see."""

    def take(self, event: Event) -> None:
        """The next event."""

    def close(self) -> None:
        """The end, also of an answer that broke off: what is settled is left written, the screen in order."""


class Source(Protocol):
    """What `Answer` and the writers of text ask of an engine; a saved trace can give it as well."""

    def pieces(self, ids: Iterable[int], /) -> list[str]:
        """The text that each token adds."""

    def decode(self, ids: Iterable[int], /) -> str:
        """The text of the tokens."""


class Answer:
    """The tokens of an answer so far, and their text."""

    def __init__(self, engine: Source) -> None:
        self._engine = engine
        self._blocks: dict[int, list[int]] = {}

    def take(self, event: Event) -> None:
        """Keeps the tokens of blocks; a block that comes again replaces itself."""
        from dgengine import Block

        if isinstance(event, Block):
            self._blocks[event.block] = event.tokens.tolist()

    @property
    def ids(self) -> list[int]:
        """All tokens, in order."""
        return [id_ for _, ids in sorted(self._blocks.items()) for id_ in ids]

    def text(self, end: bool = True) -> str:
        """The text as the model wrote it. Without `end` a last character that is not complete is left out."""
        return self._engine.decode(self.ids) if end else "".join(self._engine.pieces(self.ids))


class TextWriter:
    """Plain text, block by block; on a terminal wrapped at its width."""

    def __init__(self, engine: Source, out: TextIO) -> None:
        self._answer = Answer(engine)
        self._out = out
        self._sanitizer = Sanitizer()
        self._wrapper = Wrapper(shutil.get_terminal_size().columns) if out.isatty() else None
        self._read = 0  # characters of the answer so far
        self._at_line_start = True

    def take(self, event: Event) -> None:
        self._answer.take(event)
        self._write(self._answer.text(end=False))

    def close(self) -> None:
        self._write(self._answer.text())
        self._put(self._wrapper.close() if self._wrapper else "")
        if not self._at_line_start:
            self._out.write("\n")
        self._out.flush()

    def _write(self, text: str) -> None:
        safe = self._sanitizer.feed(text[self._read :])
        self._read = len(text)
        self._put(self._wrapper.feed(safe) if self._wrapper else safe)

    def _put(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._out.flush()
            self._at_line_start = text.endswith("\n")


class JsonWriter:
    """One JSON object at the end; nothing when there is no end."""

    def __init__(self, engine: Engine, out: TextIO) -> None:
        self._engine = engine
        self._answer = Answer(engine)
        self._out = out

    def take(self, event: Event) -> None:
        from dgengine import Done

        self._answer.take(event)
        if isinstance(event, Done):
            self._out.write(dumps(self._result(event)) + "\n")

    def close(self) -> None:
        self._out.flush()

    def _result(self, done: Done) -> dict[str, Any]:
        stats = done.stats.as_dict()
        seed = stats.pop("seed")
        model = self._engine.info.name
        return {
            "text": self._answer.text(),
            "model": model,
            "seed": seed,
            "reason": done.reason,
            "stats": stats,
        }


class EventWriter:
    """One JSON object a line for every event, as it happens."""

    def __init__(self, engine: Engine, out: TextIO) -> None:
        self._engine = engine
        self._answer = Answer(engine)
        self._out = out

    def take(self, event: Event) -> None:
        self._answer.take(event)
        self._out.write(dumps(self._line(event)) + "\n")
        self._out.flush()

    def close(self) -> None:
        self._out.flush()

    def _line(self, event: Event) -> dict[str, Any]:
        from dgengine import Block, Done, Step

        line = event_fields(event)
        match event:
            case Step():
                line["text"] = self._engine.decode(line["draft"])
            case Block():
                line["text"] = self._engine.decode(line["tokens"])
            case Done():
                line["model"] = self._engine.info.name
                line["text"] = self._answer.text()
        return line


def event_fields(event: Event) -> dict[str, Any]:
    """An event as plain values: its kind as "event", then its fields; arrays are lists, what is None is left out."""
    from dataclasses import fields

    line: dict[str, Any] = {"event": type(event).__name__.lower()}
    for field in fields(event):
        value = getattr(event, field.name)
        if hasattr(value, "as_dict"):
            value = value.as_dict()
        elif hasattr(value, "tolist"):
            value = value.tolist()
        if value is not None:
            line[field.name] = value
    return line


def dumps(value: Any) -> str:
    """JSON on one line, in printable ASCII alone: safe on any terminal."""
    return json.dumps(value, allow_nan=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        trace: the file that the steps of the answer are to be kept in; `force`: even if it is there already.
        top_k: candidates of every position that a step tells.
    """

    prompt: str
    settings: Settings
    mode: Mode = "text"
    trace: Path | None = None
    force: bool = False
    top_k: int = 0


def answer(request: Request, out: TextIO | None = None) -> Exit:
    """Answers one prompt on `out` (standard output).

    Raises:
        Failure: the model, the input or a setting cannot be used, or the engine failed.
        BrokenPipeError: nobody reads the answer any more.
    """
    out = out or sys.stdout
    if request.trace is not None:
        check_free(request.trace, request.force)
    with hushed() as screen:
        notes = Notes(screen, request.settings.quiet)
        try:
            engine = open_engine(request.settings, notes)
            _write(request, engine, notes, out)
        except Exception as error:
            failure = of_engine(error)
            if failure is None:
                raise
            raise failure from error
        finally:
            notes.clear()
    return Exit.FINE


def _write(request: Request, engine: Engine, notes: Notes, out: TextIO) -> None:
    ids = engine.encode_chat(messages(request), max_new_tokens=request.settings.max_tokens)
    sampling = replace(sampling_of(request.settings), trace_top_k=request.top_k)
    events = engine.session().generate(ids, sampling)
    notes.clear()
    writer = _writer(request, engine, sampling, out)
    later: list[str] = []
    watched = not isinstance(writer, TextWriter) and request.mode == "text"
    tracer = _tracer(request, engine)
    try:
        for event in events:
            later += _remarks(event, watched)
            if tracer is not None:
                tracer.take(event)
            writer.take(event)
    finally:
        events.close()
        writer.close()
        if tracer is not None:
            later += tracer.save()
        for remark in later:
            notes.say(remark)


def _tracer(request: Request, engine: Engine) -> Tracer | None:
    if request.trace is None:
        return None
    from dgchat.inline.tracing import Tracer

    return Tracer(engine, request.prompt, request.settings.seed, request.trace, request.force)


def _remarks(event: Event, watched: bool) -> Iterator[str]:
    """What there is to say of an event, once the answer is written."""
    from dgengine import Block, Done, Notice

    match event:
        case Notice():
            yield event.text
        case Block():
            yield from filter(None, [block_note(event)])
        case Done():
            yield from filter(None, [done_note(event), summary(event) if watched else None])


def _writer(request: Request, engine: Engine, sampling: Sampling, out: TextIO) -> Writer:
    if request.mode == "json":
        return JsonWriter(engine, out)
    if request.mode == "events":
        return EventWriter(engine, out)
    if request.settings.watch and out.isatty():
        from dgchat.inline.watch import WatchWriter, can_animate

        if can_animate(out):
            return WatchWriter(engine, sampling, request.settings, out)
    return TextWriter(engine, out)


def open_engine(settings: Settings, notes: Notes) -> Engine:
    """Loads the model that the settings name, or the built-in one with a note on how to get the full one."""
    name = settings.model
    if settings.sources["model"] == "default":
        notes.say(default_model_note())
    notes.wait(f"loading {name}")
    import dgengine

    stages = {"download": "downloading", "load": "loading"}

    def progress(stage: str, done: float) -> None:
        notes.wait(f"{stages.get(stage, stage)} {name}", done)

    engine = dgengine.Engine.load(
        name,
        device=settings.device,
        precision=settings.precision,
        context=settings.context,
        offline=settings.offline,
        progress=progress,
    )
    for note in engine.info.notes:
        notes.say(note)
    return engine


def sampling_of(settings: Settings) -> Sampling:
    """The settings' part that the sampler is about."""
    import dgengine

    return dgengine.Sampling(max_new_tokens=settings.max_tokens, max_denoising_steps=settings.steps, seed=settings.seed)


def messages(request: Request) -> list[Message]:
    """The chat that the prompt is, the system prompt at its head."""
    return [*system_messages(request.settings), {"role": "user", "content": request.prompt}]


def system_messages(settings: Settings) -> list[Message]:
    """The system prompt as a message; none when there is no text in it."""
    system = settings.system or ""
    return [{"role": "system", "content": system}] if system.strip() else []
