"""What torch and Triton can do, from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dgengine.diagnosis import diagnose
from dgengine.native import compiling

ROOT = Path(__file__).parents[2]


def test_the_program_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dgengine.diagnosis"], cwd=ROOT / "engine", capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["torch"] == torch.__version__ and found["torch_problem"] is None
    assert len(found["devices"]) == torch.cuda.device_count()
    assert found["native_problem"] == compiling.library()[1]


def test_a_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = diagnose()
    assert found["torch"] is None and "torch" in found["torch_problem"] and found["triton"] is None


class Cuda:
    """Plays `torch.cuda`."""

    def __init__(self, available: bool, refusal: str = "") -> None:
        self._available, self._refusal = available, refusal

    def is_available(self) -> bool:
        return self._available

    def init(self) -> None:
        if self._refusal:
            raise RuntimeError(self._refusal)

    def device_count(self) -> int:
        return 1

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(name="card", total_memory=100, major=12, minor=0)

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 60, 100


def played(cuda: Cuda) -> Any:
    """A CUDA build of torch without a GPU: there is no device "cuda:0" to compute on."""
    return SimpleNamespace(
        __version__="2.13.0", version=SimpleNamespace(cuda="13.0", hip=None), cuda=cuda, ones=torch.ones
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="what a GPU that does not compute looks like")
def test_a_device_that_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", played(Cuda(True)))
    found = diagnose()
    (device,) = found["devices"]
    assert (device["name"], device["total"], device["free"], device["capability"]) == ("card", 100, 60, "12.0")
    assert device["problem"] and found["cuda_problem"] is None


@pytest.mark.parametrize(
    ("refusal", "said"),
    [("The driver is too old.\nAnd a page more.", "The driver is too old."), ("", "torch sees no CUDA device")],
)
def test_a_cuda_build_that_sees_nothing(refusal: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", played(Cuda(False, refusal)))
    found = diagnose()
    assert found["cuda_problem"] == said and found["devices"] == []
