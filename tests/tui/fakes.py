"""An engine without a model: it knows its answer, and pretends to find it step by step."""

from __future__ import annotations

import io
import random
import re
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dgengine import Block, Capabilities, Control, Done, Event, InfillRequest, Notice, Prefill, Sampling, Stats, Step
from dgengine.thinking import ThoughtParser
from tests.tui.rewrites import fake_infill

EOS, OPENING, CLOSING, THE = range(4)  # the last is the first word of every engine here, " the"
_TOKEN = re.compile(r"\n *| ?[A-Za-z]+| ?\S|\s")
_FILLER = " the a of and river lantern quiet fox , . to was in".split(" ")


class Pipe(io.TextIOWrapper):
    """A standard stream with `data` in it; `tty` makes it say that it is a terminal."""

    def __init__(self, data: bytes = b"", tty: bool = False) -> None:
        super().__init__(io.BytesIO(data), "utf-8")
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


class Tty(io.StringIO):
    """A terminal to write to."""

    def isatty(self) -> bool:
        return True


class Vocabulary:
    """Words as tokens; the list grows as texts come in. Id 0 ends an answer, 1 and 2 stand around a thought."""

    def __init__(self) -> None:
        self.words = [""] * THE
        self._ids = {"": EOS}

    def encode(self, text: str) -> list[int]:
        return [self._id(word) for word in _TOKEN.findall(text)]

    def encode_answer(self, text: str) -> list[int]:
        """With `<thought>` and `</thought>` in it as the tokens around a thought."""
        parts = re.split("(</?thought>)", text)
        marks = {"<thought>": [OPENING, *self.encode("thought\n")], "</thought>": [CLOSING]}
        return [id_ for part in parts for id_ in marks.get(part) or self.encode(part)]

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = len(self.words)
            self.words.append(word)
        return self._ids[word]


@dataclass(frozen=True)
class FakeInfo:
    """What dgchat reads of `EngineInfo`."""

    name: str = "fake"
    canvas_length: int = 32
    context_length: int = 4096
    device: str = "cpu"
    precision: str = "float32"
    parameters: int = 9_000_000
    weight_bytes: int = 36_000_000
    vocab_size: int = 4096
    notes: tuple[str, ...] = ()


class FakeEngine:
    """Answers with `answers`, one after another, the last one again and again.

    What stands between `<thought>` and `</thought>` in an answer is a thought.

    Attributes:
        asked: the messages of every `encode_chat` for an answer.
        thought: for each of them, whether the model was to think first.
        notices: sentences that the next answer begins with.
        error: raised in the place of the second step, or of that of `failing`.
        failing: the block in which `error` is raised.
        stuck: the block that never settles, until it is cancelled; 0 for none.
        unsettled: blocks that have not settled at their step limit: what follows is as `Sampling.on_limit` says.
        extensions: how many steps each `Control.extend` gave.
        permits: each step, and the end of a block, takes one: so a test lets the engine go step by step.
        thinks: whether the chat template knows of thinking.
        sees: whether the model sees images.
        rewrites: the candidates of every rewrite, best first.
        requests: what was to be rewritten, and how.
        samplings: how each answer was to be sampled.
    """

    def __init__(
        self,
        *answers: str,
        canvas: int = 32,
        steps: int = 6,
        delay: float = 0.0,
        name: str = "fake",
        stepwise: bool = False,
    ) -> None:
        """`stepwise`: it makes no step before it is permitted to."""
        self.info = FakeInfo(name=name, canvas_length=canvas)
        self.generation_config: dict[str, Any] = {}
        self.eos_ids = frozenset({EOS})
        self.vocabulary = Vocabulary()
        self.filler = [self.vocabulary.encode(" " + word)[0] for word in _FILLER if word]
        self.asked: list[list[dict[str, Any]]] = []
        self.notices: list[str] = []
        self.thought: list[bool] = []
        self.error: BaseException | None = None
        self.failing = 1
        self.stuck = 0
        self.unsettled: set[int] = set()
        self.extensions: list[int] = []
        self.permits = threading.Semaphore(0) if stepwise else None
        self.thinks = False
        self.sees = False
        self.rewrites = ["a silver bell", "nothing", "one old wooden kite"]
        self.requests: list[tuple[InfillRequest, Sampling | None]] = []
        self.samplings: list[Sampling | None] = []
        self.sessions = 0
        self.steps = steps
        self.delay = delay
        self._answers = list(answers) or ["Hello there."]

    def encode_chat(
        self, messages: Sequence[dict[str, Any]], thinking: bool = False, max_new_tokens: int | None = None
    ) -> list[int]:
        self.asked.append([dict(message) for message in messages])
        self.thought.append(thinking)
        count = sum(1 + len(str(message.get("content", ""))) for message in messages)
        return [1] * (count + (thinking and self.thinks))

    @property
    def capabilities(self) -> Capabilities:
        name = self.info.name
        why_not = {"thinking": f"{name} cannot think.", "images": f"{name} cannot see images."}
        return Capabilities(thinking=self.thinks, images=self.sees, why_not=why_not)

    def encode(self, text: str) -> list[int]:
        return self.vocabulary.encode(text)

    def pieces(self, ids: Iterable[int], end: bool = False) -> list[str]:
        return [self.vocabulary.words[id_] for id_ in ids]

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        return [self.vocabulary.words[id_].encode() for id_ in ids]

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.pieces(ids))

    @property
    def thought_marks(self) -> tuple[int, int]:
        return OPENING, CLOSING

    def split_thinking(self, ids: Iterable[int]) -> tuple[str, str]:
        parser = ThoughtParser(self.spell, self.thought_marks)
        parser.feed(ids)
        parser.close()
        return parser.thought, parser.answer

    def next_answer(self) -> str:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def permit(self, steps: int = 1) -> None:
        """Lets one that goes step by step make so many more, the ends of blocks counted as well."""
        assert self.permits is not None
        self.permits.release(steps)

    def wait(self, control: Control) -> None:
        """Until the next step, or the end of the block, may be made."""
        time.sleep(self.delay)
        while self.permits is not None and not control.cancelled and not self.permits.acquire(timeout=0.01):
            pass

    def session(self) -> FakeSession:
        self.sessions += 1
        return FakeSession(self)


class FakeSession:
    """The answers of one conversation."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    def generate(
        self, ids: Sequence[int], sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        engine, canvas = self._engine, self._engine.info.canvas_length
        control = control or Control()
        engine.samplings.append(sampling)
        asks = sampling is not None and sampling.on_limit == "ask"
        yield from (Notice(text) for text in engine.notices)
        yield Prefill(0, len(ids), 0)
        yield Prefill(len(ids), len(ids), 0)
        tokens = [*engine.vocabulary.encode_answer(engine.next_answer()), EOS]
        blocks = [tokens[start : start + canvas] for start in range(0, len(tokens), canvas)]
        for number, block in enumerate(blocks, 1):
            yield from self._denoise(block, number, asks, control)
            if control.cancelled:
                yield Done("cancelled", fake_stats((number - 1) * canvas, number - 1, engine.steps))
                return
            control.end_block(number)
        yield Done("eos", fake_stats(len(tokens), len(blocks), engine.steps))

    def _denoise(self, block: Sequence[int], number: int, asks: bool, control: Control) -> Generator[Event, None, None]:
        """The steps of one block, and its end; after a cancel nothing more."""
        engine, steps = self._engine, self._engine.steps
        unsettled = number in engine.unsettled
        endless = 10**9 if number == engine.stuck else steps * 4 if unsettled else steps
        for step in fake_steps(block, engine.info.canvas_length, number, endless, engine.filler):
            engine.wait(control)
            if engine.error is not None and (number, step.step) == (engine.failing, 2):
                raise engine.error
            pins = control.orders(number).pins  # waits while it is held
            if control.cancelled:
                return
            yield pinned(step, pins)
            if not unsettled or step.step < steps:
                continue
            engine.wait(control)
            yield Block(number, np.array(block, np.int32), step.step, False, waiting=asks)
            more = control.wait_for_decision() if asks else 0
            if not more:
                return
            engine.extensions.append(more)
            steps += more
        engine.wait(control)
        tokens = [control.pins(number).get(place, id_) for place, id_ in enumerate(block)]
        yield Block(number, np.array(tokens, np.int32), step.step, True)

    def infill(
        self, request: InfillRequest, sampling: Sampling | None = None, control: Control | None = None
    ) -> Generator[Event, None, None]:
        return fake_infill(self._engine, request, sampling, control or Control())


def fake_steps(
    block: Sequence[int], canvas: int, number: int, steps: int, filler: Sequence[int], seed: int = 0
) -> Generator[Step, None, None]:
    """Steps in which every position comes to its token, each in its own time, and one is taken back."""
    rain = random.Random(seed * 1000 + number)
    target = [*block, *[EOS] * (canvas - len(block))]
    due = [rain.uniform(0, 0.85) * steps if id_ != EOS else rain.uniform(0, 1.5) for id_ in target]
    wrong = rain.randrange(len(block))
    for step in range(1, steps + 1):
        early = [step - when for when in due]
        draft = [
            id_ if gap > -1.5 and not (place == wrong and step == 2) else rain.choice(filler)
            for place, (id_, gap) in enumerate(zip(target, early, strict=True))
        ]
        accepted = [gap > 0 or (place == wrong and step == 2) for place, gap in enumerate(early)]
        entropy = [0.001 if gap > 0 else min(6.0, 0.2 - gap) for gap in early]
        yield Step(
            number, step, 0.8 - 0.4 * (step - 1) / steps, 0.001,
            draft=np.array(draft, np.int32), canvas=np.array(draft, np.int32),
            entropy=np.array(entropy, np.float32), accepted=np.array(accepted), pinned=np.zeros(canvas, bool),
        )  # fmt: skip


def pinned(step: Step, pins: Mapping[int, int]) -> Step:
    """The step with these tokens held."""
    places = list(pins)
    draft, accepted = step.draft.copy(), step.accepted.copy()
    entropy, held = step.entropy.copy(), step.pinned.copy()
    draft[places], accepted[places], entropy[places], held[places] = list(pins.values()), False, 0.0, True
    return replace(step, draft=draft, canvas=draft, accepted=accepted, entropy=entropy, pinned=held)


def fake_stats(tokens: int, blocks: int, steps: int) -> Stats:
    """Stats that agree with each other."""
    return Stats(
        tokens=tokens, blocks=blocks, steps_per_block=(steps,) * blocks,
        tokens_per_forward=tokens / max(1, blocks * steps),
        ms_per_step=1.0, prefill_encoded=10, prefill_reused=0, seconds=0.1, tokens_per_second=tokens / 0.1,
        peak_memory_bytes=1, seed=7,
    )  # fmt: skip
