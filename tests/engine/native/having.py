"""Whether the C library can be had here."""

from __future__ import annotations

import platform
import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not (shutil.which("cc") or shutil.which("gcc")),
    reason="needs a C compiler, on Linux on x86-64",
)
