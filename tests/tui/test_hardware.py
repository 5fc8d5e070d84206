"""What the first screen says of the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat import hardware
from dgchat.hardware import GIB, Gpu, Hardware, advice, lines, parse_gpus


def test_the_lines_of_nvidia_smi() -> None:
    text = "NVIDIA H100 80GB HBM3, 81559\nOdd, Name, 16384\n\nno number, N/A\n, 5\nred \x1b[31mcard, 1024\n"
    assert parse_gpus(text) == [
        Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20), Gpu("Odd, Name", 16 * GIB), Gpu("red card", GIB)
    ]  # fmt: skip


@given(st.text())
def test_any_output_is_survived(text: str) -> None:
    assert all(gpu.name and gpu.memory >= 0 for gpu in parse_gpus(text))


def machine(*gpus: float, memory: float = 16) -> Hardware:
    cards = tuple(Gpu("card", round(gib * GIB)) for gib in gpus)
    return Hardware("Linux", "x86_64", 8, round(memory * GIB), cards)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (machine(80), "This GPU can run the full model as it is"),
        (machine(8, 80), "This GPU can run the full model as it is"),
        (machine(24), "has room for the full model quantised to 4 bits"),
        (machine(8), "This GPU is too small"),
        (machine(memory=128), "would run on the processor, slowly"),
        (machine(), "far too slow"),
        (machine(memory=0), "far too slow"),
    ],
)
def test_advice(found: Hardware, said: str) -> None:
    assert said in advice(found) and advice(found).endswith(".")


def test_what_was_found_in_lines() -> None:
    assert lines(machine(24)) == ["Linux, x86_64, 8 cores, 16 GiB of memory", "card, 24 GiB"]
    assert lines(machine(memory=0)) == ["Linux, x86_64, 8 cores", "no NVIDIA GPU found"]


def program(folder: Path, body: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script plays the driver's program")
@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("echo 'A card, 1024'", ["A card"]),
        ("echo broken >&2; exit 9", []),
        ("printf '\\377\\376, 12'", []),
        ("exec sleep 30", []),
    ],
)
def test_the_machine_is_found_whatever_the_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, names: list[str]
) -> None:
    program(tmp_path, body)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(hardware, "_PATIENCE", 1.0)
    found = hardware.find()
    assert [gpu.name for gpu in found.gpus] == names
    assert found.cores >= 1 and found.system and found.processor


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hardware.find().gpus == ()
