"""Traces: what was seen comes back, in little room, and damaged ones are refused in a sentence."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.trace.codec import TraceError, pack, unpack
from dgchat.trace.steps import MOST_NATS, About, StepTrace, code_entropy, decode_entropy
from dgengine import Block, Step
from dgengine.spelling import pieces
from tests.amounts import examples


def step(rng: np.random.Generator, block: int, number: int, length: int, candidates: int = 0) -> Step:
    top = np.sort(rng.random((length, candidates)).astype(np.float32))[:, ::-1] / max(1, candidates)
    return Step(
        block, number, float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.001, 0.1)),
        draft=rng.integers(0, 262_144, length).astype(np.int32), canvas=rng.integers(0, 9, length).astype(np.int32),
        entropy=rng.gamma(0.5, 1.0, length).astype(np.float32), accepted=rng.random(length) < 0.3,
        pinned=rng.random(length) < 0.1,
        top_ids=rng.integers(0, 262_144, (length, candidates)).astype(np.int32) if candidates else None,
        top_probs=top.astype(np.float32) if candidates else None,
    )  # fmt: skip


def traced(seed: int, blocks: int, steps: int, length: int, candidates: int = 0) -> tuple[StepTrace, list[Step]]:
    rng = np.random.default_rng(seed)
    trace, given_steps = StepTrace(), []
    for block in range(1, blocks + 1):
        for number in range(1, steps + 1):
            given_steps.append(step(rng, block, number, length, candidates))
            trace.take(given_steps[-1])
        trace.take(Block(block, given_steps[-1].draft[: length // 2], steps, block % 2 == 0))
    return trace, given_steps


@examples(30)
@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(1, 5), st.integers(1, 70), st.integers(0, 3))
def test_what_was_seen_comes_back(seed: int, blocks: int, steps: int, length: int, candidates: int) -> None:
    trace, seen = traced(seed, blocks, steps, length, candidates)
    again = unpack(pack(trace))
    assert len(again) == len(trace) == len(seen)
    frames = [block.step(number) for block in again.blocks for number in range(1, len(block) + 1)]
    for frame, original in zip(frames, seen, strict=True):
        assert (frame.block, frame.step) == (original.block, original.step)
        assert frame.temperature == pytest.approx(original.temperature, rel=1e-6)
        for name in ("draft", "accepted", "pinned"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(original, name))
        np.testing.assert_allclose(frame.entropy, original.entropy, atol=0.1)
        if candidates:
            assert frame.top_probs is not None and original.top_probs is not None
            np.testing.assert_array_equal(frame.top_ids, original.top_ids)
            np.testing.assert_allclose(frame.top_probs, original.top_probs, atol=1 / 500)
    for mine, other in zip(again.blocks, trace.blocks, strict=True):
        np.testing.assert_array_equal(mine.tokens, other.tokens)
        assert mine.converged is other.converged


def test_a_long_answer_takes_little_room() -> None:
    """4,000 tokens in blocks of 256 at 48 steps; noise as it is here does not compress, real drafts do."""
    trace, _ = traced(1, 16, 48, 256)
    assert trace.bytes_held() < 2 * 2**20


@given(st.floats(0, 20, width=32))
def test_entropy_is_finest_where_acceptance_is_decided(nats: float) -> None:
    back = float(decode_entropy(code_entropy(np.array([nats], np.float32)))[0])
    assert abs(back - min(nats, MOST_NATS)) <= 0.003 + 0.03 * min(nats, MOST_NATS) ** 0.5 * MOST_NATS**0.5
    assert (back == 0) == (nats < MOST_NATS / (4 * 255**2)) or nats == pytest.approx(MOST_NATS / (4 * 255**2))


def test_no_such_step() -> None:
    trace, _ = traced(1, 1, 3, 8)
    for number in (0, 4, -1):
        with pytest.raises(IndexError, match="steps 1 to 3"):
            trace.blocks[0].step(number)


@examples(60)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_trace_is_refused_in_a_sentence(damage: list[tuple[float, int]]) -> None:
    data = bytearray(pack(traced(3, 2, 3, 20, 2)[0]))
    for where, value in damage:
        data[int(where * len(data))] = value
    try:
        unpack(bytes(data))
    except TraceError as error:
        assert str(error).startswith("The trace") and "\n" not in str(error)[:200]


@given(st.binary(max_size=300))
def test_anything_else_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(TraceError):
        unpack(data)


def archive(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def test_traces_that_lie() -> None:
    good = dict(np.load(io.BytesIO(pack(traced(3, 1, 3, 20)[0]))))
    for name, value, said in [
        ("version", np.array(9), "version 9"),
        ("blocks", np.array(10**9), "claims"),
        ("blocks", np.array(2), "damaged"),
        ("0.about", np.array([1, 10**9, 0]), "more steps than"),
        ("0.drafts", np.zeros((3, 19), np.int32), "drafts has"),
        ("0.drafts", np.zeros((3, 20), np.float64), "drafts has"),
        ("0.drafts", np.array([{}], object), "damaged"),
        ("0.top_ids", np.zeros((3, 20, 2), np.int32), "damaged"),
    ]:
        with pytest.raises(TraceError, match=said):
            unpack(archive(**{**good, name: value}))


def test_a_bomb_is_not_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("0.drafts.npy", bytes(300 * 2**20))
    with pytest.raises(TraceError, match="more than 256 MiB"):
        unpack(out.getvalue())


def spell(ids: Sequence[int]) -> list[bytes]:
    """Bytes that are no whole characters for some ids."""
    return [f"{id_}ü".encode()[: 1 + id_ % 5] for id_ in ids]


@given(st.integers(0, 2**32), st.text(max_size=20), st.booleans(), st.one_of(st.none(), st.integers(0, 2**63)))
def test_a_trace_spells_its_tokens_and_says_what_it_is_of(
    seed: int, prompt: str, steered: bool, number: int | None
) -> None:
    trace, seen = traced(seed, 2, 3, 16, 2)
    trace.about = About("a model", prompt, number, frozenset({1, 106}), steered)
    trace.learn(spell)
    again = unpack(pack(trace))
    assert again.about == trace.about and again.spelling == trace.spelling
    for frame in seen:
        ids = frame.draft.tolist()
        assert again.pieces(ids) == pieces(spell(ids))
        assert frame.top_ids is not None and set(frame.top_ids.ravel().tolist()) <= again.spelling.keys()
    ids = [id_ for block in trace.blocks for id_ in block.tokens.tolist()]
    assert again.text() == "".join(pieces(spell(ids), end=True))
    assert again.text(before=2) == "".join(pieces(spell(trace.blocks[0].tokens.tolist()), end=True))


def about(fields: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(f"{{{fields}}}".encode(), np.uint8)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("about", np.frombuffer(b"{}", np.uint8)),
        ("about", about('"model": 1, "prompt": "", "seed": null, "ends": [], "steered": false')),
        ("about", about('"model": "", "prompt": "", "seed": null, "ends": ["x"], "steered": false')),
        ("about", np.frombuffer(b"\xff", np.uint8)),
        ("spelling.ends", np.array([5], np.int64)),
        ("spelling.ends", np.array([-1] * 1000, np.int64)),
        ("spelling.bytes", np.zeros(0, np.uint8)),
        ("spelling.ids", np.zeros((1, 1), np.int32)),
    ],
)
def test_a_trace_that_makes_no_sense_is_refused(name: str, array: np.ndarray[Any, Any]) -> None:
    trace, _ = traced(1, 1, 2, 16)
    trace.learn(spell)
    with np.load(io.BytesIO(pack(trace))) as loaded:
        arrays = dict(loaded)
    out = io.BytesIO()
    np.savez(out, **{**arrays, name: array})
    with pytest.raises(TraceError, match="trace"):
        unpack(out.getvalue())
