"""What the machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dgchat.machine import probe
from dgchat.machine.nvidia import Gpu, Nvidia
from dgchat.machine.probe import GIB, find
from dgchat.machine.torch_build import CudaDevice, TorchBuild
from tests.tui.machine.machines import CPU_BUILD, cuda_build, gpu, machine


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not there yet" / "hub"))
    found = find(ask_torch=False)
    assert found.cores >= 1 and found.system and found.processor and found.memory >= found.memory_free > 0
    assert found.torch is None and found.models == ()
    assert found.disk.path.endswith("hub") and (found.disk.free or 0) > 0


def test_what_torch_cannot_use_is_not_used() -> None:
    card = gpu(24)
    assert machine(card).gpu == card
    idle = machine(card, torch=CPU_BUILD)
    assert idle.gpu is None and idle.best_gpu == card
    assert machine(card, torch=cuda_build(card, problem="broken")).gpu is None
    assert machine(card, torch=None).gpu == card


def test_of_several_the_largest_that_can_be_seen() -> None:
    small, large = replace(gpu(16, 15), name="small"), gpu(24, 3)
    assert machine(small, large).gpu == large  # as the engine chooses
    assert machine(small, large, torch=cuda_build(small)).gpu == small  # the other one is hidden


def test_torch_tells_what_the_driver_does_not() -> None:
    shared = Gpu("NVIDIA GB10", 0, 0, (12, 1), "580.1")
    build = TorchBuild("2.13.0", None, "13.0", None, (CudaDevice("NVIDIA GB10", 120 * GIB, 100 * GIB, "12.1"),))
    (found,) = machine(shared, torch=build).gpus
    assert (found.memory, found.free, found.capability) == (120 * GIB, 100 * GIB, (12, 1))
    (found,) = machine(torch=build, nvidia=Nvidia()).gpus
    assert (found.name, found.free, found.capability) == ("NVIDIA GB10", 100 * GIB, (12, 1))


@pytest.mark.parametrize(("text", "numbers"), [("9.0", (9, 0)), ("12.1", (12, 1)), ("", None), ("x.y", None)])
def test_capabilities(text: str, numbers: tuple[int, int] | None) -> None:
    assert probe._capability(text) == numbers
