"""The engine on a thread of its own, behind a mailbox that a screen empties when it is ready to.

torch is imported on that thread, so that the screen is painted and takes keys meanwhile.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from dgchat.exits import of_engine
from dgchat.images.content import text_of
from dgchat.mailbox import Answered as Answered
from dgchat.mailbox import Failed as Failed
from dgchat.mailbox import Loading as Loading
from dgchat.mailbox import Mailbox as Mailbox
from dgchat.mailbox import Outlet as Outlet
from dgchat.mailbox import Post as Post
from dgchat.mailbox import Ready as Ready
from dgchat.notes import bar
from dgchat.offered import why_not
from dgchat.opening import options_of, planned
from dgchat.sanitize import clean_line
from dgchat.settings import Settings

if TYPE_CHECKING:
    from dgbackends.protocol import Backend, BackendSession
    from dgchat.trace.steps import About, StepTrace
    from dgengine import Control, Event, InfillRequest

TRACED_BYTES: Final = 8 * 2**20  # of a longer answer only the newest steps can be seen again
_CANDIDATES: Final = 5  # of each token, for whoever looks at it


@dataclass(frozen=True)
class Again:
    """A finished answer that is to form anew from one of its blocks on, around tokens that are held.

    Attributes:
        head: the tokens of the blocks before it, which stay.
        blocks: how many these are.
        pins: token ids by position of the block's canvas.
    """

    head: tuple[int, ...]
    blocks: int
    pins: Mapping[int, int]


def new_trace() -> StepTrace:
    """A trace for an answer, of bounded size: an endless answer must not fill the memory."""
    from dgchat.trace.steps import StepTrace

    trace = StepTrace()
    trace.limit = TRACED_BYTES
    return trace


def about_of(engine: Backend, messages: Sequence[dict[str, Any]], thinking: bool = False) -> About:
    """What a trace says of an answer before its end."""
    from dgchat.trace.steps import About

    asked = text_of(messages[-1].get("content", "")) if messages else ""
    return About(engine.info.name, asked, ends=engine.eos_ids, marks=engine.thought_marks, thinking=thinking)


@dataclass(frozen=True)
class _Turn:
    """An answer, or a rewrite, that was asked for."""

    number: int
    messages: Sequence[dict[str, Any]]
    control: Control
    stopped: threading.Event
    thinking: bool = False
    asks: bool = False  # whether a block that does not settle waits for a decision
    trace: StepTrace = field(default_factory=new_trace)
    again: Again | None = None
    outlet: Outlet | None = None  # where its events go; None for the host's own mailbox


class _Superseded(Exception):
    """The model that is being loaded is no longer wanted."""


class EngineHost:
    """A model and one conversation on a daemon thread that lives as long as the program.

    All methods return at once and may be called from any thread. What comes of them is put into `mailbox`; `notify`
    is called, on the host's thread, when the mailbox has something after it was empty.
    """

    def __init__(
        self, settings: Settings, notify: Callable[[], object], load: Callable[..., Backend] | None = None
    ) -> None:
        """`load` opens an engine, by default `open_backend` of dgbackends."""
        self._outlet = Outlet(notify)
        self._posting: Outlet | None = None  # that of the turn being answered, where it has one of its own
        self._settings = settings
        self._load = load
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._jobs.put(self._open)  # before anything that is asked, also before `start`
        self._engine: Backend | None = None
        self._wanted = 0  # how many models have been asked for, and the number of the one that is loaded
        self._loaded = -1
        self._session: BackendSession | None = None
        self._rewriter: BackendSession | None = None  # apart, so that a rewrite does not push the chat out of the cache
        self._turn: _Turn | None = None  # the latest one, and how many there were
        self._turns = 0
        self._running = 0  # the number of the turn being answered; 0 while there is none
        self._thread = self._new_thread()

    def _new_thread(self) -> threading.Thread:
        self._died = False  # told before the thread has ended: `is_alive` would come too late
        return threading.Thread(target=self._work, name="engine", daemon=True)

    @property
    def mailbox(self) -> Mailbox:
        """Where all posts go that have no outlet of their own."""
        return self._outlet.mailbox

    @property
    def engine(self) -> Backend | None:
        """The engine, once it is loaded."""
        return self._engine

    def start(self) -> None:
        """Begins to load the model."""
        self._thread.start()

    def ask(
        self,
        messages: Sequence[dict[str, Any]],
        thinking: bool = False,
        asks: bool = False,
        again: Again | None = None,
        trace: StepTrace | None = None,
    ) -> int:
        """Answers a chat, once the model is loaded and the answers before are done; returns the answer's number.

        Args:
            messages: the chat.
            thinking: whether the model is to think first, where it can.
            asks: whether a block that does not settle waits for `extend`, `commit` or `stop`.
            again: what of an answer to the same chat stays.
            trace: takes every step, also those that no one sees; it may hold the blocks that stay.
        """
        from dgengine import Control

        self._revive()
        self._turns += 1
        self._turn = turn = _Turn(
            self._turns, list(messages), Control(), threading.Event(), thinking, asks, trace or new_trace(), again
        )  # fmt: skip
        self._jobs.put(lambda: self._answer(turn))
        return turn.number

    def infill(self, request: InfillRequest, outlet: Outlet, seed: int | None = None) -> int:
        """Rewrites a part of a text, as `ask` answers; returns the rewrite's number.

        Args:
            request: the text, and what is to be rewritten.
            outlet: where the events go, and a failure. Of the steps of a candidate only the newest waits there.
            seed: in the place of that of the settings.
        """
        from dgengine import Control

        self._revive()
        self._turns += 1
        self._turn = turn = _Turn(self._turns, [], Control(), threading.Event(), outlet=outlet)
        self._jobs.put(lambda: self._rewrite(turn, request, seed))
        return turn.number

    def _revive(self) -> None:
        """Begins another thread in the place of one that has died, and loads the model again where there is none."""
        if not self._died:
            return
        self._thread = self._new_thread()
        if self._engine is None:
            self._jobs.put(self._open)
        else:
            self._jobs.put(self._new_session)  # the old one may have been left in the middle of a step
        self._thread.start()

    def load_again(self) -> None:
        """Loads the model, after that has failed."""
        if self._engine is None:
            self._jobs.put(self._open)
            if self._died:
                self._thread = self._new_thread()
                self._thread.start()

    def use(self, settings: Settings) -> None:
        """Ends the answer, lets go of the model, also of one that is being loaded, and loads the one named now."""
        self.stop()
        self._settings = settings
        self._wanted += 1
        self._jobs.put(self._reopen)
        if self._died:
            self._thread = self._new_thread()
            self._thread.start()

    def _reopen(self) -> None:
        if self._loaded == self._wanted:
            return
        self._engine = self._session = self._rewriter = None
        gc.collect()  # the memory of the one may be needed for the other
        self._open()

    @property
    def trace(self) -> StepTrace:
        """The steps of the answer asked for last; it grows while that is being written."""
        assert self._turn is not None  # something has been asked
        return self._turn.trace

    def hold(self, frozen: bool) -> None:
        """Holds the answer before its next step, or lets it go on."""
        if self._turn is not None:
            (self._turn.control.pause if frozen else self._turn.control.resume)()

    def pin(self, place: int, token: int | None, block: int) -> None:
        """Holds a token at a position of a block of the answer, from its next step on; None frees it."""
        if self._turn is None:
            return
        number = block - (self._turn.again.blocks if self._turn.again is not None else 0)
        if token is None:
            self._turn.control.unpin(place, number)
        else:
            self._turn.control.pin(place, token, number)

    def extend(self, steps: int) -> None:
        """Gives the block that waits, or runs, more steps."""
        if self._turn is not None:
            self._turn.control.extend(steps)

    def commit(self) -> None:
        """Ends the block that waits, or runs, as it stands."""
        if self._turn is not None:
            self._turn.control.commit()

    def stop(self) -> None:
        """Ends the answer asked for last within one step; `Done("cancelled")` follows."""
        if self._turn is not None:
            self._turn.control.cancel()
            self._turn.stopped.set()

    def forget(self) -> None:
        """Ends the answer, and begins a new conversation."""
        self.stop()
        self._jobs.put(self._new_session)

    def close(self) -> None:
        """Ends the answer, and then the thread."""
        self.stop()
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except _Superseded:
                pass  # what takes its place is the next job
            except Exception as error:  # noqa: BLE001 - reported to the screen, and logged when it is not the engine's own
                from dgengine.memory import is_exhausted

                if is_exhausted(error):
                    self._new_session()  # the cache of the old one is memory too
                self._put(Failed(self._running, _sentence(error), traceback.format_exc()))
            except BaseException:  # a library has ended the thread: `ask` begins another
                self._died = True
                self._put(Failed(self._running, "The engine's thread has ended; the next question starts it anew."))
                raise
            finally:
                self._running, self._posting = 0, None

    def _put(self, post: Post, replaceable: bool = False, kind: object = None) -> None:
        (self._posting or self._outlet).put(post, replaceable, kind)

    def _open(self) -> None:
        wanted, settings = self._wanted, self._settings

        def progress(stage: str, done: float) -> None:
            if wanted != self._wanted:
                raise _Superseded  # a download ends by that, too
            self._tell_progress(plan.label, stage, done)

        plan = planned(settings)
        self._put(Loading(f"loading {plan.label}"))
        from dgbackends.opening import open_backend

        load: Callable[..., Backend] = self._load or open_backend
        engine = load(plan.model, **options_of(settings, plan), progress=progress)
        if wanted != self._wanted:
            return  # another one is the next job, for which there has to be room
        self._engine, self._loaded = engine, wanted
        self._new_session()
        self._put(Ready(engine))

    def _tell_progress(self, model: str, stage: str, done: float) -> None:
        verb = {"download": "downloading", "load": "loading"}.get(stage, stage)
        how_far = f" {bar(done)} {done:.0%}" if 0 < done < 1 else ""
        self._put(Loading(f"{verb} {model}{how_far}"), True)

    def _new_session(self) -> None:
        if self._engine is not None:
            self._session, self._rewriter = self._engine.session(), None

    def _answer(self, turn: _Turn) -> None:
        from dgchat.inline.answer import sampling_of
        from dgengine import Block, Step

        engine, session = self._engine, self._session
        if engine is None or session is None:
            return  # Loading failed, and the screen was told so.
        self._running = turn.number
        ids = engine.encode_chat(turn.messages, turn.thinking, self._settings.max_tokens)
        asks = turn.asks and why_not(engine, "limits") is None
        sampling = replace(
            sampling_of(self._settings), on_limit="ask" if asks else "commit", trace_top_k=_candidates(engine)
        )
        last = 0.0
        turn.trace.speller = engine.spell
        turn.trace.about = about_of(engine, turn.messages, turn.thinking)
        if turn.again is not None:
            longest = sampling.resolve(engine.generation_config).max_new_tokens
            sampling = replace(sampling, max_new_tokens=max(1, longest - len(turn.again.head)))
            ids.extend(turn.again.head)
            for place, token in turn.again.pins.items():
                turn.control.pin(place, token)
        for event in self._numbered(session.generate(ids, sampling, turn.control), turn):
            if isinstance(event, Step | Block):
                last = self._keep_pace(last, turn.stopped)
            turn.trace.take(event)
            self._put(Answered(turn.number, event), isinstance(event, Step))

    def _numbered(self, events: Iterable[Event], turn: _Turn) -> Iterator[Event]:
        """The events, blocks counted from the beginning of the whole answer."""
        from dgengine import Block, Step

        for event in events:
            if turn.again is not None and isinstance(event, Step | Block):
                yield replace(event, block=event.block + turn.again.blocks)
            else:
                yield event

    def _rewrite(self, turn: _Turn, request: InfillRequest, seed: int | None) -> None:
        from dgchat.inline.answer import sampling_of
        from dgengine import Step

        self._running, self._posting = turn.number, turn.outlet
        if self._engine is None:
            self._put(Failed(turn.number, "The model could not be loaded; rewriting again tries once more."))
            return
        self._rewriter = self._rewriter or self._engine.session()
        sampling = sampling_of(self._settings)
        if seed is not None:
            sampling = replace(sampling, seed=seed)
        last, step = 0.0, 0
        for event in self._rewriter.infill(request, sampling, turn.control):
            if isinstance(event, Step) and event.step != step:  # the candidates make theirs side by side
                last, step = self._keep_pace(last, turn.stopped), event.step
            kind = event.candidate if isinstance(event, Step) else None
            self._put(Answered(turn.number, event), isinstance(event, Step), kind)

    def _keep_pace(self, last: float, stopped: threading.Event) -> float:
        """Waits until a step has been in sight for its time, so that a fast model's steps show; returns the time."""
        if self._settings.pace:
            stopped.wait(max(0.0, last + 1 / self._settings.pace - time.monotonic()))
        return time.monotonic()


def _sentence(error: Exception) -> str:
    """What the screen says of an error; the traceback of one that is not the engine's own goes to the log."""
    failure = of_engine(error)
    if failure is not None:
        return str(failure)
    from dgchat.hush import log_traceback

    log = log_traceback()
    text = f"Something unexpected went wrong ({type(error).__name__}: {error})"
    return clean_line(f"{text}; the traceback is in {log}" if log else text)


def _candidates(engine: Backend) -> int:
    """How many candidates of each token are kept for whoever looks at it: none on a GPU, where they cost its graphs."""
    return _CANDIDATES if engine.info.device == "cpu" and why_not(engine, "acceptance") is None else 0
