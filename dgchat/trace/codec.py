"""Traces as bytes: an npz archive of arrays, which no code can hide in. What is read is checked before it is used."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dgchat.trace.steps import About, BlockTrace, StepTrace

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
_MOST_TOKENS = 1 << 20
_MOST_ABOUT = 1 << 20  # bytes of what the trace says of itself


class TraceError(Exception):
    """The bytes are no trace, or a damaged one; the text is one sentence."""


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
    return json.dumps({**asdict(about), "ends": sorted(about.ends)}).encode()


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
    return StepTrace([_block(arrays, place) for place in range(count)], _read_about(arrays), _read_spelling(arrays))


def _read_about(arrays: dict[str, NDArray[Any]]) -> About:
    data = _checked(arrays, "about", np.uint8, (None,))
    if len(data) > _MOST_ABOUT:
        raise TraceError("The trace says more of itself than it may.")
    table = json.loads(data.tobytes())
    kinds = {"model": str, "prompt": str, "seed": int | None, "ends": list, "steered": bool}
    if not isinstance(table, dict) or table.keys() != kinds.keys():
        raise TraceError("The trace does not say what it is of.")
    if not all(isinstance(table[name], kind) for name, kind in kinds.items()):
        raise TraceError("The trace says of itself what makes no sense.")
    if not all(isinstance(id_, int) for id_ in table["ends"]):
        raise TraceError("The trace's ends are no tokens.")
    return About(**{**table, "ends": frozenset(table["ends"])})


def _read_spelling(arrays: dict[str, NDArray[Any]]) -> dict[int, bytes]:
    ids = _checked(arrays, "spelling.ids", np.int32, (None,)).tolist()
    ends = _checked(arrays, "spelling.ends", np.int64, (None,)).tolist()
    data = _checked(arrays, "spelling.bytes", np.uint8, (None,)).tobytes()
    starts = [0, *ends[:-1]] if ends else []
    bounds_fit = all(0 <= start <= end <= len(data) for start, end in zip(starts, ends, strict=True))
    if len(ids) != len(ends) or len(ids) > _MOST_TOKENS or not bounds_fit:
        raise TraceError("The trace's tokens and their text differ in number.")
    return {id_: data[start:end] for id_, start, end in zip(ids, starts, ends, strict=True)}


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
        plane = _checked(arrays, f"{place}.{name}", kind, (steps, width))
        setattr(block, name, list(np.cumsum(plane, axis=0, dtype=kind) if name == "drafts" else plane))
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
