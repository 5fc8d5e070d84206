"""Whether the C library can be had here."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from dgengine.native.compiling import COMPILERS

needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not any(map(shutil.which, COMPILERS)),
    reason="needs a C compiler, on Linux on x86-64",
)

_PROCESSOR = Path("/proc/cpuinfo")
HAS_BF16 = _PROCESSOR.exists() and "avx512_bf16" in _PROCESSOR.read_text()
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="needs a processor with products of bfloat16")
