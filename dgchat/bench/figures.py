"""Figures from what was measured, and why one is not there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dgchat.bench.measuring import Measured, Sample
from dgchat.bench.prompts import PROMPTS
from dgengine.planner import GIB

if TYPE_CHECKING:
    from dgbackends.protocol import Backend

_LONG: Final = frozenset(prompt.name for prompt in PROMPTS if prompt.long)


class Figure(NamedTuple):
    """One thing that is measured.

    Attributes:
        title: for people.
        show: a value as text.
        less_is_better: whether a smaller value is the better one.
    """

    title: str
    show: Callable[[float], str]
    less_is_better: bool = True


def _milliseconds(value: float) -> str:
    return f"{value:,.2f} ms" if value < 100 else f"{value:,.0f} ms"


def _seconds(value: float) -> str:
    return _milliseconds(1000 * value) if value < 1 else f"{value:,.2f} s"


def _number(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _memory(value: float) -> str:
    return f"{value / GIB:,.2f} GiB"


FIGURES: Final[Mapping[str, Figure]] = {
    "step_ms": Figure("a step, median", _milliseconds),
    "step_ms_p95": Figure("a step, 95th percentile", _milliseconds),
    "tokens_per_forward": Figure("tokens a forward", _number, False),
    "tokens_per_second": Figure("tokens a second", _number, False),
    "first_step": Figure("time to the first step", _seconds),
    "first_block": Figure("time to the first block", _seconds),
    "prefill_tokens_per_second": Figure("tokens read a second", _number, False),
    "second_turn": Figure("second turn, to its first step", _seconds),
    "memory": Figure("memory at its peak", _memory),
    "load": Figure("loading model and libraries", _seconds),
}
_STEPS: Final = ("step_ms", "step_ms_p95", "tokens_per_forward", "first_step", "second_turn")


@dataclass(frozen=True)
class PromptFigures:
    """What one prompt gave, over all repetitions; None for what is not known.

    Attributes:
        name: of the prompt.
        tokens: of an answer, on average.
        steps: of an answer, on average.
        tokens_per_second: over all of its answers.
        step_ms: median.
    """

    name: str
    tokens: float
    steps: float | None
    tokens_per_second: float | None
    step_ms: float | None


def figures(measured: Measured, load_seconds: float, is_remote: bool) -> dict[str, float | None]:
    """A value for each of FIGURES; None for what could not be measured.

    Args:
        measured: the answers.
        load_seconds: that opening the model took.
        is_remote: whether the model is in another process, whose memory and start are not ours to see.
    """
    samples = measured.samples
    short = [sample for sample in samples if sample.prompt not in _LONG]
    steps = [1000 * seconds for sample in samples for seconds in sample.step_seconds]
    return {
        "step_ms": _median(steps),
        "step_ms_p95": percentile(steps, 0.95),
        "tokens_per_forward": _ratio(sum(sample.tokens for sample in samples if sample.step_seconds), len(steps)),
        "tokens_per_second": _median(_tokens_per_second(round_) for round_ in measured.rounds),
        "first_step": _median(sample.first_step for sample in short),
        "first_block": _median(sample.first_block for sample in short),
        "prefill_tokens_per_second": None if is_remote else _read_per_second(samples),
        "second_turn": _median(measured.second_turns),
        "memory": None if is_remote else max((sample.peak_memory for sample in samples), default=0) or None,
        "load": None if is_remote else load_seconds,
    }


def missing(found: Mapping[str, float | None], engine: Backend, is_remote: bool) -> dict[str, str]:
    """For each figure that is not there, why, in one sentence."""
    unseen = engine.capabilities.reason("drafts") or "No answer took a step."
    reasons = dict.fromkeys(_STEPS, unseen) | {
        "prefill_tokens_per_second": "This engine does not tell how long it reads.",
        "memory": "This platform does not tell how much memory a process took.",
    }
    if is_remote:
        reasons["memory"] = "A server does not tell how much memory it takes."
        reasons["load"] = "A server has its model loaded before it is asked."
        reasons["prefill_tokens_per_second"] = "A server does not tell how long it reads."
    return {name: reasons.get(name, "There was nothing to measure.") for name, value in found.items() if value is None}


def by_prompt(measured: Measured) -> list[PromptFigures]:
    """The figures of each prompt, in the order in which they were asked."""
    found: dict[str, list[Sample]] = {}
    for sample in measured.samples:
        found.setdefault(sample.prompt, []).append(sample)
    return [_of_prompt(name, samples) for name, samples in found.items()]


def _of_prompt(name: str, samples: Sequence[Sample]) -> PromptFigures:
    steps = [1000 * seconds for sample in samples for seconds in sample.step_seconds]
    return PromptFigures(
        name,
        statistics.mean(sample.tokens for sample in samples),
        len(steps) / len(samples) if steps else None,
        _tokens_per_second(samples),
        _median(steps),
    )


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest of the values that so large a share of them does not exceed; None where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if part and whole else None


def _tokens_per_second(samples: Sequence[Sample]) -> float | None:
    return _ratio(sum(sample.tokens for sample in samples), sum(sample.seconds for sample in samples))


def _read_per_second(samples: Iterable[Sample]) -> float | None:
    """Of long prompts: with short ones what is measured is mostly what any call takes."""
    read = [sample for sample in samples if sample.prompt in _LONG and sample.prefill_seconds]
    return _ratio(sum(sample.prefill_tokens for sample in read), sum(sample.prefill_seconds or 0.0 for sample in read))
