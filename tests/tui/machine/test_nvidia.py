"""What NVIDIA's driver says, whatever it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dgchat.machine import nvidia
from dgchat.machine.nvidia import Gpu, Nvidia, find, parse_gpus
from dgchat.sanitize import clean_line

MIB, GIB = 2**20, 2**30


def test_the_lines_of_nvidia_smi() -> None:
    text = (
        "NVIDIA H100 80GB HBM3, 81559, 81008, 580.95.05, 9.0\nOdd, Name, 16384, 12, 470.1, 7.5\n\n"
        "no number, x, 1, 580.1, 9.0\n, 5, 5, 5, 5.0\nred \x1b[31mcard, 1024, 1000, 535.1, N/A\n"
        "NVIDIA GB10, [N/A], [N/A], 580.1, 12.1\nA, 1, 1, [N/A], N/A\ntoo, few, columns\n"
    )
    assert parse_gpus(text) == [
        Gpu("NVIDIA H100 80GB HBM3", 81559 * MIB, 81008 * MIB, (9, 0), "580.95.05"),
        Gpu("Odd, Name", 16 * GIB, 12 * MIB, (7, 5), "470.1"),
        Gpu("red card", GIB, 1000 * MIB, None, "535.1"),
        Gpu("NVIDIA GB10", 0, 0, (12, 1), "580.1"),
        Gpu("A", MIB, MIB, None, ""),
    ]


@given(st.text() | st.lists(st.text(), min_size=4, max_size=6).map(", ".join))
def test_any_output_is_survived(text: str) -> None:
    for gpu in [*parse_gpus(text), *parse_gpus(text, 4)]:
        shown = gpu.name + gpu.driver
        assert gpu.name and gpu.memory >= 0 and gpu.free >= 0 and clean_line(shown) == shown


needs_a_shell = pytest.mark.skipif(sys.platform == "win32", reason="a shell script plays the driver's program")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that will be the driver's program."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(nvidia, "_PATIENCE", 1.0)
    return tmp_path / "nvidia-smi"


def plays(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@needs_a_shell
@pytest.mark.parametrize(
    ("body", "names", "problem"),
    [
        ("echo 'A card, 1024, 1000, 580.1, 9.0'", ["A card"], None),
        ("case $1 in *compute_cap*) exit 2;; esac; echo 'An old driver, 1024, 1000, 470.1'", ["An old driver"], None),
        ("echo 'Failed to begin: \033[1mno' >&2; exit 9", [], "nvidia-smi says: Failed to begin: no"),
        ("exit 9", [], "nvidia-smi failed with 9"),
        ("printf '\\377\\376, 12'", [], "nvidia-smi cannot be run: "),
        ("exec sleep 30", [], "nvidia-smi did not answer within 1 seconds"),
        ("true", [], None),
    ],
)
def test_whatever_the_driver_does(driver: Path, body: str, names: list[str], problem: str | None) -> None:
    plays(driver, body)
    found = find(driver.parent / "no bus")
    assert [gpu.name for gpu in found.gpus] == names
    assert found.problem == problem or (problem is not None and (found.problem or "").startswith(problem))


def test_a_gpu_without_a_driver_is_seen_on_the_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find(tmp_path / "bus") == Nvidia()
    devices = {
        "0000:01:00.0": ("0x10de", "0x030000"),
        "0000:01:00.1": ("0x10de", "0x040300"),  # its sound
        "0000:02:00.0": ("0x8086", "0x030000"),
        "0000:03:00.0": ("0x10de", "0x030200"),
    }
    for name, (vendor, kind) in devices.items():
        folder = tmp_path / "bus" / name
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
    (tmp_path / "bus" / "empty").mkdir()
    assert find(tmp_path / "bus") == Nvidia(silent=2)
