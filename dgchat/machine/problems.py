"""What keeps dgchat from using this machine, and what mends it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dgchat.machine.probe import Machine
from dgchat.machine.torch_build import CudaDevice
from dgengine import hub

_CAPABILITY: Final = (8, 0)  # bfloat16 in hardware begins here
_SPARE = 1_000_000_000  # bytes of disk beside a model
_OLDEST_DRIVER: Final = 525  # its major version: older ones know no CUDA 12
# PyTorch's builds: the oldest driver, and the oldest and the newest GPU that each has kernels for.
_CUDA_BUILDS: Final = (
    ("cu130", 580, (7, 5), (99, 0)),
    ("cu128", 570, (7, 5), (99, 0)),
    ("cu126", 525, (5, 0), (9, 0)),
)
_BUILDS = "https://download.pytorch.org/whl"
_DRIVER_PAGE = "https://www.nvidia.com/drivers"


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        what: a sentence.
        mend: what to do about it: sentences, and commands to type.
        serious: whether it keeps a GPU, or dgchat, from working at all.
    """

    what: str
    mend: tuple[str, ...] = ()
    serious: bool = True


def problems(machine: Machine) -> list[Problem]:
    """All that is wrong, what matters most first. A machine without a GPU has nothing wrong with it."""
    return [*_driver(machine), *_torch(machine), *_gpus(machine), *_kernels(machine), *_disk(machine)]


def _driver(machine: Machine) -> Iterator[Problem]:
    found = machine.nvidia
    if machine.torch is not None and machine.torch.computes:
        return  # CUDA works, whatever the driver's own program says
    if found.problem is not None:
        yield Problem(
            f"The NVIDIA driver does not answer: {found.problem}.",
            ("Restart the machine; if that does not help, install the driver anew:", _DRIVER_PAGE),
        )
    elif found.silent:
        count = "An NVIDIA GPU is" if found.silent == 1 else f"{found.silent} NVIDIA GPUs are"
        yield Problem(
            f"{count} in this machine, but no driver: there is no nvidia-smi.",
            (*_driver_command(machine), f"Other systems: {_DRIVER_PAGE}"),
        )
    elif found.gpus and 0 < (version := _driver_version(machine)) < _OLDEST_DRIVER:
        yield Problem(
            f"The NVIDIA driver {found.gpus[0].driver} is too old for the torch builds of today ({version} is below "
            f"{_OLDEST_DRIVER}).",
            ("Install a newer driver:", _DRIVER_PAGE),
        )


def _driver_command(machine: Machine) -> tuple[str, ...]:
    return ("sudo ubuntu-drivers install",) if machine.system == "Linux" and shutil.which("ubuntu-drivers") else ()


def _driver_version(machine: Machine) -> int:
    """Its major version; 0 where it is not known."""
    versions = [gpu.driver.partition(".")[0] for gpu in machine.nvidia.gpus]
    return min((int(version) for version in versions if version.isdigit()), default=0)


def _torch(machine: Machine) -> Iterator[Problem]:
    build = machine.torch
    if build is None:
        return
    if build.problem is not None or build.version is None:
        yield Problem(f"torch cannot be used: {_ended(build.problem or 'it is missing')}", _reinstall(machine))
        return
    there = bool(machine.nvidia.gpus)
    if there and build.cuda is None:
        name = machine.nvidia.gpus[0].name
        yield Problem(
            f"torch {build.version} is a build for the processor alone, so the {name} lies idle.", _reinstall(machine)
        )
    elif there and build.cuda_problem is not None:
        yield from _blind(machine, build.cuda_problem)


def _blind(machine: Machine, reason: str) -> Iterator[Problem]:
    """A CUDA build that sees no device, though the driver knows one."""
    build, hidden = machine.torch, machine.hidden
    assert build is not None  # it gave the reason
    if hidden is not None and hidden.strip() in ("", "-1"):
        yield Problem("CUDA_VISIBLE_DEVICES hides all GPUs.", ("unset CUDA_VISIBLE_DEVICES",))
        return
    newer = tuple(_reinstall(machine)) if "driver" in reason and _driver_version(machine) >= _OLDEST_DRIVER else ()
    other = ("Or install a build of torch for this driver:", *newer) if newer else ()
    yield Problem(
        f"torch {build.version} for CUDA {build.cuda} cannot use the GPU: {_ended(reason)}",
        (f"Install a newer driver: {_DRIVER_PAGE}", *other),
    )


def _gpus(machine: Machine) -> Iterator[Problem]:
    for device in machine.torch.devices if machine.torch is not None else ():
        if device.problem is not None:
            what = f"The {device.name} does not compute under this torch: {_ended(device.problem)}"
            yield Problem(what, _no_kernels(machine, device))
    gpu = machine.gpu
    if gpu is not None and gpu.capability is not None and gpu.capability < _CAPABILITY:
        major, minor = gpu.capability
        yield Problem(
            f"The {gpu.name} has compute capability {major}.{minor}, which computes bfloat16 slowly; 8.0 and above "
            "(RTX 30 and newer) do it in hardware.",
            serious=False,
        )


def _no_kernels(machine: Machine, device: CudaDevice) -> tuple[str, ...]:
    if "kernel image" not in (device.problem or ""):
        return ("Close other programs on the GPU, or restart the machine.",)
    return (f"This build has no kernels for compute capability {device.capability}; another has:", *_reinstall(machine))


def _kernels(machine: Machine) -> Iterator[Problem]:
    build = machine.torch
    if build is None or not build.computes or machine.system != "Linux":
        return
    if build.triton is None:
        why = f": {build.triton_problem}" if build.triton_problem else ""
        yield Problem(
            f"Triton is missing or broken{why}; the GPU works without it, but more slowly.",
            (_pip("install", "--force-reinstall", "triton"),),
            serious=False,
        )
    elif machine.compiler is None:
        yield Problem(
            "There is no C compiler, which Triton needs; the GPU works without it, but more slowly.",
            ("sudo apt install gcc", "Other systems: install gcc or clang."),
            serious=False,
        )


def _disk(machine: Machine) -> Iterator[Problem]:
    free = machine.disk.free
    here = any(model.state is hub.State.WHOLE for model in machine.models)
    if free is not None and machine.gpu is not None and not here and free < hub.DEFAULT.bytes + _SPARE:
        yield Problem(
            f"{hub.amount(free)} are free in {machine.disk.path}; the full model in 4 bits takes "
            f"{hub.amount(hub.DEFAULT.bytes)}.",
            ("Make room, or set HF_HOME to a folder on another disk.",),
            serious=False,
        )


def _reinstall(machine: Machine) -> tuple[str, ...]:
    """The command that installs torch for what is here."""
    if not machine.nvidia.gpus:
        return (_pip("install", "--force-reinstall", "torch>=2.11,<2.14"),)
    build = _build_for(machine)
    if build is None:
        return (f"Install a newer driver first: {_DRIVER_PAGE}",)
    return (_pip("install", "--force-reinstall", "torch>=2.11,<2.14", "--index-url", f"{_BUILDS}/{build}"),)


def _build_for(machine: Machine) -> str | None:
    """The newest build of torch that driver and GPU can use; a driver that is not known is taken for a new one."""
    version = _driver_version(machine) or 999
    gpu = machine.best_gpu or machine.nvidia.gpus[0]
    capability = gpu.capability or (8, 0)
    fitting = (name for name, driver, low, high in _CUDA_BUILDS if version >= driver and low <= capability <= high)
    return next(fitting, None)


def _pip(*words: str) -> str:
    """pip of this very installation, however that came about."""
    quoted = " ".join(f'"{word}"' if any(sign in word for sign in "<> ") else word for word in words)
    if "pipx" in sys.prefix:
        return f"pipx runpip dgchat {quoted}"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    if importlib.util.find_spec("pip") is None:  # uv makes environments without
        return f"uv pip {quoted.replace('--force-reinstall', '--reinstall')} --python {python}"
    return f"{python} -m pip {quoted}"


def _ended(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
