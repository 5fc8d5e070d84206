"""Which GPU, driver and versions; the bandwidth of a copy and the rate of a bf16 product."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from typing import Final

import torch

from bench.records import Record, Result
from bench.setting import Setup, device_name, measure_rates

_PACKAGES: Final = ("torch", "triton", "transformers", "bitsandbytes", "vllm")
_QUERIED: Final = {
    "driver_version": "driver",
    "clocks.max.sm": "clock_sm_max",
    "clocks.max.mem": "clock_memory_max",
    "clocks.sm": "clock_sm",
    "power.limit": "power_limit",
}


def run(setup: Setup, record: Record) -> None:
    """Measures, and says on what."""
    record.put(device=device_name(setup.device), python=platform.python_version(), versions=versions())
    record.put(dgkernels=why_no_kernels(setup.device))
    if setup.device.type == "cuda":
        record.put(**_gpu(setup.device), **nvidia_smi())
    rates = measure_rates(setup)
    record.put(copy_bytes_per_second=rates.bandwidth, bf16_flops_per_second=rates.flops)
    if setup.device.type == "cuda":
        record.put(after=nvidia_smi())  # the clocks that it was measured at


def versions() -> dict[str, str]:
    """Of what is installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def why_no_kernels(device: torch.device) -> str | None:
    """Why the kernels do not run there; None where they do."""
    from dgkernels import support

    return support.why_not(device)


def _gpu(device: torch.device) -> Result:
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "memory_bytes": total,
        "memory_free_bytes": free,
        "cuda": torch.version.cuda,
    }


def nvidia_smi() -> dict[str, str]:
    """What it tells of the first GPU; nothing where there is no such program, or it fails."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(_QUERIED)}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(_QUERIED.values(), (value.strip() for value in told.split(",")), strict=False))
