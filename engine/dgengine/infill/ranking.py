"""How well a candidate fits: read from left to right by the encoder's stack, and looked at by its seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from dgengine.infill.passage import Passage
from dgengine.infill.seams import repeated as repeated

LOOKED_AT: Final = 32  # tokens behind the last hole whose likelihood counts
NEAR: Final = 6  # tokens behind each hole that tell most of the seam
GATE: Final = 1.5  # nats a token that these may be less likely than they were
REPEAT: Final = 1.0  # nats for each word that is said twice across a seam
SHARE: Final = 1 / 12  # of the likelihood of what fills the holes, beside that of a token behind them

Score = Callable[[Sequence[int]], Tensor]
"""Causal log-probabilities float32 [T] of ids that follow what the cache holds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a passage reads like with its holes filled, in nats a token.

    Attributes:
        length: tokens that fill the holes.
        fluency: mean log-probability of these; 0 where there are none.
        behind: mean log-probability of what follows them.
        near: the same of the first few tokens behind each hole alone.
    """

    length: int
    fluency: float
    behind: float
    near: float


def read(score: Score, passage: Passage, filled: Sequence[Sequence[int]], keep: int, closing: int | None) -> Reading:
    """Reads a passage with `filled` in its holes.

    Args:
        score: on a cache that holds all before the last `keep` tokens before the first hole.
        filled: tokens for each opening.
        closing: the id that ends the answer, where the document ends with the passage.
    """
    ids = list(passage.before[len(passage.before) - keep :])
    inside: list[int] = []
    behind: list[int] = []
    near: list[int] = []
    for number, tokens in enumerate(filled):
        inside += range(len(ids), len(ids) + len(tokens))
        ids += tokens
        fixed = list(passage.between(number))
        if number + 1 == len(filled):
            fixed = [*fixed, *([] if closing is None else [closing])][:LOOKED_AT]
        behind += range(len(ids), len(ids) + len(fixed))
        near += range(len(ids), len(ids) + min(NEAR, len(fixed)))
        ids += fixed
    if not ids:
        return Reading(0, 0.0, 0.0, 0.0)
    logs = score(ids)
    return Reading(len(inside), _mean(logs, inside), _mean(logs, behind), _mean(logs, near))


def score(reading: Reading, twice: int, doubt: float) -> float:
    """What candidates are ranked by, higher is better, in nats.

    Each term alone misjudges lengths: likelihoods prefer short fillings, means of them long ones, and the sampler's
    doubt knows nothing of the sense. Together they choose best, measured on the built-in model.

    Args:
        reading: of the passage with the candidate in it.
        twice: words said twice across the seams.
        doubt: mean entropies of the holes' places at the first two steps, added up.
    """
    return reading.near + SHARE * reading.fluency * reading.length - REPEAT * twice - doubt


def _mean(logs: Tensor, places: list[int]) -> float:
    return float(logs[torch.tensor(places)].mean()) if places else 0.0
