"""torch is asked in a process of its own, which may do anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dgchat.machine import torch_build
from dgchat.machine.torch_build import CudaDevice, TorchBuild, find

TOLD = {
    "torch": "2.13.0", "torch_problem": None, "cuda": "12.8", "hip": None, "cuda_problem": None, "triton": "3.6.0",
    "triton_problem": None, "native_problem": "there is no C \x1b[1mcompiler",
    "devices": [{"name": "A \x1b[31mcard", "total": 100, "free": None, "capability": "9.0", "problem": "no kernel"}],
}  # fmt: skip


def program(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_this_installation() -> None:
    found = find()
    assert found.version is not None and found.problem is None
    assert found.computes is any(device.problem is None for device in found.devices)


def test_what_is_told() -> None:
    found = find(program(f"print('a line of a library'); print({json.dumps(TOLD)!r})"))
    device = CudaDevice("A card", 100, None, "9.0", "no kernel")
    assert found == TorchBuild("2.13.0", None, "12.8", None, (device,), "3.6.0", None, "there is no C compiler")
    assert not found.computes


def test_a_build_for_amd() -> None:
    told = {**TOLD, "cuda": None, "hip": "6.4", "devices": []}
    assert find(program(f"print({json.dumps(told)!r})")).cuda == "ROCm 6.4"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os; os.abort()", "a process that imports torch ends badly: "),
        ("raise SystemExit('lib\x1b[1mcudart is missing')", "ends badly: libcudart is missing"),
        ("print('hello')", "makes no sense"),
        ("print('{}')", "makes no sense"),
        ("", "makes no sense"),
        ("import time; time.sleep(60)", "did not answer within 1 seconds"),
    ],
)
def test_trouble(code: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_build, "_PATIENCE", 1.0 if "sleep" in code else 60.0)
    found = find(program(code))
    assert found.version is None and problem in (found.problem or "") and "\x1b" not in (found.problem or "")


def test_no_python_at_all() -> None:
    assert "could not be asked" in (find(("/no/such/python",)).problem or "")


def test_what_lies_in_the_present_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('run from the present folder')")
    monkeypatch.chdir(tmp_path)
    found = find()
    assert found.version is not None and found.problem is None
