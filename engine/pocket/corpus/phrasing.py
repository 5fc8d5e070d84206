"""The many ways of putting one request: templates, and the carelessness of people who type in a hurry."""

from __future__ import annotations

import random
from collections.abc import Sequence

CARELESS = 0.3  # share of prompts written without capital letter or closing mark


def decapitalise(text: str) -> str:
    """The text with a small first letter, unless its first word is "I"."""
    if text[:2] in ("I ", "I'"):
        return text
    return text[:1].lower() + text[1:]


def careless(rng: random.Random, text: str) -> str:
    """The text as it is, or (in `CARELESS` of the calls) without its capital, its closing mark, or both."""
    if rng.random() >= CARELESS:
        return text
    kind = rng.randrange(3)
    if kind != 0:
        text = text.rstrip(".?!")
    if kind != 1:
        text = decapitalise(text)
    return text


def phrase(rng: random.Random, templates: Sequence[str], **slots: object) -> str:
    """One of the templates, filled and perhaps written carelessly."""
    return careless(rng, rng.choice(templates).format(**slots))


def plain(text: str) -> str:
    """The text with runs of white space as one blank, for comparing answers."""
    return " ".join(text.split())
