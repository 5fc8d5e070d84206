"""What is planned fits, is as good as it can be, and says why it is no better."""

from __future__ import annotations

import re
from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgengine import footprint, planner
from dgengine.full_model import FULL, VISION
from dgengine.planner import GIB, MIB, Plan, plan

BETTER = {"no": 0, "tight": 1, "fits": 2}
NAMES = [precision.name for precision in footprint.PRECISIONS]
sizes = st.integers(1 * MIB, 130 * 1024 * MIB)


def planned(gib: float, *wanted: Any, **options: Any) -> Plan:
    free = int(gib * GIB)
    return plan(FULL, free, free, *wanted, **options)


# the claim


def test_18_gib_are_enough() -> None:
    """Weights, a context of 8,192 tokens and more, what a pass needs, and both reserves."""
    found = planned(18)
    assert (found.fits, found.offload, found.precision.name) == (True, None, "nvfp4+fp8")
    assert found.context >= planner.ENOUGH
    parts = planned(18, None, planner.ENOUGH).parts
    assert parts.total <= 18.0 * GIB
    shown = {name: round(getattr(parts, name) / GIB, 2) for name in ("weights", "keys_and_values", "workspace")}
    assert shown == {"weights": 14.91, "keys_and_values": 1.11, "workspace": 1.04}
    assert parts.cuda_context + parts.fragmentation >= 0.6 * GIB


def test_what_the_claim_rests_on() -> None:
    """The dense part in bfloat16, or every key and value kept in every layer, would not leave room for it."""
    assert not (planned(18, "nvfp4").fits and planned(18, "nvfp4").offload is None)
    everything = replace(FULL, sliding_window=FULL.max_position_embeddings)
    whole = footprint.cache_bytes(everything, planner.ENOUGH, 2).total
    assert whole - footprint.cache_bytes(FULL, planner.ENOUGH, 2).total > 18 * GIB - planned(18, None, 8192).parts.total


# usual cards


@pytest.mark.parametrize(
    ("gib", "precision", "least_context", "streamed", "verdict"),
    [
        (6, "nvfp4+fp8", 2048, 30, "no"),
        (8, "nvfp4+fp8", 8192, 27, "tight"),
        (12, "nvfp4+fp8", 8192, 17, "tight"),
        (16, "nvfp4+fp8", 8192, 7, "tight"),
        (18, "nvfp4+fp8", 16_384, 0, "fits"),
        (24, "nvfp4", 131_072, 0, "fits"),
        (32, "fp8", 131_072, 0, "fits"),
        (48, "fp8", 262_144, 0, "fits"),
        (80, "bfloat16", 262_144, 0, "fits"),
    ],
)
def test_usual_cards(gib: int, precision: str, least_context: int, streamed: int, verdict: str) -> None:
    found = planned(gib)
    layers = found.offload.layers if found.offload else 0
    assert (found.precision.name, layers, found.verdict) == (precision, streamed, verdict)
    assert found.context >= least_context
    assert found.reasons or found.precision.name == "bfloat16"


def test_a_small_model_is_held_as_it_is() -> None:
    small = replace(FULL, layers=FULL.layers[-2:], num_experts=4, top_k_experts=2, vocab_size=8192)
    found = plan(small, 24 * GIB, 24 * GIB)
    assert (found.precision.name, found.context, found.reasons) == ("bfloat16", FULL.max_position_embeddings, ())


def test_on_a_cpu_nothing_is_reserved_and_nothing_streamed() -> None:
    found = planned(24, device="cpu")
    assert (found.offload, found.parts.cuda_context) == (None, 0)
    assert planned(128, device="cpu").precision.name == "float32"
    assert planned(10, device="cpu").verdict == "no"


# what always holds


@given(sizes, st.sampled_from([None, *NAMES]), st.sampled_from([None, 256, 8192, 100_000]), st.booleans())
def test_never_more_than_is_free(free: int, precision: str | None, context: int | None, infill: bool) -> None:
    found = plan(FULL, free, free, precision, context, infill=infill)
    assert found.fits == (found.parts.total <= free)
    assert found.parts.total == sum(astuple(found.parts))
    assert precision in (None, found.precision.name)
    assert context is None or found.context == context
    assert found.fits or found.reasons


@given(sizes, sizes, st.sampled_from(NAMES), st.sampled_from([None, 4 * GIB, 64 * GIB]))
def test_more_memory_is_never_worse(one: int, other: int, precision: str, host: int | None) -> None:
    less, more = (plan(FULL, free, free, precision, host_bytes=host) for free in sorted((one, other)))
    assert more.context >= less.context
    assert BETTER[more.verdict] >= BETTER[less.verdict]
    if less.verdict == "fits":
        assert not more.offload


@given(sizes, sizes)
def test_more_memory_is_never_a_worse_verdict(one: int, other: int) -> None:
    less, more = (plan(FULL, free, free) for free in sorted((one, other)))
    assert BETTER[more.verdict] >= BETTER[less.verdict]


@given(sizes, st.sampled_from([None, *NAMES]))
def test_experts_are_streamed_only_where_nothing_else_fits(free: int, precision: str | None) -> None:
    found = plan(FULL, free, free, precision)
    if not found.offload:
        return
    for name in [precision] if precision else planner.AUTOMATIC["cuda"]:
        whole = footprint.weight_bytes(FULL, footprint.precision_of(name)).total
        cached = footprint.cache_bytes(FULL, planner.ENOUGH, footprint.precision_of(name).width).total
        work = footprint.workspace(FULL, footprint.precision_of(name), planner.ENOUGH).peak
        assert whole + (cached + work) * (1 + planner.FRAGMENTATION) + planner.CUDA_CONTEXT + 64 * MIB > free - 8
    assert found.offload.layers > 2, "fewer would save nothing: two are on the GPU all the time"


# the host


def test_the_host_need_hold_only_what_is_streamed() -> None:
    found = planned(16, host_bytes=6 * GIB)
    assert found.fits and found.offload is not None
    assert found.offload.host_bytes <= 0.8 * 6 * GIB
    assert found.offload.seconds_per_step == found.offload.bytes_per_step / planner.PCIE


def test_without_room_in_the_host_a_short_context_is_made_do_with() -> None:
    found = planned(17.5, host_bytes=GIB // 4)
    assert (found.offload, found.verdict) == (None, "tight")
    assert planner.LEAST <= found.context < planner.ENOUGH
    assert planned(17.5).offload is not None


def test_a_host_that_is_too_small_is_named() -> None:
    found = planned(12, host_bytes=4 * GIB)
    assert found.verdict == "no"
    assert "The host has 4.0 GiB of memory free, of which 80% may be pinned." in found.reasons


# sentences


def test_a_refusal_says_how_much_is_missing() -> None:
    found = plan(FULL, 4 * GIB, 24 * GIB)
    need, others = found.reasons
    assert found.verdict == "no"
    assert f"{found.parts.total / GIB:.1f} GiB" in need and "4.0 GiB are free" in need and "2,048 tokens" in need
    assert others == "The device has 24.0 GiB: other programs hold the rest."


@given(sizes, st.sampled_from([None, *NAMES]))
def test_every_sentence_has_numbers(free: int, precision: str | None) -> None:
    for reason in plan(FULL, free, free, precision).reasons:
        assert re.search(r"\d", reason) and reason.endswith(".")


def test_room_for_rewriting_is_asked_for_or_told_of() -> None:
    without, with_room = planned(24), planned(24, infill=True)
    assert any(reason.startswith("Rewriting in place takes") for reason in without.reasons)
    assert not any(reason.startswith("Rewriting") for reason in with_room.reasons)
    assert with_room.context < without.context or with_room.precision != without.precision


def test_vision_is_counted_where_it_is_loaded() -> None:
    assert planned(48, vision=VISION).parts.vision == footprint.vision_bytes()
    assert planned(48).parts.vision == 0


@pytest.mark.parametrize("context", [0, -1, FULL.max_position_embeddings + 1])
def test_a_context_that_no_model_has(context: int) -> None:
    with pytest.raises(ValueError, match="is not within 1 and the model's 262144"):
        planned(24, None, context)
