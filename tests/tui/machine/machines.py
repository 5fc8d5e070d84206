"""Machines of all kinds."""

from __future__ import annotations

from typing import Any

from dgchat.machine.nvidia import Gpu, Nvidia
from dgchat.machine.probe import GIB, Disk, Machine
from dgchat.machine.torch_build import CudaDevice, TorchBuild

CPU_BUILD = TorchBuild("2.13.0+cpu")
CARD = "NVIDIA GeForce RTX 4090"


def gpu(total: float, free: float | None = None, capability: tuple[int, int] = (8, 9), driver: str = "580.95") -> Gpu:
    """A card; memory in GiB."""
    return Gpu(CARD, round(total * GIB), round((total - 0.5 if free is None else free) * GIB), capability, driver)


def cuda_build(*gpus: Gpu, problem: str | None = None, triton: str | None = "3.6.0") -> TorchBuild:
    """A torch that sees these cards."""
    devices = tuple(CudaDevice(each.name, each.memory, each.free, "8.9", problem) for each in gpus)
    return TorchBuild("2.13.0", None, "12.8", None, devices, triton)


def machine(*gpus: Gpu, memory: float = 64, **others: Any) -> Machine:
    """A machine whose torch uses what cards there are; `memory` in GiB, of which 5/6 are free."""
    usual: dict[str, Any] = {
        "nvidia": Nvidia(gpus), "torch": cuda_build(*gpus) if gpus else CPU_BUILD, "compiler": "gcc",
        "disk": Disk("/models", 10**12),
    }  # fmt: skip
    return Machine("Linux", "x86_64", 8, round(memory * GIB), round(memory * GIB * 5 / 6), **(usual | others))
