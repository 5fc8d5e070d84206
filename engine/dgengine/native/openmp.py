"""The OpenMP that torch has loaded, whose threads work for the C library too."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import torch

_NAME: Final = re.compile(r"lib[gi]?omp.*\.so")  # GNU's, Intel's, LLVM's


class OpenMP(NamedTuple):
    """Addresses of functions.

    Attributes:
        parallel: GOMP_parallel, which the OpenMPs of GNU, Intel and LLVM have.
        size: omp_get_num_threads.
    """

    parallel: int
    size: int


@cache
def openmp() -> OpenMP | None:
    """Torch's; None where it has another, or none."""
    for path in _loaded():
        try:
            library = ctypes.CDLL(path)
            entries = (library.GOMP_parallel, library.omp_get_num_threads)
        except (OSError, AttributeError):  # another file lies there by now, or it is another OpenMP
            continue
        addresses = [ctypes.cast(entry, ctypes.c_void_p).value for entry in entries]
        if addresses[0] and addresses[1]:
            return OpenMP(addresses[0], addresses[1])
    return None


def _loaded() -> list[str]:
    """The OpenMPs among this process's libraries: if there are several, only those that came with torch."""
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    paths = [fields[5] for line in maps if len(fields := line.split(maxsplit=5)) == 6]
    found = [path for path in dict.fromkeys(paths) if _NAME.match(Path(path).name)]
    folder = str(Path(torch.__file__).parent)
    own = [path for path in found if path.startswith((f"{folder}/", f"{folder}.libs/"))]
    return own or (found if len(found) == 1 else [])
