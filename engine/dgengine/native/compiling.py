"""Builds the C sources beside this module, once for each processor and compiler, and loads what came of it.

The library lies in the user's cache, under a name that follows from the sources, the compiler and what it makes of this
processor, so that a home that several machines share holds one for each.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs

from dgengine.errors import described
from dgengine.native.structures import SIZES, Model, Pass, Statistics

SWITCH: Final = "DGENGINE_NATIVE"
"""The environment variable that turns all of this off when it is 0."""

COMPILERS: Final = ("cc", "gcc", "clang")
"""C compilers, the first of which that is there is taken where CC names none."""

_SOURCES: Final = ("canvas.c", "products.h", "team.h", "vectors.h")
_OPTIONS: Final = ("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC")
_SECONDS: Final = 60
_DIGITS: Final = 24
_MACHINES: Final = ("x86_64", "AMD64")


@cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or None; and then why not, in a few words."""
    if os.environ.get(SWITCH) == "0":
        return None, f"{SWITCH} is 0"
    if platform.system() != "Linux" or platform.machine() not in _MACHINES:
        return None, "it is for Linux on x86-64"
    compiler = (
        shlex.split(os.environ.get("CC", "")) or [found for name in COMPILERS if (found := shutil.which(name))][:1]
    )
    if not compiler:
        return None, "there is no C compiler"
    try:
        return _declared(ctypes.CDLL(str(_built(compiler)))), None
    except subprocess.CalledProcessError as failure:
        complaint = failure.stderr.decode(errors="replace").strip().splitlines()
        return None, f"{compiler[0]} does not compile it ({complaint[0] if complaint else failure.returncode})"
    except (OSError, subprocess.SubprocessError, AttributeError) as failure:
        return None, f"it cannot be built ({described(failure)})"


def has_bf16(compiled: ctypes.CDLL) -> bool:
    """Whether it multiplies in bfloat16, which takes a processor that does."""
    return bool(compiled.dg_has_bf16())


def _built(compiler: Sequence[str]) -> Path:
    """Where the library lies, which is built unless it has been.

    Its name ends with a hash of what is in it: a file that a crash of the system has cut off would end the process.
    """
    here = Path(__file__).parent
    key = hashlib.sha256(_understood(compiler) + " ".join(_OPTIONS).encode())
    for name in _SOURCES:
        key.update((here / name).read_bytes())
    folder = _own_folder()
    name = f"canvas-{key.hexdigest()[:_DIGITS]}"
    for found in folder.glob(f"{name}-*.so"):
        if found.name == f"{name}-{_hash_of(found)}.so":
            return found
        found.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        output = Path(scratch) / f"{name}.so"
        _run(*compiler, *_OPTIONS, "-shared", str(here / _SOURCES[0]), "-o", str(output), "-lm")
        target = folder / f"{name}-{_hash_of(output)}.so"
        output.replace(target)  # whole or not at all: another process may be at it too
    return target


def _own_folder() -> Path:
    """Where libraries are kept. What lies there is run: nobody else may write to it.

    Raises:
        OSError: it cannot be made, or somebody else may.
    """
    folder = platformdirs.user_cache_path("dgchat") / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(f"others can write to {folder}")
    return folder


def _hash_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]


def _understood(compiler: Sequence[str]) -> bytes:
    """What a compiler says of itself and of this processor: everything that it predefines."""
    return _run(*compiler, *_OPTIONS, "-dM", "-E", "-x", "c", os.devnull)


def _run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS, stdin=subprocess.DEVNULL).stdout


def _declared(compiled: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.POINTER, ctypes.c_long
    for name, arguments, result in (
        ("dg_has_bf16", [], ctypes.c_int),
        ("dg_sizes", [number * len(SIZES)], None),
        ("dg_scratch", [pointer(Model), number, number, number], number),
        ("dg_pass", [pointer(Pass)], ctypes.c_int),
        ("dg_look", [pointer(Statistics)], ctypes.c_int),
    ):
        function = getattr(compiled, name)
        function.argtypes, function.restype = arguments, result
    sizes = (number * len(SIZES))()
    compiled.dg_sizes(sizes)
    if tuple(sizes) != SIZES:
        raise OSError(f"its structures have {list(sizes)} bytes and not {list(SIZES)}")
    return compiled
