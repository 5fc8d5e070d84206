"""`dgchat doctor`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dgchat.doctor import doctor
from dgchat.exits import Exit
from dgchat.machine.nvidia import Gpu
from dgchat.machine.probe import Machine
from dgengine import hub
from tests.tui.machine.machines import CPU_BUILD, cuda_build, gpu, machine

CARD = gpu(24)


def page(found: Machine, code: Exit = Exit.FINE) -> str:
    out = io.StringIO()
    assert doctor((), False, False, lambda: found, out) is code
    return out.getvalue()


def test_a_machine_where_all_is_well() -> None:
    text = page(machine(CARD, memory=16))
    gpu_line = "NVIDIA GeForce RTX 4090: 24.0 GiB, 23.5 GiB of it free, compute capability 8.9, driver 580.95"
    assert f"✓ GPU     {gpu_line}" in text
    assert "✓ torch   2.13.0, for CUDA 12.8" in text and "✓ Triton  3.6.0, with gcc" in text
    assert "What fits this GPU" in text and "fits: " in text and "no: " in text
    assert "To mend" not in text and text.rstrip().endswith("dgchat pull nvfp4, then dgchat --model nvfp4.")
    assert all(len(line) <= 120 and line == line.rstrip() for line in text.splitlines())


def test_a_machine_without_a_gpu() -> None:
    text = page(machine())
    assert "· GPU     no NVIDIA GPU: models run on the processor" in text
    assert "What fits the processor and its memory" in text and "slow: on the processor" in text


def test_torch_for_the_processor_beside_a_gpu() -> None:
    text = page(machine(CARD, torch=CPU_BUILD), Exit.ENGINE)
    assert "✗ torch   2.13.0+cpu, for the processor alone" in text and "once it works" in text
    assert "1. torch 2.13.0+cpu is a build for the processor alone" in text
    command = next(line for line in text.splitlines() if "--force-reinstall" in line)
    assert command.endswith("/cu130")  # on one line, to be copied
    assert text.rstrip().endswith("Then run dgchat doctor again.")


def test_what_comes_from_a_driver_cannot_write_to_the_terminal() -> None:
    text = page(machine(CARD, torch=cuda_build(CARD), compiler="gcc\x1b]0;x\x07"))
    assert "\x1b" not in text and "\x07" not in text


def test_several_cards() -> None:
    small = Gpu("NVIDIA T4", 16 * 2**30, 2**30, (7, 5), "580.1")
    text = page(machine(small, CARD))
    assert text.count(" GPU ") >= 2 and "What fits the NVIDIA GeForce RTX 4090;" in text


def test_as_json() -> None:
    out = io.StringIO()
    assert doctor((), True, False, lambda: machine(CARD, torch=CPU_BUILD), out) is Exit.ENGINE
    found = json.loads(out.getvalue())
    assert found["gpus"][0]["capability"] == [8, 9] and found["gpu_usable"] is False
    assert found["torch"]["version"] == "2.13.0+cpu" and found["problems"][0]["serious"] is True
    assert found["run"] == {"model": "nvfp4", "precision": "nvfp4"}
    assert len(found["fits"]) == sum(len(model.precisions) for model in hub.KNOWN)


def test_models_that_are_here(tmp_path: Path) -> None:
    here = hub.CachedModel(hub.KNOWN[0].repo, hub.State.WHOLE, "1" * 40, tmp_path, 18_820_000_000, 0, 0)
    part = hub.CachedModel("org/\x1b[31mred", hub.State.PARTIAL, "1" * 40, tmp_path, 5_000_000, 0, 0)
    text = page(machine(CARD, models=(here, part)))
    assert "pocket (built in); nvfp4 (18.8 GB); org/red (5 MB, not all of it)" in text


def test_words_are_refused() -> None:
    with pytest.raises(click.UsageError, match="takes no words"):
        doctor(("x",), False, False)


def test_the_program(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dgchat", "doctor"], env={**environment, "PYTHONIOENCODING": "ascii"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (Exit.FINE, Exit.ENGINE), done.stderr
    assert done.stdout.startswith("dgchat ") and "ok Machine" in done.stdout and "MODEL" in done.stdout
