"""Answers, and how long what takes in them. Knows nothing of an engine but what every one gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from dgchat.bench.prompts import FOLLOW_UP, LONG_LINES, LONG_TOKENS, PROMPTS, SEED, Prompt, text_of

if TYPE_CHECKING:
    from dgbackends.protocol import Backend, BackendSession
    from dgengine import Event, Sampling

Clock: TypeAlias = Callable[[], float]
Tell: TypeAlias = Callable[[str, float], None]
"""Told what is being measured, and how much is done, 0 to 1."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        quick: few prompts, and short answers.
        repeat: how often each prompt is asked.
        seed: of the first repetition.
        max_tokens, steps: at most, of an answer and of a block; None leaves it to the prompts and to the model.
    """

    quick: bool = False
    repeat: int = 3
    seed: int = SEED
    max_tokens: int | None = None
    steps: int | None = None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Those that are asked."""
        return tuple(prompt for prompt in PROMPTS if prompt.quick or not self.quick)

    def longest(self, prompt: Prompt) -> int:
        """Tokens of its answer, at most."""
        return min(prompt.max_tokens, self.max_tokens or prompt.max_tokens)


@dataclass(frozen=True)
class Sample:
    """One answer; all times in seconds since it was asked for, None for what did not happen or was not seen.

    Attributes:
        prompt: its name.
        tokens, blocks: of the answer.
        step_seconds: of each denoising step.
        seconds: until the end.
        first_step, first_block: until these.
        prefill_tokens: of the prompt, that were read.
        prefill_seconds: that reading took.
        peak_memory: bytes, as the engine tells; 0 where it does not.
        ids: the answer's tokens.
    """

    prompt: str
    tokens: int = 0
    blocks: int = 0
    step_seconds: tuple[float, ...] = ()
    seconds: float = 0.0
    first_step: float | None = None
    first_block: float | None = None
    prefill_tokens: int = 0
    prefill_seconds: float | None = None
    peak_memory: int = 0
    ids: tuple[int, ...] = ()


@dataclass
class Measured:
    """What came of a plan.

    Attributes:
        rounds: for each repetition, the answer to each prompt.
        second_turns: after the long prompt, seconds until the first step of one more answer, for each repetition; None
            where no step was seen.
    """

    rounds: list[list[Sample]] = field(default_factory=list)
    second_turns: list[float | None] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        """All answers but the second turns."""
        return [sample for samples in self.rounds for sample in samples]


def measure(engine: Backend, plan: Plan, tell: Tell, clock: Clock = time.perf_counter) -> Measured:
    """Asks everything, after one answer that only warms up.

    Raises:
        EngineError: the model cannot answer.
    """
    total = plan.repeat * (len(plan.prompts) + 1) + 1
    told = iter(range(total))

    def say(what: str) -> None:
        tell(what, next(told) / total)

    asker = _Asker(engine, plan, clock)
    say("warming up")
    asker.ask(replace(PROMPTS[0], max_tokens=1), 0)
    measured = Measured()
    for repetition in range(plan.repeat):
        samples = []
        for prompt in plan.prompts:
            say(f"measuring {prompt.name}, {repetition + 1} of {plan.repeat}")
            samples.append(asker.ask(prompt, repetition))
        say(f"measuring a second turn, {repetition + 1} of {plan.repeat}")
        measured.second_turns.append(asker.second_turn(samples[-1], repetition))
        measured.rounds.append(samples)
    return measured


class _Asker:
    """Asks one prompt after another, each in a conversation of its own but for second turns."""

    def __init__(self, engine: Backend, plan: Plan, clock: Clock) -> None:
        self._engine, self._plan, self._clock = engine, plan, clock
        self._lines = LONG_LINES
        self._lines = self._fitting()
        self._session: BackendSession = engine.session()
        self._said: list[dict[str, Any]] = []

    def ask(self, prompt: Prompt, repetition: int) -> Sample:
        """Asks a prompt in a new conversation."""
        self._session = self._engine.session()
        self._said = [{"role": "user", "content": text_of(prompt, self._lines)}]
        longest = self._plan.longest(prompt)
        return self._answer(prompt.name, longest, repetition)

    def second_turn(self, first: Sample, repetition: int) -> float | None:
        """Goes on with the last conversation: seconds until the first step."""
        answer = self._engine.split_thinking(first.ids)[1]
        self._said += [
            {"role": "assistant", "content": answer, "ids": list(first.ids)},
            {"role": "user", "content": FOLLOW_UP},
        ]
        return self._answer("second turn", 1, repetition).first_step

    def _answer(self, name: str, longest: int, repetition: int) -> Sample:
        start = self._clock()
        ids = self._engine.encode_chat(self._said, False, longest)
        with closing(self._session.generate(ids, self._sampling(longest, repetition))) as events:
            return sample_of(name, self._timed(events, start))

    def _timed(self, events: Iterable[Event], start: float) -> Iterator[tuple[float, Event]]:
        for event in events:
            yield self._clock() - start, event

    def _sampling(self, longest: int, repetition: int) -> Sampling:
        from dgengine import Sampling

        able = self._engine.capabilities
        return Sampling(
            max_new_tokens=longest,
            max_denoising_steps=self._plan.steps if able.steps else None,
            seed=self._plan.seed + repetition if able.seeds else None,
        )

    def _fitting(self) -> int:
        """Lines of the long prompt that come to LONG_TOKENS, or to half the context where that is less."""
        long = next(prompt for prompt in PROMPTS if prompt.long)
        room = min(LONG_TOKENS, self._engine.info.context_length // 2)
        lines = LONG_LINES
        while lines > 1 and (length := self._length(text_of(long, lines))) > room:
            lines = max(1, min(lines - 1, lines * room // length))
        return lines

    def _length(self, text: str) -> int:
        """Tokens of a question; more than any context where it does not fit."""
        from dgengine import PromptTooLongError

        try:
            return len(self._engine.encode_chat([{"role": "user", "content": text}], False, 1))
        except PromptTooLongError:
            return 2 * self._engine.info.context_length


def sample_of(name: str, events: Iterable[tuple[float, Event]]) -> Sample:
    """An answer from its events, each with the time when it came."""
    from dgengine import Block, Done, Prefill, Step

    sample = Sample(name)
    steps: list[float] = []
    blocks: dict[int, Sequence[int]] = {}
    reading: float | None = None
    now = 0.0
    for now, event in events:
        match event:
            case Prefill(done=0, total=total) if total and not steps and not blocks:
                reading = now
            case Prefill(done=done, total=total) if done == total and reading is not None and not steps:
                sample = replace(sample, prefill_tokens=total, prefill_seconds=now - reading)
            case Step():
                steps.append(event.seconds)
                sample = sample if sample.first_step is not None else replace(sample, first_step=now)
            case Block():
                blocks[event.block] = event.tokens.tolist()
                sample = sample if sample.first_block is not None else replace(sample, first_block=now)
            case Done():
                sample = replace(sample, peak_memory=event.stats.peak_memory_bytes)
    ids = tuple(id_ for _, tokens in sorted(blocks.items()) for id_ in tokens)
    return replace(sample, tokens=len(ids), blocks=len(blocks), step_seconds=tuple(steps), seconds=now, ids=ids)
