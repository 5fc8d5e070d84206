"""What NVIDIA's driver says, and whether a GPU is there that no driver speaks for. Imports no torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dgchat.sanitize import clean_line

_PATIENCE = 5.0  # seconds for nvidia-smi
_PCI: Final = Path("/sys/bus/pci/devices")
_VENDOR = "0x10de"
_DISPLAY = "0x03"  # the PCI classes of VGA and 3D controllers begin so
# The second for drivers that do not know the first one's last words.
_QUERIES = (
    ("name", "memory.total", "memory.free", "driver_version", "compute_cap"),
    ("name", "memory.total", "memory.free", "driver_version"),
)


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        name: the maker's.
        memory: bytes; 0 where the driver does not tell.
        free: bytes that no program uses; as `memory`.
        capability: compute capability as (9, 0); None where the driver does not tell.
        driver: its version; "" where that is not known.
    """

    name: str
    memory: int
    free: int = 0
    capability: tuple[int, int] | None = None
    driver: str = ""


@dataclass(frozen=True)
class Nvidia:
    """What was found.

    Attributes:
        gpus: those that the driver knows.
        problem: why the driver does not answer; None where it does, or where there is none.
        silent: GPUs on the bus, where no driver speaks for them.
    """

    gpus: tuple[Gpu, ...] = ()
    problem: str | None = None
    silent: int = 0


def find(bus: Path = _PCI) -> Nvidia:
    """Asks the driver; looks at the PCI bus where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Nvidia(silent=_on_bus(bus))
    problem = None
    for query in _QUERIES:
        try:
            text = _asked(program, query)
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
            problem = problem or _reason(error)
            if isinstance(error, subprocess.TimeoutExpired):
                break
        else:
            return Nvidia(tuple(parse_gpus(text, len(query))))
    return Nvidia(problem=problem, silent=_on_bus(bus))


def _asked(program: str, query: tuple[str, ...]) -> str:
    command = [program, f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    return done.stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"nvidia-smi did not answer within {_PATIENCE:.0f} seconds"
    if isinstance(error, subprocess.CalledProcessError):
        said = f"{error.stdout or ''}\n{error.stderr or ''}".strip().splitlines()
        return f"nvidia-smi says: {clean_line(said[0])}" if said else f"nvidia-smi failed with {error.returncode}"
    return f"nvidia-smi cannot be run: {clean_line(str(error))}"


def parse_gpus(text: str, columns: int = len(_QUERIES[0])) -> list[Gpu]:
    """The lines of nvidia-smi: name, MiB, MiB free, driver and, of five columns, compute capability.

    What it calls "[N/A]" is not known; a name may hold commas. Lines of another form are left out.
    """
    found = [_gpu([cell.strip() for cell in line.rsplit(",", columns - 1)], columns) for line in text.splitlines()]
    return [gpu for gpu in found if gpu is not None]


_AMOUNT = re.compile(r"\d+|\[?N/A\]?", re.ASCII)
_CAPABILITY = re.compile(r"(\d+)\.(\d+)", re.ASCII)


def _gpu(cells: list[str], columns: int) -> Gpu | None:
    if len(cells) != columns:
        return None
    name, total, free, driver = cells[:4]
    name = clean_line(name).strip()
    if not (name.strip(", ") and _AMOUNT.fullmatch(total) and _AMOUNT.fullmatch(free)):
        return None
    capability = _CAPABILITY.fullmatch(cells[4]) if columns > 4 else None
    return Gpu(
        name,
        _bytes(total),
        _bytes(free),
        (int(capability[1]), int(capability[2])) if capability else None,
        clean_line(driver) if driver[:1].isdigit() else "",
    )


def _bytes(mebibytes: str) -> int:
    return int(mebibytes) * 2**20 if mebibytes.isdigit() else 0


def _on_bus(bus: Path) -> int:
    """NVIDIA's display devices on the PCI bus; 0 where the platform does not show it."""
    try:
        devices = sorted(os.scandir(bus), key=lambda entry: entry.name)
    except OSError:
        return 0
    return sum(_is_gpu(Path(device.path)) for device in devices)


def _is_gpu(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
    except (OSError, UnicodeDecodeError):
        return False
    return vendor == _VENDOR and kind.startswith(_DISPLAY)
