"""What is wrong, and what mends it."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from dgchat.machine.nvidia import Nvidia
from dgchat.machine.probe import Disk, Machine
from dgchat.machine.problems import problems
from dgchat.machine.torch_build import TorchBuild
from tests.tui.machine.machines import CPU_BUILD, cuda_build, gpu, machine

CARD = gpu(24)
OLD = TorchBuild("2.13.0", None, "13.0", "The NVIDIA driver on your system is too old (found version 12080).")


@pytest.mark.parametrize("fine", [machine(), machine(CARD), machine(CARD, gpu(80)), machine(CARD, torch=None)])
def test_nothing_is_wrong(fine: Machine) -> None:
    assert problems(fine) == []


@pytest.mark.parametrize(
    ("found", "what", "mend"),
    [
        (machine(CARD, torch=CPU_BUILD), "processor alone, so the NVIDIA GeForce RTX 4090 lies idle", "cu130"),
        (machine(gpu(24, driver="550.1"), torch=CPU_BUILD), "lies idle", "cu126"),
        (machine(gpu(32, capability=(12, 0), driver="575.1"), torch=CPU_BUILD), "lies idle", "cu128"),
        (machine(gpu(32, capability=(12, 0), driver="550.1"), torch=CPU_BUILD), "lies idle", "newer driver first"),
        (machine(gpu(8, capability=(6, 1)), torch=CPU_BUILD), "lies idle", "cu126"),
        (machine(gpu(24, driver="550.1"), torch=OLD), "for CUDA 13.0 cannot use the GPU: The NVIDIA driver", "cu126"),
        (machine(gpu(24, driver="470.1"), torch=OLD), "470.1 is too old", "nvidia.com/drivers"),
        (machine(CARD, torch=OLD, hidden=""), "CUDA_VISIBLE_DEVICES hides", "unset CUDA_VISIBLE_DEVICES"),
        (machine(CARD, torch=OLD, hidden="-1"), "CUDA_VISIBLE_DEVICES hides", "unset CUDA_VISIBLE_DEVICES"),
        (machine(nvidia=Nvidia(problem="nvidia-smi failed with 9")), "driver does not answer", "Restart the machine"),
        (machine(nvidia=Nvidia(silent=1)), "An NVIDIA GPU is in this machine, but no driver", "nvidia.com/drivers"),
        (machine(nvidia=Nvidia(silent=2)), "2 NVIDIA GPUs are in this machine", "nvidia.com/drivers"),
        (machine(torch=TorchBuild(None, "libcudart is missing")), "libcudart is missing.", "--force-reinstall"),
        (machine(CARD, torch=cuda_build(CARD, problem="CUDA error: no kernel image")), "no kernel image", "cu130"),
        (machine(CARD, torch=cuda_build(CARD, problem="out of memory")), "out of memory.", "Close other programs"),
    ],
)  # fmt: skip
def test_what_keeps_a_gpu_from_working(found: Machine, what: str, mend: str) -> None:
    first, *_ = problems(found)
    assert what in first.what and any(mend in line for line in first.mend) and first.serious
    assert first.what.endswith(".")


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (machine(gpu(24, capability=(7, 5))), "compute capability 7.5"),
        (machine(CARD, torch=cuda_build(CARD, triton=None)), "Triton is missing or broken"),
        (machine(CARD, compiler=None), "no C compiler"),
        (machine(CARD, disk=Disk("/models", 5 * 10**9)), "5.0 GB are free in /models"),
    ],
)
def test_what_is_merely_a_pity(found: Machine, what: str) -> None:
    (only,) = problems(found)
    assert what in only.what and not only.serious


def test_a_driver_that_fails_matters_not_where_cuda_works() -> None:
    build = cuda_build(CARD)
    assert problems(machine(torch=build, nvidia=Nvidia(problem="nvidia-smi failed with 9"))) == []


@pytest.mark.parametrize(
    ("prefix", "pip", "command"),
    [
        ("/home/a/.venv", True, "{python} -m pip install --force-reinstall \"torch"),
        ("/home/a/.venv", False, "uv pip install --reinstall \"torch"),
        ("/home/a/.local/pipx/venvs/dgchat", True, "pipx runpip dgchat install --force-reinstall \"torch"),
    ],
)  # fmt: skip
def test_the_command_is_that_of_the_installation(
    monkeypatch: pytest.MonkeyPatch, prefix: str, pip: bool, command: str
) -> None:
    real = importlib.util.find_spec

    def spec(name: str, *others: Any) -> Any:
        return (object() if pip else None) if name == "pip" else real(name, *others)

    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(importlib.util, "find_spec", spec)
    (mend,) = problems(machine(CARD, torch=CPU_BUILD))[0].mend
    assert mend.startswith(command.format(python=sys.executable)) and mend.count("https://") == 1
