"""The two engines that are compared, behind one face, and what one answer of theirs leaves behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from dgengine import Engine, Session

THEIRS, OURS, OURS_REFERENCE = "transformers", "dgengine", "dgengine, reference draws"


@dataclass(frozen=True)
class Task:
    """One prompt to answer: token ids, a seed, and the longest answer in tokens."""

    ids: list[int]
    seed: int
    max_new_tokens: int


@dataclass
class Run:
    """One answer: its tokens, the time of the call in seconds, and when each draft of each block came."""

    tokens: list[int] = field(default_factory=list)
    seconds: float = 0.0
    drafts: list[list[float]] = field(default_factory=list)

    @property
    def step_seconds(self) -> list[float]:
        """Gaps between successive drafts of a block; the first draft waits for the encoder: none."""
        return [b - a for block in self.drafts for a, b in itertools.pairwise(block)]

    @property
    def steps(self) -> int:
        return sum(len(block) for block in self.drafts)


class Contestant(Protocol):
    def answer(self, task: Task) -> Run:
        """Answers one prompt from nothing."""


class FirstDraft(Exception):
    """Ends a `generate` of transformers when its first draft has come."""


class Watch:
    """A streamer for transformers' `generate` that notes when each draft comes."""

    def __init__(self, only_first: bool = False) -> None:
        self.only_first = only_first
        self.prompt_seen = False
        self.drafts: list[list[float]] = [[]]
        self.first: list[int] = []

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt at first, then every finished block."""
        if self.prompt_seen:
            self.drafts.append([])
        self.prompt_seen = True

    def put_draft(self, value: torch.Tensor) -> None:
        self.drafts[-1].append(time.perf_counter())
        if self.only_first:
            self.first = value.flatten().tolist()
            raise FirstDraft

    def end(self) -> None:
        """Nothing is left to note."""


class Transformers:
    """DiffusionGemma as transformers runs it."""

    def __init__(self, path: str, dtype: str) -> None:
        import torch
        from transformers import DiffusionGemmaForBlockDiffusion
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self._torch = torch
        self._model: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(path, dtype=getattr(torch, dtype))
        self._model.eval()
        eos = self._model.generation_config.eos_token_id
        self._eos = set(eos if isinstance(eos, list) else [eos])

    def answer(self, task: Task) -> Run:
        return self._generate(task, Watch())[0]

    def _generate(self, task: Task, watch: Watch, past: Any = None) -> tuple[Run, Any]:
        self._torch.manual_seed(task.seed)
        held = 0 if past is None else past.get_seq_length()
        ids = self._torch.tensor([task.ids[held:]])
        start = time.perf_counter()
        output = self._model.generate(ids, past_key_values=past, streamer=watch, max_new_tokens=task.max_new_tokens)
        seconds = time.perf_counter() - start
        tokens = upto_eos(output.sequences[0, ids.shape[1] :].tolist(), self._eos)
        return Run(tokens, seconds, [block for block in watch.drafts if block]), output.past_key_values

    def first_turn(self, task: Task) -> tuple[list[int], Any]:
        """The tokens of an answer, and the cache as transformers returns it."""
        run, past = self._generate(task, Watch())
        return run.tokens, past

    def first_draft(self, task: Task, past: Any = None) -> tuple[float, list[int]]:
        """Seconds to the first draft, and that draft; `past` holds a prefix of the task's ids."""
        watch = Watch(only_first=True)
        start = time.perf_counter()
        try:
            self._generate(task, watch, past)
        except FirstDraft:
            return watch.drafts[0][0] - start, watch.first
        raise RuntimeError("transformers finished an answer without a draft")


class Ours:
    """DiffusionGemma as the engine of this repository runs it."""

    def __init__(self, engine: Engine, reference: bool) -> None:
        self._engine = engine
        self._reference = reference

    def answer(self, task: Task) -> Run:
        start = time.perf_counter()
        run = self._finish(self._engine.session(), task)
        run.seconds = time.perf_counter() - start  # with the session's making, as generate makes a cache
        return run

    def first_turn(self, task: Task) -> tuple[list[int], Session]:
        """The tokens of an answer, and the session that holds its K/V cache."""
        session = self._engine.session()
        return self._finish(session, task).tokens, session

    def first_draft(self, task: Task, session: Session | None = None) -> tuple[float, list[int]]:
        """Seconds to the first draft, and that draft; a new session when none is given."""
        from dgengine import Step

        start = time.perf_counter()
        events = (session or self._engine.session()).generate(task.ids, self._sampling(task))
        for event in events:
            if isinstance(event, Step):
                seconds = time.perf_counter() - start
                events.close()
                return seconds, event.draft.tolist()
        raise RuntimeError("the engine finished an answer without a step")

    def _finish(self, session: Session, task: Task) -> Run:
        from dgengine import Block, Step

        run = Run()
        start = time.perf_counter()
        for event in session.generate(task.ids, self._sampling(task)):
            if isinstance(event, Step):
                if event.step == 1:
                    run.drafts.append([])
                run.drafts[-1].append(time.perf_counter())
            elif isinstance(event, Block):
                run.tokens += event.tokens.tolist()
        run.seconds = time.perf_counter() - start
        return run

    def _sampling(self, task: Task) -> Any:
        from dgengine import Sampling

        return Sampling(seed=task.seed, max_new_tokens=task.max_new_tokens, reference=self._reference)


def upto_eos(tokens: Sequence[int], eos: set[int]) -> list[int]:
    """The tokens up to and with the first end-of-sequence id."""
    for index, token in enumerate(tokens):
        if token in eos:
            return list(tokens[: index + 1])
    return list(tokens)


def model_path(name: str) -> str:
    """What transformers is to load: the built-in model's directory, or the name as it is."""
    import dgengine

    return str(Path(dgengine.__file__).parent / "pocket") if name == "pocket" else name


def load_engine(model: str, dtype: str) -> Engine:
    """The model in the engine, on the CPU."""
    from dgengine import Engine

    return Engine.load(model, device="cpu", precision=dtype)
