"""What this machine has. The first screen and `dgchat doctor` look through this."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from dgchat.machine import nvidia, torch_build
from dgchat.machine.nvidia import Gpu, Nvidia
from dgchat.machine.torch_build import TorchBuild
from dgengine import hub, memory
from dgengine.native.compiling import COMPILERS
from dgengine.planner import GIB as GIB


@dataclass(frozen=True)
class Disk:
    """Where models go.

    Attributes:
        path: the hub's cache.
        free: bytes there; None where that cannot be told.
    """

    path: str
    free: int | None


@dataclass(frozen=True)
class Machine:
    """What was found.

    Attributes:
        system, processor, python: names and version.
        cores: that this process may use.
        memory: bytes; 0 where the platform does not tell. `memory_free`: what programs may still take.
        nvidia: GPUs, and the driver.
        torch: torch and Triton; None where they were not asked.
        compiler: a C compiler, which Triton needs; None where there is none.
        disk: where models go.
        models: what the cache holds.
        hidden: what CUDA_VISIBLE_DEVICES says, where it is set.
    """

    system: str
    processor: str
    cores: int
    memory: int
    memory_free: int = 0
    python: str = platform.python_version()
    nvidia: Nvidia = field(default_factory=Nvidia)
    torch: TorchBuild | None = None
    compiler: str | None = None
    disk: Disk = Disk("", None)
    models: tuple[hub.CachedModel, ...] = ()
    hidden: str | None = None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """Those of the driver; what it does not tell of them is torch's word, and so is all where no driver answers."""
        seen = self.torch.devices if self.torch is not None else ()
        if not self.nvidia.gpus:
            return tuple(Gpu(one.name, one.total, one.free or 0, _capability(one.capability)) for one in seen)
        by_name = {one.name: one for one in seen}
        return tuple(_completed(gpu, by_name.get(gpu.name)) for gpu in self.nvidia.gpus)

    @property
    def gpu(self) -> Gpu | None:
        """`best_gpu`; None where torch can use none."""
        return self.best_gpu if self.torch is None or self.torch.computes else None

    @property
    def best_gpu(self) -> Gpu | None:
        """The one with the most memory, which the engine takes unless told otherwise, whether torch can use it or not.

        Of several, those that torch does not see, because CUDA_VISIBLE_DEVICES hides them, do not count.
        """
        seen = {device.name for device in self.torch.devices} if self.torch is not None else set()
        there = [gpu for gpu in self.gpus if gpu.memory and (not seen or gpu.name in seen)]
        return max(there, key=lambda gpu: gpu.memory, default=None)


def _completed(gpu: Gpu, seen: torch_build.CudaDevice | None) -> Gpu:
    """Some systems, whose GPU has no memory of its own, leave it to CUDA to tell how much it may use."""
    if seen is None or gpu.memory:
        return gpu
    return replace(gpu, memory=seen.total, free=seen.free or 0)


def _capability(text: str) -> tuple[int, int] | None:
    major, dot, minor = text.partition(".")
    return (int(major), int(minor)) if dot and major.isdigit() and minor.isdigit() else None


def find(ask_torch: bool = True) -> Machine:
    """Looks at the machine, which takes as long as an import of torch if torch is asked."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    total, free = _memory()
    return Machine(
        system=system,
        processor=platform.machine(),
        cores=_cores(),
        memory=total,
        memory_free=free,
        nvidia=nvidia.find(),
        torch=torch_build.find() if ask_torch else None,
        compiler=next(filter(shutil.which, COMPILERS), None),
        disk=_disk(hub.root()),
        models=tuple(hub.cached_models()),
        hidden=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))  # what the container lets us use
    except AttributeError:
        return os.cpu_count() or 1


def _memory() -> tuple[int, int]:
    found = memory.host()
    return found.total, found.free


def _disk(cache: Path) -> Disk:
    there = next((folder for folder in (cache, *cache.parents) if folder.is_dir()), None)
    try:
        free = shutil.disk_usage(there).free if there is not None else None
    except OSError:
        free = None
    return Disk(str(cache), free)
