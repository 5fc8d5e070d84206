"""Writes a safetensors file one tensor at a time, so that no more than one needs to be in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from dgengine.errors import CheckpointError
from dgengine.tensor_files import Shape

# Bytes of a number, by the format's names of dtypes; with torch's dtypes.
_DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_ALIGNMENT = 8


def tensor_bytes(shape: Shape, dtype: str) -> int:
    """Bytes that a tensor takes in a file.

    Raises:
        CheckpointError: no such dtype.
    """
    return torch.Size(shape).numel() * _itemsize(dtype)


def _itemsize(dtype: str) -> int:
    if dtype not in _DTYPES:
        raise CheckpointError(f"Tensors stored as {dtype} are not written.")
    return _DTYPES[dtype].itemsize


class TensorWriter:
    """A new file whose tensors are known by name, shape and dtype before any of them is there.

    Used as a context; leaving it without an error makes sure that the bytes are on the disk.
    """

    def __init__(self, path: Path, tensors: Mapping[str, tuple[Shape, str]]) -> None:
        """Makes the file, with its header and in its whole length.

        Raises:
            OSError: it cannot be written, or is there already.
            CheckpointError: no tensors of a dtype are written.
        """
        header, self._offsets = _header(tensors)
        self._tensors = tensors
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
        self._missing = set(tensors)
        end = len(header) + sum(tensor_bytes(*form) for form in tensors.values())
        os.truncate(self._file, end)
        self._write_at(0, memoryview(header))

    def write(self, name: str, tensor: Tensor) -> None:
        """Puts a tensor in its place, once.

        Raises:
            ValueError: its shape or dtype is not what was announced, or it is there already.
            OSError: no room.
        """
        shape, dtype = self._tensors[name]
        if name not in self._missing or tuple(tensor.shape) != tuple(shape) or tensor.dtype != _DTYPES[dtype]:
            raise ValueError(f"{name} was to be {list(shape)} {dtype}, once, not {list(tensor.shape)} {tensor.dtype}")
        self._missing.remove(name)
        numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        self._write_at(self._offsets[name], numbers.data)

    def _write_at(self, offset: int, data: memoryview) -> None:
        os.lseek(self._file, offset, os.SEEK_SET)
        while data:  # one call may take only a part
            data = data[os.write(self._file, data) :]

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                if self._missing:
                    raise ValueError(
                        f"{len(self._missing)} tensors were never written, {min(self._missing)} among them"
                    )
                os.fsync(self._file)
        finally:
            os.close(self._file)


def _header(tensors: Mapping[str, tuple[Shape, str]]) -> tuple[bytes, dict[str, int]]:
    """The header with the length before it, and where in the file each tensor begins.

    Wider numbers come first, so that every tensor lies at a multiple of the size of its numbers.
    """
    order = sorted(tensors, key=lambda name: (-_itemsize(tensors[name][1]), name))
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begins: dict[str, int] = {}
    end = 0
    for name in order:
        shape, dtype = tensors[name]
        begins[name], end = end, end + tensor_bytes(shape, dtype)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begins[name], end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    return header, {name: begin + len(header) for name, begin in begins.items()}
