"""The steps of an answer as dense planes, small enough to keep for every answer.

A block of 256 positions and 48 steps takes 61 KiB without the candidates, 363 KiB with five; see `bytes_held`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dgchat.canvas.marks import shown
from dgengine import spelling
from dgengine.events import Block, Event, Step
from dgengine.thinking import ThoughtParser

MOST_NATS: Final = 12.5  # the entropy that the coarsest code stands for: ln of a vocabulary of 262,144 tokens
_CODES = 255


def code_entropy(nats: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Entropy in one byte: codes lie close together near zero, where acceptance is decided."""
    share = np.sqrt(np.clip(nats, 0.0, MOST_NATS) / MOST_NATS)
    codes: NDArray[np.uint8] = np.rint(_CODES * share).astype(np.uint8)
    return codes


def decode_entropy(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The entropy, in nats, that codes stand for."""
    nats: NDArray[np.float32] = (MOST_NATS * (codes.astype(np.float32) / _CODES) ** 2).astype(np.float32)
    return nats


@dataclass
class BlockTrace:
    """The steps of one block; S steps of C positions, K candidates.

    Attributes:
        number: of the block, from 1.
        length: C.
        tokens: int32 [n], what the block added to the answer; empty while it runs.
        converged: False while it runs, and when the step limit ended it.
        drafts: S rows int32 [C]; entropy: S rows of codes uint8 [C].
        accepted, pinned: S rows of packed bits uint8 [ceil(C / 8)].
        temperatures, seconds: S numbers.
        top_ids, top_codes: S rows int32 and uint8 [C, K] where candidates were traced, else empty; probabilities in
            units of 1/255.
    """

    number: int
    length: int
    tokens: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    converged: bool = False
    drafts: list[NDArray[np.int32]] = field(default_factory=list)
    entropy: list[NDArray[np.uint8]] = field(default_factory=list)
    accepted: list[NDArray[np.uint8]] = field(default_factory=list)
    pinned: list[NDArray[np.uint8]] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    top_ids: list[NDArray[np.int32]] = field(default_factory=list)
    top_codes: list[NDArray[np.uint8]] = field(default_factory=list)

    def __len__(self) -> int:
        """How many steps there are."""
        return len(self.drafts)

    def add(self, step: Step) -> None:
        """Keeps a step. Its draft comes last: a reader on another thread sees a step whole or not at all."""
        self.entropy.append(code_entropy(step.entropy))
        self.accepted.append(np.packbits(step.accepted))
        self.pinned.append(np.packbits(step.pinned))
        self.temperatures.append(step.temperature)
        self.seconds.append(step.seconds)
        if step.top_ids is not None and step.top_probs is not None:
            self.top_ids.append(step.top_ids.astype(np.int32))
            self.top_codes.append(np.rint(_CODES * step.top_probs).astype(np.uint8))
        self.drafts.append(step.draft.astype(np.int32))

    def forget(self) -> None:
        """Drops the steps; the tokens stay."""
        for plane in (
            self.drafts, self.entropy, self.accepted, self.pinned, self.temperatures, self.seconds, self.top_ids,
            self.top_codes,
        ):  # fmt: skip
            plane.clear()

    def step(self, number: int) -> Step:
        """Step `number`, from 1, as the engine gave it but for the rounding; its canvas is the draft.

        Raises:
            IndexError: there is no such step.
        """
        if not 1 <= number <= len(self):
            raise IndexError(f"block {self.number} has steps 1 to {len(self)}, not {number}")
        place = number - 1
        traced = place < len(self.top_ids)
        probs = (self.top_codes[place] / np.float32(_CODES)).astype(np.float32) if traced else None
        return Step(
            self.number, number, self.temperatures[place], self.seconds[place],
            draft=self.drafts[place], canvas=self.drafts[place], entropy=decode_entropy(self.entropy[place]),
            accepted=self._bits(self.accepted[place]), pinned=self._bits(self.pinned[place]),
            top_ids=self.top_ids[place] if traced else None, top_probs=probs,
        )  # fmt: skip

    def decided(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Of step `number`, from 1: the draft, what was accepted, and what was pinned. Cheaper than `step`."""
        place = number - 1
        return self.drafts[place], self._bits(self.accepted[place]), self._bits(self.pinned[place])

    @property
    def steered(self) -> bool:
        """Whether anything was held at any step, or after the last one."""
        if any(plane.any() for plane in self.pinned):
            return True
        return bool(self.drafts) and not np.array_equal(self.tokens, self.drafts[-1][: len(self.tokens)])

    @property
    def bytes_a_step(self) -> int:
        """Memory that a step's planes take; 0 before the first."""
        planes = (self.drafts, self.entropy, self.accepted, self.pinned, self.top_ids, self.top_codes)
        return sum(plane[0].nbytes for plane in planes if plane)

    def _bits(self, packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.unpackbits(packed, count=self.length).view(np.bool_)


@dataclass(frozen=True)
class About:
    """What a trace is of; all of it may be unknown.

    Attributes:
        model: its name.
        prompt: the question.
        seed: of the answer.
        ends: ids that end an answer: nothing is drawn behind the first one.
        steered: whether a person has pinned tokens.
        marks: the ids around what the model thought; None for none.
        thinking: whether it was asked to think.
    """

    model: str = ""
    prompt: str = ""
    seed: int | None = None
    ends: frozenset[int] = frozenset()
    steered: bool = False
    marks: tuple[int, int] | None = None
    thinking: bool = False


class StepTrace:
    """The blocks of an answer, from the engine's events or from a file.

    Attributes:
        about: what it is of.
        spelling: the bytes of every token in it, once `learn` has been called: no tokenizer is needed to show it.
        speller: `Engine.spell`, while the answer is being written.
        limit: bytes of the planes; of a longer answer the oldest steps go. None for no limit.
    """

    def __init__(
        self,
        blocks: list[BlockTrace] | None = None,
        about: About | None = None,
        spelled: dict[int, bytes] | None = None,
    ) -> None:
        self.blocks: list[BlockTrace] = blocks or []
        self.about = about or About()
        self.spelling: dict[int, bytes] = spelled or {}
        self.speller: Callable[[Sequence[int]], list[bytes]] | None = None
        self.limit: int | None = None

    def take(self, event: Event) -> None:
        """Keeps what the event tells of the canvas; other events are left out."""
        if isinstance(event, Step):
            self._block(event).add(event)
        elif isinstance(event, Block):
            for block in self.blocks:
                if block.number == event.block:
                    block.tokens, block.converged = event.tokens.astype(np.int32), event.converged

    def _block(self, step: Step) -> BlockTrace:
        if not self.blocks or self.blocks[-1].number != step.block:
            self.blocks.append(BlockTrace(step.block, len(step.draft)))
            self._make_room()
        return self.blocks[-1]

    def _make_room(self) -> None:
        """As a block begins, not with every step: to add up a long answer takes time."""
        held = self.bytes_held() if self.limit is not None else 0
        for block in self.blocks[:-1]:
            if self.limit is None or held <= self.limit:
                return
            held -= block.bytes_a_step * len(block)
            block.forget()

    def learn(self, spell: Callable[[Sequence[int]], list[bytes]]) -> None:
        """Takes over the spelling of every token that the trace holds; `spell` is `Engine.spell`."""
        planes = [plane for block in self.blocks for plane in (*block.drafts, *block.top_ids, block.tokens)]
        ids = np.unique(np.concatenate([plane.ravel() for plane in planes])).tolist() if planes else []
        self.spelling = dict(zip(ids, spell(ids), strict=True))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The text that each token of a sequence adds; what the trace does not spell adds nothing."""
        return shown(ids, spelling.pieces(self.spell(ids)), self.about.marks)

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The bytes of each token."""
        ids = list(ids)
        if self.speller is not None:
            return self.speller(ids)
        return [self.spelling.get(id_, b"") for id_ in ids]

    def text(self, before: int | None = None) -> str:
        """The text of the blocks, or of those whose number is below `before`, thoughts and their marks included."""
        ids = [id_ for block in self.blocks if before is None or block.number < before for id_ in block.tokens.tolist()]
        return "".join(shown(ids, spelling.pieces(self.spell(ids), end=True), self.about.marks))

    @property
    def thought_marks(self) -> tuple[int, int] | None:
        """The token ids around a thought."""
        return self.about.marks

    def parser(self) -> ThoughtParser:
        """A new one, which tells thoughts from the answer in the tokens of the blocks."""
        return ThoughtParser(self.spell, self.about.marks, self.about.thinking)

    def __len__(self) -> int:
        """How many steps all blocks have together."""
        return sum(map(len, self.blocks))

    def bytes_held(self) -> int:
        """Memory that the planes take."""
        return sum(block.bytes_a_step * len(block) for block in self.blocks)
