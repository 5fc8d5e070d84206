"""The files of a model directory are mapped into memory, and not read into it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dgengine.tensor_files import TensorFiles


def mapped_file(address: int) -> str:
    """The file that a mapping of this process shows at an address; empty for memory of its own."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, _, _, _, inode, *path = line.split(maxsplit=5)
        first, last = (int(end, 16) for end in place.split("-"))
        if first <= address < last:
            return path[0] if inode != "0" else ""
    return ""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_tensors_lie_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"small": torch.arange(6.0), "large": torch.arange(300_000).to(torch.bfloat16)}, file)
    assert mapped_file(torch.ones(9).data_ptr()) == ""
    with ExitStack() as stack:
        files = TensorFiles([file], stack)
        for name in ("small", "large"):
            tensor = files.raw(name)
            assert mapped_file(tensor.data_ptr()) == str(file)
            assert tensor[5] == 5
