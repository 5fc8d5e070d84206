"""Traces as bytes: an npz archive of arrays, which no code can hide in. What is read is checked before it is used."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dgchat.trace.steps import BlockTrace, StepTrace

VERSION: Final = 1
MOST_BYTES: Final = 256 * 2**20  # of all arrays together, unpacked
_MOST_BLOCKS = 4096
# Array, its type, and its dimensions after the first: of the canvas (C), of packed bits (B), of candidates (C, K).
_PLANES: Final = (
    ("drafts", np.int32, "C"),
    ("entropy", np.uint8, "C"),
    ("accepted", np.uint8, "B"),
    ("pinned", np.uint8, "B"),
)
_CANDIDATES: Final = (("top_ids", np.int32), ("top_codes", np.uint8))


class TraceError(Exception):
    """The bytes are no trace, or a damaged one; the text is one sentence."""


def pack(trace: StepTrace) -> bytes:
    """The trace as an npz archive, compressed."""
    arrays: dict[str, NDArray[Any]] = {"version": np.array(VERSION), "blocks": np.array(len(trace.blocks))}
    for place, block in enumerate(trace.blocks):
        arrays[f"{place}.about"] = np.array([block.number, block.length, block.converged], np.int64)
        arrays[f"{place}.tokens"] = block.tokens
        arrays[f"{place}.times"] = np.array([block.temperatures, block.seconds], np.float32)
        for name, kind, dimension in _PLANES:
            width = block.length if dimension == "C" else -(-block.length // 8)
            arrays[f"{place}.{name}"] = _stack(getattr(block, name), kind, width)
        if block.top_ids:
            for name, kind in _CANDIDATES:
                arrays[f"{place}.{name}"] = np.stack(getattr(block, name)).astype(kind)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def _stack(rows: list[NDArray[Any]], kind: type[Any], width: int) -> NDArray[Any]:
    return np.stack(rows).astype(kind) if rows else np.empty((0, width), kind)


def unpack(data: bytes) -> StepTrace:
    """The trace that `pack` made.

    Raises:
        TraceError: it is none, is damaged, unpacks to more than `MOST_BYTES`, or comes from a newer version.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise TraceError(f"The trace unpacks to more than {MOST_BYTES >> 20} MiB.")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _read(dict(arrays))
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, OSError, EOFError, NotImplementedError) as error:
        raise TraceError(f"The trace is damaged: {error}.") from error
    except (RuntimeError, TypeError, AttributeError) as error:  # an encrypted entry; an entry that is no array
        raise TraceError("The trace is damaged: it holds what is no array.") from error


def _read(arrays: dict[str, NDArray[Any]]) -> StepTrace:
    version = int(_checked(arrays, "version", np.integer, ()))
    if version != VERSION:
        raise TraceError(f"The trace is of version {version}; this dgchat reads version {VERSION}.")
    count = int(_checked(arrays, "blocks", np.integer, ()))
    if not 0 <= count <= _MOST_BLOCKS:
        raise TraceError(f"The trace claims {count} blocks.")
    return StepTrace([_block(arrays, place) for place in range(count)])


def _block(arrays: dict[str, NDArray[Any]], place: int) -> BlockTrace:
    number, length, converged = _checked(arrays, f"{place}.about", np.int64, (3,)).tolist()
    if not 1 <= length <= 1 << 20:
        raise TraceError(f"The trace claims a canvas of {length} tokens.")
    times = _checked(arrays, f"{place}.times", np.float32, (2, None))
    steps = times.shape[1]
    block = BlockTrace(number, length, _checked(arrays, f"{place}.tokens", np.int32, (None,)), bool(converged))
    block.temperatures, block.seconds = times[0].tolist(), times[1].tolist()
    for name, kind, dimension in _PLANES:
        width = length if dimension == "C" else -(-length // 8)
        setattr(block, name, list(_checked(arrays, f"{place}.{name}", kind, (steps, width))))
    if f"{place}.top_ids" in arrays:
        shape = (steps, length, None)
        ids, codes = (_checked(arrays, f"{place}.{name}", kind, shape) for name, kind in _CANDIDATES)
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
