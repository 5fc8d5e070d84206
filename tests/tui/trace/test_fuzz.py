"""Traces from anybody: refused in a sentence, or shown; no crash, no hang, no memory for what is only claimed."""

from __future__ import annotations

import io
import json
import re
import time
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dgchat.export.formats import FORMATS
from dgchat.export.options import Options
from dgchat.inline.replay import play
from dgchat.settings import load
from dgchat.trace import limits
from dgchat.trace.codec import TraceError, pack, unpack
from dgchat.trace.frames import View, frames
from tests.tui.fakes import Pipe
from tests.tui.trace.made import told

_OURS = re.compile(r"\x1b\[(?:\?25[lh]|2K|0m|4m|\d+A|38;2;\d+;\d+;\d+m)")
_TEXT = "red \x1b[5m\x1b]0;owned\x07fox \x9b2J </script><img src=x onerror=alert(1)> \u202e\n\x00end"
_SMALL = told(_TEXT, canvas=24, steps=4)
_SMALL.blocks[0].top_ids = [np.stack([draft, draft], axis=1) for draft in _SMALL.blocks[0].drafts]
_SMALL.blocks[0].top_codes = [np.full((24, 2), 99, np.uint8) for _ in _SMALL.blocks[0].drafts]
_BYTES = pack(_SMALL)
with np.load(io.BytesIO(_BYTES)) as _loaded:
    _ARRAYS = dict(_loaded)
_KINDS = ("int8", "uint8", "int32", "int64", "uint64", "float32", "float64", "bool", "complex64", "S3", "object")


def archive(arrays: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def survives(data: bytes) -> None:
    """The bytes are refused in one sentence, or all that can be done with a trace can be done."""
    try:
        trace = unpack(data)
    except TraceError as error:
        assert str(error).startswith("The trace") and str(error).endswith(".")
        return
    for frame in frames(trace, View(30)):
        assert not any("\x1b" in span.text or "\x9b" in span.text for row in frame.screen for span in row)
    for name in ("svg", "anim", "html"):
        text = FORMATS[name].export(trace, Options(View(30))).decode()
        assert "\x1b" not in text and "\x9b" not in text and "<img" not in text
    for line in FORMATS["cast"].export(trace, Options(View(30))).decode().splitlines()[1:]:
        assert "\x1b" not in _OURS.sub("", json.loads(line)[2])
    out = Pipe()
    play(trace, load({}, {}), out)
    out.seek(0)
    assert "\x1b" not in out.read()


def damaged(damage: list[tuple[float, int]]) -> bytes:
    data = bytearray(_BYTES)
    for where, value in damage:
        data[int(where * len(data))] = value
    return bytes(data)


def changed(array: NDArray[Any], draw: st.DataObject) -> Any:
    """Another array in the place of this one."""
    how = draw.draw(st.sampled_from(("bytes", "kind", "shape", "cut", "number", "more")))
    if how == "bytes":
        data = bytearray(array.tobytes())
        for where, value in draw.draw(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8)):
            if data:
                data[int(where * len(data))] = value
        return np.frombuffer(bytes(data), array.dtype).reshape(array.shape)
    if how == "kind":
        with np.errstate(all="ignore"):
            return array.astype(draw.draw(st.sampled_from(_KINDS)))
    if how == "shape":
        return draw.draw(st.sampled_from((array.ravel(), array[None], array.T, np.asfortranarray(array))))
    if how == "cut":
        return array.ravel()[: draw.draw(st.integers(0, array.size))]
    if how == "more":
        return np.concatenate([np.atleast_1d(array)] * draw.draw(st.integers(2, 9)))
    extreme = draw.draw(st.sampled_from((0, -1, 1, 255, 2**31 - 1, -(2**31), 2**63 - 1, float("nan"), float("inf"))))
    with np.errstate(all="ignore"):
        return np.full_like(array, np.array(extreme).astype(array.dtype))


def mutated(draw: st.DataObject) -> bytes:
    arrays: dict[str, Any] = dict(_ARRAYS)
    for name in draw.draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=3, unique=True)):
        if draw.draw(st.integers(0, 9)):
            arrays[name] = changed(_ARRAYS[name], draw)
        else:
            del arrays[name]
    return archive(arrays)


_DAMAGE = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


def test_the_trace_itself_survives() -> None:
    survives(_BYTES)


@given(_DAMAGE)
def test_damaged_bytes(damage: list[tuple[float, int]]) -> None:
    survives(damaged(damage))


@given(st.data())
def test_arrays_that_are_not_as_they_should_be(draw: st.DataObject) -> None:
    survives(mutated(draw))


@pytest.mark.soak
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(_DAMAGE)
def test_damaged_bytes_at_length(damage: list[tuple[float, int]]) -> None:
    survives(damaged(damage))


@pytest.mark.soak
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_arrays_that_are_not_as_they_should_be_at_length(draw: st.DataObject) -> None:
    survives(mutated(draw))


def plain_header(shape: str, kind: str = "<i4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def entry(data: bytes, name: str = "0.drafts.npy", how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as made:
        made.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (entry(bytes(300 * 2**20)), "more than 256 MiB"),
        (entry(bytes(9), how=zipfile.ZIP_BZIP2), "a way of its own"),
        (entry(bytes(9), how=zipfile.ZIP_LZMA), "a way of its own"),
        (entry(plain_header("(9999999999,)")), "size is not what it claims"),
        (entry(plain_header("(-3,)")), "something else than numbers"),
        (entry(plain_header("(3,)", "|O")), "something else than numbers"),
        (entry(plain_header("__import__('os').abort()")), "something else than numbers"),
        (entry(plain_header("(" * 4000)), "something else than numbers"),
        (entry(b"\x93NUMPY\x01\x00\xff"), "no array"),
        (entry(b"\x93NUMPY\x09\x00\xff\xff\xff\xff\xff"), "no array"),
        (entry(b""), "no array"),
        (b"", "damaged"),
        (b"PK\x05\x06" + bytes(18), "damaged"),
    ],
)
def test_bombs_and_lies(data: bytes, said: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match=said):
            unpack(data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 4 * 2**20
    finally:
        tracemalloc.stop()


def test_an_entry_that_says_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its true size is in neither header: no more than the claim is ever unpacked."""
    whole = bytearray(entry(bytes(50 * 2**20)))
    for place in (whole.find(b"PK\x01\x02") + 24, whole.find(b"PK\x03\x04") + 22):
        whole[place : place + 4] = (100).to_bytes(4, "little")
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match="damaged"):
            unpack(bytes(whole))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_too_many_entries_and_too_large_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TraceError, match=r"arrays\."):
        monkeypatch.setattr("dgchat.trace.archive.MOST_ENTRIES", 5)
        unpack(_BYTES)
    with pytest.raises(TraceError, match="larger than"):
        monkeypatch.setattr("dgchat.trace.archive.MOST_FILE_BYTES", 5)
        unpack(_BYTES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"0.times": np.full((2, 4), np.nan, np.float32)}, "make no sense"),
        ({"0.times": np.full((2, 4), -1, np.float32)}, "make no sense"),
        ({"0.tokens": np.zeros(25, np.int32)}, "make no sense"),
        ({"0.about": np.array([9, 24, 1])}, "out of order"),
        ({"0.about": np.array([0, 24, 1])}, "claims a block 0"),
        ({"spelling.ends": np.full(len(_ARRAYS["spelling.ends"]), 600)}, "longer than any|differ in number"),
        ({"blocks": np.array(limits.MOST_BLOCKS + 1)}, "claims"),
        ({"0.top_ids": np.zeros((4, 24, 65), np.int32), "0.top_codes": np.zeros((4, 24, 65), np.uint8)}, "candidates"),
        ({"0.times": np.zeros((2, limits.MOST_STEPS + 1), np.float32)}, "more steps"),
        ({"about": np.frombuffer(b"[" * 200_000, np.uint8)}, "makes no sense"),
        ({"about": np.frombuffer(b"9" * 200_000, np.uint8)}, "damaged|say"),
    ],
)
def test_claims_that_cannot_be(changes: dict[str, NDArray[Any]], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        unpack(archive({**_ARRAYS, **changes}))


def test_tokens_spelled_at_length_are_no_way_to_hang_it() -> None:
    began = time.monotonic()
    length, steps = 1 << 13, 200
    packed = length // 8
    arrays = {
        **_ARRAYS, "blocks": np.array(1), "0.about": np.array([1, length, 1]),
        "0.times": np.zeros((2, steps), np.float32), "0.drafts": np.zeros((steps, length), np.int32),
        "0.entropy": np.zeros((steps, length), np.uint8), "0.accepted": np.zeros((steps, packed), np.uint8),
        "0.pinned": np.zeros((steps, packed), np.uint8), "0.tokens": np.zeros(length, np.int32),
        "spelling.ids": np.array([0], np.int32), "spelling.ends": np.array([512]),
        "spelling.bytes": np.frombuffer(b"\n" * 512, np.uint8),
    }  # fmt: skip
    del arrays["0.top_ids"], arrays["0.top_codes"]
    with pytest.raises(TraceError, match="more text"):
        unpack(archive(arrays))
    assert time.monotonic() - began < 60
