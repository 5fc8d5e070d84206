"""What this machine has, and which model it can run. Imports no torch: the first screen must not wait for it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from dgchat.sanitize import clean_line

GIB: Final = 2**30
FULL_BYTES: Final = 52_000_000_000  # the full model in bfloat16
QUANTISED_BYTES: Final = 18_000_000_000  # with its experts in 4 bits
_PATIENCE = 5.0  # seconds for nvidia-smi


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU."""

    name: str
    memory: int  # bytes


@dataclass(frozen=True)
class Hardware:
    """What was found; `memory` in bytes, 0 where the platform does not tell."""

    system: str
    processor: str
    cores: int
    memory: int
    gpus: tuple[Gpu, ...]


def find() -> Hardware:
    """Looks at the machine. Takes a moment where there is an NVIDIA driver."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    return Hardware(system, platform.machine(), _cores(), _memory(), tuple(_gpus()))


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # what the container lets us use
    except AttributeError:
        return os.cpu_count() or 1


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return 0


def _gpus() -> list[Gpu]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):  # a driver that does not answer: no GPU to use
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """The lines of nvidia-smi, `name, MiB`; lines of another form are left out."""
    found = []
    for line in text.splitlines():
        name, _, mebibytes = line.rpartition(",")
        if name.strip() and mebibytes.strip().isdigit():
            found.append(Gpu(clean_line(name).strip(), int(mebibytes) * 2**20))
    return found


def advice(hardware: Hardware) -> str:
    """What this machine can run, in a sentence."""
    largest = max((gpu.memory for gpu in hardware.gpus), default=0)
    if largest > FULL_BYTES * 1.1:
        return "This GPU can run the full model as it is (52 GB in bfloat16)."
    if largest > QUANTISED_BYTES:
        return (
            "This GPU has room for the full model quantised to 4 bits (about 18 GB), which this version cannot load "
            "yet; the model as it is takes 52 GB."
        )
    if largest:
        return "This GPU is too small for the full model, which takes 18 GB even in 4 bits; pocket runs well."
    if hardware.memory > FULL_BYTES * 1.3:
        return "Without an NVIDIA GPU the full model (52 GB) would run on the processor, slowly; pocket runs well."
    return "Without an NVIDIA GPU the full model would be far too slow; pocket runs well on the processor."


def lines(hardware: Hardware) -> list[str]:
    """What was found, for people."""
    memory = f", {hardware.memory / GIB:.0f} GiB of memory" if hardware.memory else ""
    gpus = [f"{gpu.name}, {gpu.memory / GIB:.0f} GiB" for gpu in hardware.gpus] or ["no NVIDIA GPU found"]
    return [f"{hardware.system}, {hardware.processor}, {hardware.cores} cores{memory}", *gpus]
