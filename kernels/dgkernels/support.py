"""Whether a device can run the kernels."""

from __future__ import annotations

import importlib.util
import os
import re
from functools import cache
from typing import Final

import torch

from dgkernels.tiles import MOE

NATIVE_TRITON: Final = (3, 9)
"""The first Triton that reaches the tensor cores' products of NVFP4 by NVFP4."""


@cache
def why_not(device: torch.device) -> str | None:
    """Why the kernels do not run on this device, in a few words; None where they do.

    Triton's interpreter (TRITON_INTERPRET=1) runs them on a CPU, for tests.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if device.type == "cpu":
        return None if interpreted() else "they are for NVIDIA GPUs"
    if device.type != "cuda" or torch.version.hip:
        return "they are for NVIDIA GPUs"
    capability = torch.cuda.get_device_capability(device)
    if capability not in MOE:
        return f"there is no configuration for compute capability {capability[0]}.{capability[1]}"
    try:
        import triton  # noqa: F401
    except Exception as error:  # noqa: BLE001 - a broken installation is a reason like any other
        return f"Triton cannot be imported ({type(error).__name__}: {error})"
    return None


def why_not_native(device: torch.device) -> str | None:
    """Why products of NVFP4 by NVFP4 are not to be had where `why_not` says nothing; None where they are."""
    import triton

    version = triton.__version__  # and not the package's, which has several names
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < NATIVE_TRITON:
        return f"Triton {version} does not reach FP4 tensor cores, which takes {'.'.join(map(str, NATIVE_TRITON))}"
    capability = capability_of(device)
    return None if capability[0] in (10, 12) else f"a GPU of {capability[0]}.{capability[1]} has no FP4 tensor cores"


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def capability_of(device: torch.device) -> tuple[int, int]:
    """The compute capability whose tiles are to be used; the interpreter plays the smallest GPU."""
    return (8, 9) if device.type == "cpu" else torch.cuda.get_device_capability(device)


def multiprocessors(device: torch.device) -> int:
    """How many programs, each as large as may be, a device runs at a time; the interpreter one after the other."""
    return 1 if device.type == "cpu" else torch.cuda.get_device_properties(device).multi_processor_count
