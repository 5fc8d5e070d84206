"""What torch and Triton of this installation can do. They are asked in a process of their own, which may fail."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from dgchat.sanitize import clean_line

_PATIENCE = 90.0  # seconds; a first import of torch from a slow disk takes its time
_COMMAND = (sys.executable, "-P", "-m", "dgengine.diagnosis")  # -P: nothing of the folder that one happens to be in


@dataclass(frozen=True)
class CudaDevice:
    """A GPU as torch sees it; memory in bytes, `free` None where it could not be asked."""

    name: str
    total: int
    free: int | None
    capability: str
    problem: str | None = None


@dataclass(frozen=True)
class TorchBuild:
    """torch and Triton.

    Attributes:
        version: of torch; None where it cannot be imported.
        problem: why not.
        cuda: the CUDA version that it was built for, or "ROCm 6.4"; None for a build for the processor alone.
        cuda_problem: why a CUDA build sees no device.
        devices: what it sees.
        triton: its version; None where it is missing or broken.
        triton_problem: why it is broken.
        native_problem: why the engine does not compute small models in C; None where it does.
    """

    version: str | None
    problem: str | None = None
    cuda: str | None = None
    cuda_problem: str | None = None
    devices: tuple[CudaDevice, ...] = ()
    triton: str | None = None
    triton_problem: str | None = None
    native_problem: str | None = None

    @property
    def computes(self) -> bool:
        """Whether a GPU can be used."""
        return any(device.problem is None for device in self.devices)


def find(command: tuple[str, ...] = _COMMAND) -> TorchBuild:
    """Asks; takes as long as an import of torch."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return TorchBuild(None, f"torch did not answer within {_PATIENCE:.0f} seconds")
    except (OSError, UnicodeDecodeError) as error:
        return TorchBuild(None, f"torch could not be asked: {clean_line(str(error))}")
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return TorchBuild(None, f"a process that imports torch ends badly: {clean_line(last[0])}")
    try:
        return _build(json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, LookupError, TypeError) as error:
        return TorchBuild(None, f"torch gave an answer that makes no sense: {clean_line(str(error))}")


def _build(told: dict[str, Any]) -> TorchBuild:
    hip = told["hip"]
    return TorchBuild(
        version=_text(told["torch"]),
        problem=_text(told["torch_problem"]),
        cuda=_text(told["cuda"]) or (f"ROCm {_text(hip)}" if hip else None),
        cuda_problem=_text(told["cuda_problem"]),
        devices=tuple(_device(each) for each in told["devices"]),
        triton=_text(told["triton"]),
        triton_problem=_text(told["triton_problem"]),
        native_problem=_text(told["native_problem"]),
    )


def _device(told: dict[str, Any]) -> CudaDevice:
    free = told["free"]
    return CudaDevice(
        str(_text(told["name"])), int(told["total"]), None if free is None else int(free),
        str(_text(told["capability"])), _text(told["problem"]),
    )  # fmt: skip


def _text(value: object) -> str | None:
    return None if value is None else clean_line(str(value))
