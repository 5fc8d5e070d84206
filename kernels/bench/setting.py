"""What a stage is given: a device, sizes, a folder and a deadline; and what the device was measured to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bench.records import DONE, Record
from bench.sizes import Sizes
from bench.timing import Deadline, Stopwatch, measure_copy, measure_products


@dataclass(frozen=True)
class Setup:
    """For one stage.

    Attributes:
        device: where it runs.
        sizes: of everything that is drawn.
        out: the folder of all stages' files.
        deadline: when it should have ended; no part is begun after it.
    """

    device: torch.device
    sizes: Sizes
    out: Path
    deadline: Deadline

    def stopwatch(self) -> Stopwatch:
        return Stopwatch(self.device, self.sizes.flushed)

    def rates(self) -> Rates:
        """As the stage `machine` measured them on this device, or measured now."""
        record = Record.read(self.out / "machine.json")
        if record is not None and record.state == DONE and record.result["device"] == device_name(self.device):
            return Rates(record.result["copy_bytes_per_second"], record.result["bf16_flops_per_second"])
        return measure_rates(self)


@dataclass(frozen=True)
class Rates:
    """What the device was measured to do: bytes and bf16 operations a second."""

    bandwidth: float
    flops: float

    def floor(self, moved: float, operations: float) -> float:
        """Seconds that so many bytes and operations take at least."""
        return max(moved / self.bandwidth, operations / self.flops)


def measure_rates(setup: Setup) -> Rates:
    watch, sizes = setup.stopwatch(), setup.sizes
    return Rates(
        measure_copy(watch, setup.device, sizes.copied, sizes.repeats),
        measure_products(watch, setup.device, sizes.product, sizes.repeats),
    )


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
