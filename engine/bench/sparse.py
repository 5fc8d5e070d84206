"""A safetensors file that takes up its whole length and next to nothing on the disk."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from dgengine.tensor_files import Shape
from dgengine.tensor_writer import tensor_bytes

# A loader refuses scales that are all zero, or zero where a tensor has one: a block scale of 1 in E4M3, the first of
# its tensor; a global scale of 0.01.
_BLOCK_SCALE = b"\x38"
_SCALE = struct.pack("<f", 0.01)


def write_sparse(path: Path, forms: Mapping[str, tuple[Shape, str]]) -> None:
    """Writes the header and the scales of these tensors; all else are holes, which read as zeros.

    Args:
        forms: shape and safetensors dtype by name.

    Raises:
        FileExistsError: the file is there.
    """
    begins: dict[str, int] = {}
    entries: dict[str, object] = {}
    end = 0
    for name in sorted(forms, key=lambda name: (forms[name][1] != "F32", name)):  # float32 lie at multiples of four
        shape, dtype = forms[name]
        begins[name], end = end, end + tensor_bytes(shape, dtype)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begins[name], end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        first = file.tell()
        file.truncate(first + end)
        for name, scale in _scales(forms):
            file.seek(first + begins[name])
            file.write(scale)


def _scales(forms: Mapping[str, tuple[Shape, str]]) -> list[tuple[str, bytes]]:
    of = {"F32": _SCALE, "F8_E4M3": _BLOCK_SCALE}
    return [(name, of[dtype]) for name, (_, dtype) in forms.items() if dtype in of]
