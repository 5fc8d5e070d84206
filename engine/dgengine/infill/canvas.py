"""One canvas of an infill: what is pinned on it, where it is open, and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from numpy.typing import NDArray
from torch import Tensor

from dgengine.events import Step
from dgengine.infill.layout import Layout, remaining
from dgengine.infill.passage import Opening
from dgengine.infill.vocabulary import FORBIDDEN, Vocabulary
from dgengine.sampler import BlockSampler
from dgengine.sampling import ResolvedSampling

_DOUBTED = 2  # steps whose entropy tells whether the length is right; later ones tell only that a choice was made


class HoleCanvas:
    """The denoising of one canvas, of one candidate.

    Attributes:
        candidate: the candidate's number.
        block: the canvas' number.
        seconds: what its steps took.
        doubt: mean entropies of its open positions at the first two steps, added up, in nats.
    """

    def __init__(
        self,
        candidate: int,
        block: int,
        layout: Layout,
        size: tuple[int, int],
        sampling: ResolvedSampling,
        words: Vocabulary,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Draws the first canvas and pins what is given.

        Args:
            size: the canvas length, and the vocabulary's size.
        """
        self.candidate = candidate
        self.block = block
        self.layout = layout
        self.seconds = 0.0
        self.doubt = 0.0
        self.held: Mapping[int, int] = {}
        seed = (sampling.seed + block * 0x9E3779B97F4A7C15) % 2**63
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._shuffler = torch.Generator().manual_seed(seed)
        self.sampler = BlockSampler(sampling, *size, self._generator, dtype)
        self._open = [place for _, first, last in layout.holes for place in range(first, last)]
        self._rows = torch.tensor(self._open, device=device)
        self._banned = words.banned
        self._edges = [edge for hole in layout.holes for edge in _edges(hole, words)]
        self.hold({})

    def begin_with(self, ids: Sequence[int], strength: float) -> None:
        """Puts a share of what stands in the holes on the canvas, instead of noise; `ids` are the passage's tokens."""
        canvas = self.sampler.canvas.clone()
        for opening, first, last in self.layout.holes:
            present = ids[opening.first : opening.last]
            for place, token in remaining(present, last - first, strength, self._shuffled).items():
                canvas[first + place] = token
        self.sampler.canvas = canvas

    def _shuffled(self, count: int) -> list[int]:
        return torch.randperm(count, generator=self._shuffler).tolist()

    def hold(self, pins: Mapping[int, int]) -> None:
        """Sets what a person holds in the holes, beside what is pinned anyway."""
        self.held = {place: token for place, token in pins.items() if place not in self.layout.pins}
        self.sampler.pin({**self.layout.pins, **self.held})

    def open_to(self, token: int) -> None:
        """Lets a token stand in the holes that is banned there otherwise: the one that ends an answer."""
        self._banned = self._banned.clone()
        self._banned[token] = False

    def step(self, logits: Tensor, seconds: float) -> Step:
        """Takes one step on logits float32 [C, V], which are overwritten."""
        with torch.inference_mode():
            rows = logits[self._rows].masked_fill_(self._banned, FORBIDDEN)
            logits[self._rows] = rows
            for place, unfit in self._edges:
                logits[place].masked_fill_(unfit, FORBIDDEN)
        draft = self.sampler.step(logits)
        self.seconds += seconds
        free = [place for place in self._open if place not in self.held]
        if free and self.sampler.steps <= _DOUBTED:
            self.doubt += float(draft.entropy[free].mean())
        return Step(
            self.block, self.sampler.steps, seconds=seconds, candidate=self.candidate, **draft._asdict()
        )  # fmt: skip

    @property
    def draft(self) -> NDArray:  # type: ignore[type-arg]
        """int32 [C]: the canvas as it stands, what a person has just pinned included."""
        return self.sampler.pinned_draft(self.held)

    @property
    def filled(self) -> tuple[tuple[int, ...], ...]:
        """The tokens in each hole."""
        draft = self.draft.tolist()
        return tuple(tuple(draft[first:last]) for _, first, last in self.layout.holes)

    @property
    def places(self) -> tuple[tuple[int, int, int], ...]:
        """(span, first, last) of each hole."""
        return tuple((opening.span, first, last) for opening, first, last in self.layout.holes)


def _edges(hole: tuple[Opening, int, int], words: Vocabulary) -> list[tuple[int, Tensor]]:
    """The open positions that must begin or end with bytes outside the span, each with the tokens that do not."""
    opening, first, last = hole
    wanted: dict[int, tuple[bytes, bytes]] = {}
    if opening.head:
        wanted[first] = (opening.head, b"")
    if opening.tail:
        wanted[last - 1] = (wanted.get(last - 1, (b"", b""))[0], opening.tail)
    return [(place, words.unfit(*edges)) for place, edges in wanted.items()]
