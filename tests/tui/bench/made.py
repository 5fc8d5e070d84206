"""Runs that nobody has measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dgchat.bench.figures import FIGURES, PromptFigures
from dgchat.bench.runs import Run

RUN = Run(
    date="2026-01-02T03:04:05+00:00", dgchat="0.1.0", model="pocket", backend="embedded", device="cpu",
    precision="float32", parameters=7_000_000, system="Linux x86_64", cpu="A | processor", cores=2, gpu=None, load=0.5,
    python="3.12.1", torch="2.13.0", quick=False, repeat=3, seed=20, max_tokens=None, steps=None,
    figures={name: float(place) for place, name in enumerate(FIGURES, 1)}, missing={},
    prompts=(PromptFigures("short", 12.0, 2.0, 150.0, 30.0),),
)  # fmt: skip


def made(**changes: Any) -> Run:
    """A run that differs from RUN in these."""
    return replace(RUN, **changes)
