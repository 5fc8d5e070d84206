"""Batches of fixed shapes: rows of packed conversations, canvases in them, and the noise on these."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pocket.conversations import Canvas, Sample, draw_conversation
from pocket.infill import BRIEF_TASKS, draw_infill
from pocket.stepping import draw_bounds, draw_temperatures
from pocket.tokenizer import EOS, PAD, TURN_END, ChatTokenizer

INFILL_SHARE = 0.2  # of the conversations that are packed into rows
SPAN_SHARE = 0.2  # of the canvases without a hole of their own, noised in contiguous spans
ALL_NOISE_SHARE = 0.15  # of the canvases, at the level of the first step
NOISE_POWER = 0.8  # below one: more of the high levels, where an answer must come from its question
FILL_WEIGHT = 0.1  # loss weight of the end-of-text tokens that fill a canvas behind its answer
LONG_TURNS = 40  # more than a long row holds
MORE_TURNS = 0.45  # chance that a conversation goes on


@dataclass(frozen=True)
class Plan:
    """Shape of a batch: `rows` of `length` tokens, `canvases` a row; `packed` rows hold several conversations.

    `brief` rows hold only conversations whose answers fit `BRIEF_CANVAS` tokens, in canvases of that length: most of
    a whole canvas is fill behind such an answer, and sums and sortings need many examples more than stories do.
    """

    rows: int
    length: int
    canvases: int
    packed: bool
    brief: bool = False


SHORT = Plan(rows=16, length=256, canvases=4, packed=True)
BRIEF = Plan(rows=16, length=256, canvases=9, packed=True, brief=True)
LONG = Plan(rows=3, length=1152, canvases=8, packed=False)
BRIEF_CANVAS = 32


@dataclass(frozen=True)
class Batch:
    """Tensors of one step; N = rows × canvases.

    Attributes:
        ids, documents: int64 [B, T], tokens and the conversation that each belongs to.
        rows, starts: int64 [N], where each canvas stands.
        target: int64 [N, C], the clean canvas.
        noisy, noisier: int64 [N, C], the canvas, and the same with more noise: the step before it.
        weight: float32 [N, C], loss weights.
        free, noise, draws, bounds, temperatures: what a step of the sampler from `noisier` needs (`stepping.stepped`).
    """

    ids: Tensor
    documents: Tensor
    rows: Tensor
    starts: Tensor
    target: Tensor
    noisy: Tensor
    noisier: Tensor
    weight: Tensor
    free: Tensor
    noise: Tensor
    draws: Tensor
    bounds: Tensor
    temperatures: Tensor


def draw_long(rng: random.Random, tokenizer: ChatTokenizer, canvas: int) -> Sample:
    return draw_conversation(rng, tokenizer, LONG_TURNS, canvas)


def draw_some_turns(rng: random.Random, tokenizer: ChatTokenizer, canvas: int) -> Sample:
    turns = 1
    while rng.random() < MORE_TURNS and turns < 8:
        turns += 1
    return draw_conversation(rng, tokenizer, turns, canvas)


def draw_packed(rng: random.Random, tokenizer: ChatTokenizer, canvas: int) -> Sample:
    if rng.random() < INFILL_SHARE:
        return draw_infill(rng, tokenizer, canvas)
    return draw_some_turns(rng, tokenizer, canvas)


def draw_brief(rng: random.Random, tokenizer: ChatTokenizer) -> Sample:
    """A conversation whose answers all fit a short canvas, or a hole in such an answer."""
    if rng.random() < INFILL_SHARE:
        return draw_infill(rng, tokenizer, BRIEF_CANVAS, BRIEF_TASKS)
    while True:
        sample = draw_some_turns(rng, tokenizer, BRIEF_CANVAS)
        if all(canvas.target[-1] in (EOS, TURN_END) for canvas in sample.canvases):
            return sample


def fill_row(
    rng: random.Random, tokenizer: ChatTokenizer, plan: Plan, canvas: int
) -> tuple[list[int], list[int], list[Canvas]]:
    """Ids and document numbers of one row, exactly `plan.length` long, and its canvases."""
    ids: list[int] = []
    documents: list[int] = []
    canvases: list[Canvas] = []
    while len(ids) < plan.length:
        if plan.brief:
            sample = draw_brief(rng, tokenizer)
        else:
            sample = draw_packed(rng, tokenizer, canvas) if plan.packed else draw_long(rng, tokenizer, canvas)
        base = len(ids)
        canvases += [replace(item, start=base + item.start) for item in sample.canvases]
        documents += [len(documents)] * len(sample.ids)
        ids += sample.ids
    length = plan.length
    inside = [item for item in canvases if item.start <= length]
    if not inside:  # one long conversation, whose canvas lies past the end
        return fill_row(rng, tokenizer, plan, canvas)
    return ids[:length], documents[:length], inside


def choose(rng: random.Random, canvases: list[Canvas], count: int) -> list[Canvas]:
    """`count` canvases; each once before any twice."""
    chosen: list[Canvas] = []
    while len(chosen) < count:
        chosen += rng.sample(canvases, min(len(canvases), count - len(chosen)))
    return chosen


def holes(rng: random.Random, canvas: Canvas) -> list[bool]:
    """Where noise may fall: the canvas' own hole, now and then a few contiguous spans, mostly everywhere."""
    length = len(canvas.target)
    if canvas.free is not None:
        return canvas.free
    if rng.random() >= SPAN_SHARE:
        return [True] * length
    free = [False] * length
    end = canvas.target.index(EOS) if EOS in canvas.target else length
    for _ in range(rng.choice((1, 1, 2))):
        start = rng.randrange(end)
        width = rng.randint(1, max(1, min(24, end - start)))
        free[start : start + width] = [True] * width
    return free


def add_noise(target: Tensor, free: Tensor, vocab: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The canvas at a random noise level, and at a higher one that contains it. [N, C] -> two [N, C]."""
    count, length = target.shape
    level = torch.rand(count, 1, generator=generator) ** NOISE_POWER
    level[torch.rand(count, 1, generator=generator) < ALL_NOISE_SHARE] = 1.0
    # A hole is refined from nothing; weak noise on a few tokens would teach little.
    level = torch.where(free.all(1, keepdim=True), level, level.sqrt())
    higher = level + (1 - level) * torch.rand(count, 1, generator=generator)
    draw = torch.rand(count, length, generator=generator)
    first = torch.randint(0, vocab, target.shape, generator=generator)
    second = torch.randint(0, vocab, target.shape, generator=generator)
    noisy = torch.where(free & (draw < level), first, target)
    noisier = torch.where(free & (draw < higher), second, target)
    return noisy, noisier


def loss_weights(target: Tensor) -> Tensor:
    """One where a canvas holds its answer, little on the fill behind it. [N, C] -> float32 [N, C]."""
    fill = (target == EOS).cumsum(1) > 1
    return torch.where(fill, FILL_WEIGHT, 1.0)


def draw_batch(
    rng: random.Random,
    generator: torch.Generator,
    tokenizer: ChatTokenizer,
    plan: Plan,
    canvas: int,
    vocab: int,
    stepped: float = 0.0,
) -> Batch:
    """One batch of the plan's shape; of its settled canvases a share of `stepped` takes a step of the sampler."""
    filled = [fill_row(rng, tokenizer, plan, canvas) for _ in range(plan.rows)]
    chosen = [choose(rng, row[2], plan.canvases) for row in filled]
    flat = [item for row in chosen for item in row]
    target = torch.tensor([item.target for item in flat])
    free = torch.tensor([holes(rng, item) for item in flat])
    noisy, noisier = add_noise(target, free, vocab, generator)
    settled = torch.tensor([[item.settled] for item in flat])
    return Batch(
        ids=torch.tensor([row[0] for row in filled]),
        documents=torch.tensor([row[1] for row in filled]),
        rows=torch.arange(plan.rows).repeat_interleave(plan.canvases),
        starts=torch.tensor([item.start for item in flat]),
        target=target,
        noisy=noisy,
        noisier=noisier,
        weight=loss_weights(target),
        free=free,
        noise=torch.randint(0, vocab, target.shape, generator=generator),
        draws=torch.rand(target.shape, generator=generator),
        bounds=draw_bounds(settled, stepped, generator),
        temperatures=draw_temperatures(len(target), generator),
    )


__all__ = ["BRIEF", "LONG", "PAD", "SHORT", "Batch", "Plan", "draw_batch"]
