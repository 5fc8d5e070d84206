"""What a run has to say of the machine that it was made on, and nothing of whose that is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgengine import EngineInfo

_PATH = re.compile(r"(?<![\w.:/])(?:~|\.{1,2})?[/\\][^\s,;]*|\b[A-Za-z]:[/\\][^\s,;]*")
_ADDRESS = re.compile(r"\b\w+://\S+|(?<= at )[\w-]*[.:][\w.:-]+")


@dataclass(frozen=True)
class Place:
    """A machine.

    Attributes:
        system: of what kind, such as "Linux x86_64".
        cpu, gpu: what they are called; None for no GPU in use.
        cores: that this process may use.
        load: programs that wanted to run, on average over the last minute; None where the platform does not tell.
        python, torch: versions; None where there is no torch in use.
    """

    system: str
    cpu: str
    cores: int
    gpu: str | None
    load: float | None
    python: str
    torch: str | None


def is_remote(info: EngineInfo) -> bool:
    """Whether the model is in another process: its weights are not in ours."""
    return info.weight_bytes == 0


def look(info: EngineInfo) -> Place:
    """The machine that the model runs on; of a server only ours is known."""
    device = info.device.lower()
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return Place(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=cores,
        gpu=_gpu(device) if device.startswith("cuda") else None,
        load=_load(),
        python=platform.python_version(),
        torch=None if is_remote(info) or device.startswith("mlx") else _version("torch"),
    )


def model_name(info: EngineInfo) -> str:
    """What the model is called, without the folder that it lies in and the server that it is on."""
    name = clean_line(info.name).partition(" at ")[0] if is_remote(info) else clean_line(info.name)
    is_path = name.startswith((".", "/", "~", "\\")) or name.count("/") > 1 or "\\" in name
    return (re.split(r"[/\\]", name.rstrip("/\\"))[-1] or "a directory") if is_path else name


def device_name(info: EngineInfo) -> str:
    """Where the model runs; of a server not which one."""
    return "a server" if is_remote(info) else clean_line(info.device)


def anonymous(text: str) -> str:
    """The text without paths, addresses, and the names of this machine and of whoever uses it."""
    text = _PATH.sub("…", _ADDRESS.sub("…", clean_line(text)))
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text, flags=re.IGNORECASE)
    return text


def _own_names() -> list[str]:
    import getpass

    names = [platform.node(), platform.node().partition(".")[0], Path.home().name]
    with suppress(OSError, KeyError, ImportError):  # no such user, or no way to know
        names.append(getpass.getuser())
    return [name for name in names if len(name) > 1]


def _cpu() -> str:
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return clean_line(line.partition(":")[2])
    with suppress(OSError, subprocess.SubprocessError):
        if platform.system() == "Darwin":
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return clean_line(subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout)
    return clean_line(platform.processor() or platform.machine())


def _gpu(device: str) -> str | None:
    from dgchat.machine import nvidia

    gpus = nvidia.find().gpus
    number = device.partition(":")[2]
    place = int(number) if number.isdigit() else 0
    return clean_line(gpus[place].name) if place < len(gpus) else None


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
