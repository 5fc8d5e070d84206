"""One answer on the command line: as text, as JSON, as events, or resolving on the screen."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO, TypeAlias

from dgchat.exits import Exit, Failure, of_engine
from dgchat.export.writing import check_free
from dgchat.hush import hushed
from dgchat.images.content import content_of
from dgchat.inline.flow import Flow
from dgchat.inline.images import read_images, show_images
from dgchat.notes import Notes, block_note, default_model_note, done_note, summary
from dgchat.offered import why_not
from dgchat.opening import open_planned, planned
from dgchat.settings import Settings
from dgchat.thoughts import Blocks, Speller, why_not_think

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.inline.tracing import Tracer
    from dgengine import Done, Event, Sampling
    from dgengine.thinking import ThoughtParser

Mode: TypeAlias = Literal["text", "json", "events"]
Message: TypeAlias = dict[str, Any]


class Writer(Protocol):
    """Takes the events of an answer and writes what the user asked to see."""

    def take(self, event: Event) -> None:
        """The next event."""

    def close(self) -> None:
        """The end, also of an answer that broke off: what is settled is left written, the screen in order."""


class Answer:
    """The tokens of an answer so far, and their text: what the model thought, and what it answered."""

    def __init__(self, engine: Speller, thinking: bool = False) -> None:
        """`thinking`: whether the model was asked to think first."""
        self._blocks = Blocks(engine, thinking)

    def take(self, event: Event) -> None:
        """Keeps the tokens of blocks; a block that comes again replaces itself."""
        from dgengine import Block

        if isinstance(event, Block):
            self._blocks.take(event.block, event.tokens.tolist())

    @property
    def ids(self) -> list[int]:
        """All tokens, in order."""
        return [id_ for _, ids in sorted(self._blocks.ids.items()) for id_ in ids]

    def text(self, end: bool = True) -> str:
        """The answer as the model wrote it. Without `end` a last character that is not complete is left out."""
        return self._said(end).answer

    def thought(self, end: bool = True) -> str:
        """What the model thought before; "" for nothing."""
        return self._said(end).thought

    @property
    def thinks(self) -> bool:
        """Whether the last block ended in the middle of a thought."""
        return self._blocks.so_far().inside

    def _said(self, end: bool) -> ThoughtParser:
        return self._blocks.ended() if end else self._blocks.so_far()


class TextWriter:
    """Plain text, block by block; on a terminal wrapped at its width. The answer alone is written to `out`."""

    def __init__(self, engine: Speller, out: TextIO, thinking: bool = False, aside: TextIO | None = None) -> None:
        """`thinking`: whether the model was asked to think; `aside`: where its thoughts go, None for nowhere."""
        self._answer = Answer(engine, thinking)
        self._said = Flow(out)
        self._thought = Flow(aside, aside=True) if aside is not None else None

    def take(self, event: Event) -> None:
        self._answer.take(event)
        self._write(end=False)

    def close(self) -> None:
        self._write(end=True)
        self._said.close()

    def _write(self, end: bool) -> None:
        text = self._answer.text(end)
        if self._thought is not None:
            self._thought.show(self._answer.thought(end))
            if text or end:
                self._thought.close()
        self._said.show(text)


class JsonWriter:
    """One JSON object at the end; nothing when there is no end."""

    def __init__(self, engine: Backend, out: TextIO, thinking: bool = False) -> None:
        self._engine = engine
        self._answer = Answer(engine, thinking)
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
            "thinking": self._answer.thought(),
            "model": model,
            "seed": seed,
            "reason": done.reason,
            "stats": stats,
        }


class EventWriter:
    """One JSON object a line for every event, as it happens.

    Events are what the engine tells: the texts in them hold thoughts as well, as they stand on the canvas.
    """

    def __init__(self, engine: Backend, out: TextIO) -> None:
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
                line["text"] = self._engine.decode(self._answer.ids)
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
        images: files that the prompt is about.
    """

    prompt: str
    settings: Settings
    mode: Mode = "text"
    trace: Path | None = None
    force: bool = False
    top_k: int = 0
    images: tuple[Path, ...] = ()


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
            images = read_images(request.images)
            engine = open_engine(request.settings, notes)
            if request.settings.watch and not request.settings.quiet:
                notes.clear()
                show_images(images, notes.stream)
            _write(request, engine, notes, out)
        except Exception as error:
            failure = of_engine(error)
            if failure is None or failure is error:
                raise
            raise failure from error
        finally:
            notes.clear()
    return Exit.FINE


def _write(request: Request, engine: Backend, notes: Notes, out: TextIO) -> None:
    from dgengine import Notice

    _check_steps(request, engine, notes, out)
    thinking = _thinking(request.settings, engine, notes)
    ids = engine.encode_chat(messages(request), thinking, max_new_tokens=request.settings.max_tokens)
    sampling = replace(sampling_of(request.settings), trace_top_k=request.top_k)
    events = engine.session().generate(ids, sampling)
    notes.clear()
    aside = notes.stream if thinking and not request.settings.quiet else None
    writer = _writer(request, engine, sampling, out, thinking, aside)
    later: list[str] = []
    watched = not isinstance(writer, TextWriter) and request.mode == "text"
    tracer = _tracer(request, engine, thinking)
    try:
        for event in events:
            if isinstance(event, Notice) and event.kind == "busy":  # what one waits for is said while one waits
                notes.say(event.text)
            else:
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


def _tracer(request: Request, engine: Backend, thinking: bool) -> Tracer | None:
    if request.trace is None:
        return None
    from dgchat.inline.tracing import Tracer

    return Tracer(engine, request.prompt, request.settings.seed, request.trace, request.force, thinking)


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


def _check_steps(request: Request, engine: Backend, notes: Notes, out: TextIO) -> None:
    """Refuses a trace of an engine that has no steps; a note says why they are not seen.

    Raises:
        Failure: exit code 2.
    """
    reason = why_not(engine, "drafts")
    if reason is not None and request.trace is not None:
        raise Failure(f"{reason} --trace has nothing to keep: leave it out.", Exit.USAGE)
    if reason is not None and request.settings.watch and request.mode == "text" and out.isatty():
        notes.say(reason)


def _thinking(settings: Settings, engine: Backend, notes: Notes) -> bool:
    """Whether the model is to think first; where it cannot, though that is wished, a note says so."""
    reason = why_not_think(engine) if settings.thinking else None
    if reason is not None:
        notes.say(reason)
    return settings.thinking and reason is None


def _writer(
    request: Request, engine: Backend, sampling: Sampling, out: TextIO, thinking: bool, aside: TextIO | None
) -> Writer:
    """`aside`: where thoughts are shown; None for nowhere."""
    if request.mode == "json":
        return JsonWriter(engine, out, thinking)
    if request.mode == "events":
        return EventWriter(engine, out)
    if request.settings.watch and out.isatty() and why_not(engine, "drafts") is None:
        from dgchat.inline.watch import WatchWriter, can_animate

        if can_animate(out):
            return WatchWriter(engine, sampling, request.settings, out, thinking, shows_thoughts=aside is not None)
    return TextWriter(engine, out, thinking, aside)


def open_engine(settings: Settings, notes: Notes) -> Backend:
    """Opens the engine that the settings name, or the built-in model with a note on how to get the full one."""
    plan = planned(settings)
    name = plan.label
    if plan.is_default and settings.sources["model"] == "default":
        notes.say(default_model_note())
    notes.wait(f"loading {name}")

    stages = {"download": "downloading", "load": "loading"}

    def progress(stage: str, done: float) -> None:
        notes.wait(f"{stages.get(stage, stage)} {name}", done)

    engine = open_planned(settings, progress)
    for note in engine.info.notes:
        notes.say(note)
    return engine


def sampling_of(settings: Settings) -> Sampling:
    """The settings' part that the sampler is about."""
    import dgengine

    return dgengine.Sampling(max_new_tokens=settings.max_tokens, max_denoising_steps=settings.steps, seed=settings.seed)


def messages(request: Request) -> list[Message]:
    """The chat that the prompt is, the system prompt at its head."""
    content = content_of(request.prompt, request.images)
    return [*system_messages(request.settings), {"role": "user", "content": content}]


def system_messages(settings: Settings) -> list[Message]:
    """The system prompt as a message; none when there is no text in it."""
    system = settings.system or ""
    return [{"role": "system", "content": system}] if system.strip() else []
