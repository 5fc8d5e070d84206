"""Traces as bytes: an npz archive of arrays, which no code can hide in. What is read is checked before it is used."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dgchat.canvas.marks import THINKING
from dgchat.trace.archive import TraceError, read_arrays
from dgchat.trace.limits import (
    MOST_ABOUT,
    MOST_BLOCKS,
    MOST_CANDIDATES,
    MOST_CELLS,
    MOST_LENGTH,
    MOST_SETTLED,
    MOST_SPELLED,
    MOST_STEPS,
    MOST_TEXT,
    MOST_TOKENS,
)
from dgchat.trace.steps import About, BlockTrace, StepTrace

__all__ = ["VERSION", "TraceError", "pack", "unpack"]

VERSION: Final = 1
# Array, its type, and its dimensions after the first: of the canvas (C), of packed bits (B), of candidates (C, K).
_PLANES: Final = (
    ("drafts", np.int32, "C"),
    ("entropy", np.uint8, "C"),
    ("accepted", np.uint8, "B"),
    ("pinned", np.uint8, "B"),
)
_ROW_BYTES: Final = 16
_CANDIDATES: Final = (("top_ids", np.int32), ("top_codes", np.uint8))


def pack(trace: StepTrace) -> bytes:
    """The trace as an npz archive, compressed."""
    arrays: dict[str, NDArray[Any]] = {
        "version": np.array(VERSION),
        "blocks": np.array(len(trace.blocks)),
        "about": _bytes(_about_json(trace.about)),
        **_spelling_arrays(trace.spelling),
    }
    for place, block in enumerate(trace.blocks):
        arrays[f"{place}.about"] = np.array([block.number, block.length, block.converged], np.int64)
        arrays[f"{place}.tokens"] = block.tokens
        arrays[f"{place}.times"] = np.array([block.temperatures, block.seconds], np.float32)
        for name, kind, dimension in _PLANES:
            width = block.length if dimension == "C" else -(-block.length // 8)
            plane = _stack(getattr(block, name), kind, width)
            # From step to step little changes, and zeros compress well.
            arrays[f"{place}.{name}"] = np.diff(plane, axis=0, prepend=0).astype(kind) if name == "drafts" else plane
        if block.top_ids:
            for name, kind in _CANDIDATES:
                arrays[f"{place}.{name}"] = np.stack(getattr(block, name)).astype(kind)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _about_json(about: About) -> bytes:
    table = {**asdict(about), "ends": sorted(about.ends)}
    if about.marks is None:  # so that versions before thoughts can read it
        del table["marks"], table["thinking"]
    return json.dumps(table).encode()


def _spelling_arrays(spelled: dict[int, bytes]) -> dict[str, NDArray[Any]]:
    """Ids, their bytes in one row, and where those of each id end in it."""
    return {
        "spelling.ids": np.array(list(spelled), np.int32),
        "spelling.ends": np.cumsum([len(token) for token in spelled.values()], dtype=np.int64),
        "spelling.bytes": _bytes(b"".join(spelled.values())),
    }


def _stack(rows: list[NDArray[Any]], kind: type[Any], width: int) -> NDArray[Any]:
    return np.stack(rows).astype(kind) if rows else np.empty((0, width), kind)


def unpack(data: bytes) -> StepTrace:
    """The trace that `pack` made. Whatever is damaged or made up, the trace can be shown, or is refused here.

    Raises:
        TraceError: it is none, is damaged, is larger than the limits here, or comes from a newer version.
    """
    try:
        return _read(read_arrays(data))
    except (ValueError, KeyError, OverflowError) as error:
        raise TraceError(f"The trace is damaged: {error}.") from error
    except (RecursionError, TypeError) as error:
        raise TraceError("The trace is damaged: it holds what makes no sense.") from error


def _read(arrays: dict[str, NDArray[Any]]) -> StepTrace:
    version = int(_checked(arrays, "version", np.integer, ()))
    if version != VERSION:
        raise TraceError(f"The trace is of version {version}; this dgchat reads version {VERSION}.")
    count = int(_checked(arrays, "blocks", np.integer, ()))
    if not 0 <= count <= MOST_BLOCKS:
        raise TraceError(f"The trace claims {count} blocks.")
    _check_amount(arrays, count)
    blocks = [_block(arrays, place) for place in range(count)]
    if any(before.number >= block.number for before, block in pairwise(blocks)):
        raise TraceError("The trace's blocks are out of order.")
    if len({block.length for block in blocks}) > 1:
        raise TraceError("The trace's canvases differ in length.")
    trace = StepTrace(blocks, _read_about(arrays), _read_spelling(arrays))
    _check_text(trace)
    return trace


def _check_amount(arrays: dict[str, NDArray[Any]], count: int) -> None:
    """Refuses more steps than can be shown, before there is a row for each."""
    lengths = [int(_checked(arrays, f"{place}.about", np.int64, (3,))[1]) for place in range(count)]
    steps = [_checked(arrays, f"{place}.times", np.float32, (2, None)).shape[1] for place in range(count)]
    cells = sum(length * number for length, number in zip(lengths, steps, strict=True))
    if sum(steps) > MOST_STEPS or cells > MOST_CELLS:
        raise TraceError("The trace is of more steps than can be shown.")


def _check_text(trace: StepTrace) -> None:
    """Refuses more text than can be shown: a few tokens that are spelled at length would be enough for it."""
    drawn_as = {**trace.spelling, **dict.fromkeys(trace.about.marks or (), THINKING.encode())}
    ids = np.array(sorted(drawn_as), np.int64)
    sizes = np.array([_weight(drawn_as[id_]) for id_ in ids.tolist()], np.int64)

    def size(drawn: NDArray[np.int32]) -> int:
        places = np.minimum(np.searchsorted(ids, drawn), len(ids) - 1)
        return int(sizes[places][ids[places] == drawn].sum()) if len(ids) else 0

    shown = settled = line = 0
    for block in trace.blocks:
        shown += sum(map(size, block.drafts)) + len(block) * line
        settled += size(block.tokens)
        if shown > MOST_TEXT or settled > MOST_SETTLED:
            raise TraceError("The trace is of more text than can be shown.")
        text = b"".join(trace.spelling.get(id_, b"") for id_ in block.tokens.tolist())
        line = len(text.rpartition(b"\n")[2]) + (line if b"\n" not in text else 0)


def _weight(token: bytes) -> int:
    """Its bytes; what begins a row or moves to a column takes as long to lay out as many of them."""
    return len(token) + _ROW_BYTES * (token.count(b"\n") + token.count(b"\t"))


def _read_about(arrays: dict[str, NDArray[Any]]) -> About:
    data = _checked(arrays, "about", np.uint8, (None,))
    if len(data) > MOST_ABOUT:
        raise TraceError("The trace says more of itself than it may.")
    table = json.loads(data.tobytes())
    kinds = {"model": str, "prompt": str, "seed": int | None, "ends": list, "steered": bool}
    if isinstance(table, dict) and "marks" in table:
        kinds |= {"marks": list, "thinking": bool}
    if not isinstance(table, dict) or table.keys() != kinds.keys():
        raise TraceError("The trace does not say what it is of.")
    if not all(isinstance(table[name], kind) for name, kind in kinds.items()):
        raise TraceError("The trace says of itself what makes no sense.")
    if not all(isinstance(id_, int) for id_ in table["ends"]):
        raise TraceError("The trace's ends are no tokens.")
    marks = table.get("marks")
    if marks is not None and not (len(marks) == 2 and all(isinstance(id_, int) for id_ in marks)):
        raise TraceError("The trace's marks around thoughts are no tokens.")
    return About(**{**table, "ends": frozenset(table["ends"]), "marks": marks and (marks[0], marks[1])})


def _read_spelling(arrays: dict[str, NDArray[Any]]) -> dict[int, bytes]:
    ids = _checked(arrays, "spelling.ids", np.int32, (None,)).tolist()
    ends = _checked(arrays, "spelling.ends", np.int64, (None,)).tolist()
    data = _checked(arrays, "spelling.bytes", np.uint8, (None,)).tobytes()
    starts = [0, *ends[:-1]] if ends else []
    bounds_fit = all(0 <= start <= end <= len(data) for start, end in zip(starts, ends, strict=True))
    if len(ids) != len(ends) or len(ids) > MOST_TOKENS or not bounds_fit:
        raise TraceError("The trace's tokens and their text differ in number.")
    if any(end - start > MOST_SPELLED for start, end in zip(starts, ends, strict=True)):
        raise TraceError("The trace spells a token longer than any is.")
    return {id_: data[start:end] for id_, start, end in zip(ids, starts, ends, strict=True)}


def _block(arrays: dict[str, NDArray[Any]], place: int) -> BlockTrace:
    number, length, converged = _checked(arrays, f"{place}.about", np.int64, (3,)).tolist()
    if not 1 <= length <= MOST_LENGTH or number < 1:
        raise TraceError(f"The trace claims a block {number} with a canvas of {length} tokens.")
    times = _checked(arrays, f"{place}.times", np.float32, (2, None))
    steps = times.shape[1]
    tokens = _checked(arrays, f"{place}.tokens", np.int32, (None,))
    if len(tokens) > length or not np.isfinite(times).all() or times.min(initial=0) < 0:
        raise TraceError("The trace's times or tokens make no sense.")
    block = BlockTrace(number, length, tokens, bool(converged))
    block.temperatures, block.seconds = times[0].tolist(), times[1].tolist()
    for name, kind, dimension in _PLANES:
        width = length if dimension == "C" else -(-length // 8)
        plane = _checked(arrays, f"{place}.{name}", kind, (steps, width))
        setattr(block, name, list(np.cumsum(plane, axis=0, dtype=kind) if name == "drafts" else plane))
    if f"{place}.top_ids" in arrays:
        shape = (steps, length, None)
        ids, codes = (_checked(arrays, f"{place}.{name}", kind, shape) for name, kind in _CANDIDATES)
        if ids.shape[2] > MOST_CANDIDATES:
            raise TraceError(f"The trace claims {ids.shape[2]} candidates for each token.")
        if ids.shape != codes.shape:
            raise TraceError("The trace's candidates and their probabilities differ in number.")
        block.top_ids, block.top_codes = list(ids), list(codes)
    return block


def _checked(
    arrays: dict[str, NDArray[Any]], name: str, kind: type[Any], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """The array, of this type and shape; None in the shape is any length."""
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or not np.issubdtype(array.dtype, kind):
        raise TraceError(f"The trace's array {name} has type {array.dtype} and shape {array.shape}.")
    return array
