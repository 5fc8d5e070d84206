"""`make gpu` runs from end to end without a GPU, measures what it says, and ends when it should."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench import run
from bench.drawn import draw_experts
from bench.isolation import run_apart
from bench.moe_case import Case, draw_case, draw_weights
from bench.records import Record, Result
from bench.rivals import RIVALS, Missing
from bench.roofline import operations
from bench.run import REPORT, STAGES, UNABLE, main
from bench.setting import Rates, Setup
from bench.sizes import TINY_SIZES, MoeSize
from bench.stages import correctness, step
from bench.stages.graph import idle_share
from bench.stages.machine import nvidia_smi
from bench.table import table
from bench.timing import Deadline, Stopwatch
from dgengine import footprint
from dgengine.full_model import FULL
from dgkernels.moe.layout import Form

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "kernels" / "bench" / "gpu.py"
CPU = torch.device("cpu")
INTERPRETED = (
    "from tests.kernels.interpreter.repairs import repair; repair()\n"
    "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
FORMS: tuple[Form, ...] = ("nvfp4", "nf4")

without_a_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def executed(arguments: list[str], interpreted: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    if interpreted:
        environment |= {"TRITON_INTERPRET": "1"}
        arguments = ["-c", INTERPRETED, *arguments]
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


# all of it


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_a_dry_run_of_all_stages(tmp_path: Path) -> None:
    found = executed([str(SCRIPT), "--tiny", "--device", "cpu", "--out", str(tmp_path)], interpreted=True)
    assert found.returncode == 0, found.stdout + found.stderr
    results = {stage.name: json.loads((tmp_path / f"{stage.name}.json").read_text()) for stage in STAGES}
    assert all(result["state"] == "done" for result in results.values()), found.stderr

    checks = results["correctness"]["result"]["checks"]
    assert all(check["ok"] for check in checks) and results["correctness"]["result"]["pocket"]["ok"]
    products = {(check["kernel"], check["form"]) for check in checks}
    assert products >= {(kernel, form) for kernel in ("align", "gate_up", "down", "experts") for form in FORMS}

    rows = results["kernels"]["result"]["kernels"]
    timed = {"route", "align", "gate_up", "down", "combine", "experts", "head", "conditioned"}
    timed |= {"norm", "add_norm", "join_branches", "embed", "gate", "rotate, full", "attend, full"}
    assert {row["kernel"] for row in rows} == timed
    assert all(row["seconds"] > 0 and row["floor_seconds"] > 0 and row["reference_seconds"] > 0 for row in rows)
    assert all("seconds" in row["rivals"]["torch grouped_mm, bf16"] for row in rows if row["kernel"] == "experts")

    variants = results["step"]["result"]["variants"]
    assert [(row["precision"], row["kernels"]) for row in variants] == [
        ("nvfp4", True), ("nvfp4+fp8", True), ("nvfp4", False),
    ]  # fmt: skip
    assert all(row["step_seconds"] > 0 and row["first_steps"] for row in variants)
    assert results["rival"]["result"]["eager"]["step_seconds"] > 0
    assert [way["step_seconds"] > 0 for way in results["graph"]["result"]["ways"]] == [True, True]
    assert results["graph"]["result"]["same_tokens"]

    report = (tmp_path / REPORT).read_text()
    assert report.strip() in found.stdout and "| experts | nvfp4 |" in report and "transformers, eager" in report


@pytest.mark.gpu
def test_a_small_run_of_all_stages_on_a_gpu(tmp_path: Path) -> None:
    found = executed([str(SCRIPT), "--tiny", "--out", str(tmp_path)], interpreted=False)
    logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert found.returncode == 0, found.stdout + found.stderr + logs
    first_steps = json.loads((tmp_path / "step.json").read_text())["result"]["variants"][0]["first_steps"]
    assert first_steps[0]["peak_bytes"] > first_steps[0]["allocated_bytes"] > 0


@without_a_gpu
def test_without_a_gpu_it_says_so() -> None:
    found = executed([str(SCRIPT)], interpreted=False)
    assert found.returncode == UNABLE and found.stdout == ""
    assert found.stderr == "This benchmark needs an NVIDIA GPU, and torch sees none here.\n"


def test_a_dry_run_needs_the_interpreter(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    from dgkernels import support

    support.why_not.cache_clear()
    assert main(["--device", "cpu"]) == UNABLE
    assert "set TRITON_INTERPRET=1" in capsys.readouterr().err


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.LEAST, "torch", (99, 0))
    assert main([]) == UNABLE
    assert f"needs torch 99.0 or newer, and {sys.executable} has {torch.__version__}" in capsys.readouterr().err
    monkeypatch.setattr(run, "LEAST", {"no_such_package": (1, 0)})
    assert main([]) == UNABLE
    assert "needs no_such_package 1.0 or newer, which" in capsys.readouterr().err


# stages that end as they should not


def options_for(out: Path, **others: object) -> argparse.Namespace:
    options = run.parse(["--out", str(out), "--tiny", "--device", "cpu"])
    vars(options).update(others)
    return options


def test_a_stage_that_fails_leaves_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stage(setup: Setup, record: Record) -> None:
        record.put(first=1)
        if record.stage == "kernels":
            raise ValueError("it broke\nin two lines")

    monkeypatch.setattr(run, "_function", lambda own: stage)
    assert not run.run_all(STAGES, options_for(tmp_path))
    failed, other = (Record.read(tmp_path / f"{name}.json") for name in ("kernels", "step"))
    assert failed is not None and failed.state == "failed: ValueError: it broke" and failed.result == {"first": 1}
    assert other is not None and other.state == "done"
    assert "* kernels: failed: ValueError: it broke\n" in (tmp_path / REPORT).read_text()


def test_a_stage_without_time_is_skipped_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_function", lambda own: pytest.fail("it was run"))
    own = options_for(tmp_path, minutes=0.0, tiny=False)
    assert run.run_all(STAGES[2:], own)
    assert not run.run_all(STAGES[1:2], own)  # kernels that were never tried are not right
    record = Record.read(tmp_path / "step.json")
    assert record is not None and record.state == "skipped: 0 s were left, and it takes 40 at least"


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    log = tmp_path / "own.log"
    command = [sys.executable, "-c", "print('said'); raise SystemExit(3)"]
    assert run_apart(command, 60, log) == "failed: it ended with exit status 3, see own.log"
    assert log.read_text() == "said\n"
    assert run_apart([sys.executable, "-c", ""], 60, log) == "ended"


def test_a_stage_runs_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    command = run._command(STAGES[0], options_for(tmp_path), 60)
    assert run_apart(command, 60, tmp_path / "own.log") == "ended", (tmp_path / "own.log").read_text()
    record = Record.read(tmp_path / "machine.json")
    assert record is not None and record.state == "done" and record.result["device"] == "CPU"
    assert record.result["versions"]["torch"] == torch.__version__ and record.result["copy_bytes_per_second"] > 0


def test_a_killed_stage_keeps_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(command: list[str], seconds: float, log: Path) -> str:
        Record(tmp_path / "step.json").put(half=1)
        return "cut off after 7 s"

    monkeypatch.setattr(run, "run_apart", killed)
    record = run._run_within(STAGES[3], options_for(tmp_path, device="cuda"), Deadline(100))
    assert record.state == "cut off after 7 s" and record.result == {"half": 1}
    assert Record.read(tmp_path / "step.json") == record


@pytest.mark.skipif(sys.platform == "win32", reason="no programs by shell there")
def test_what_nvidia_smi_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '580.1, 1980 MHz, 2619 MHz, 345 MHz, 700.00 W'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = nvidia_smi()
    assert (found["driver"], found["clock_sm_max"], found["power_limit"]) == ("580.1", "1980 MHz", "700.00 W")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert nvidia_smi() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups there")
def test_a_process_that_takes_too_long_is_cut_off_with_its_children(tmp_path: Path) -> None:
    child = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    start = time.perf_counter()
    assert run_apart([sys.executable, "-c", child], 5, tmp_path / "own.log") == "cut off after 5 s"
    status = Path(f"/proc/{int((tmp_path / 'own.log').read_text())}/status")
    while _lives(status):  # it has been killed, and takes a moment to die
        assert time.perf_counter() - start < 50
        time.sleep(0.05)


def _lives(status: Path) -> bool:
    try:
        return "Z (zombie)" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_wrong_kernels_fail_their_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Result] = [{"case": "a", "form": "nf4", "kernel": "down", "ok": False}]
    monkeypatch.setattr(correctness, "_all_checks", lambda setup: iter(checks))
    record = Record(tmp_path / "correctness.json")
    with pytest.raises(correctness.WrongResult, match=r"down \(nf4, a\)"):
        correctness.run(Setup(CPU, TINY_SIZES, tmp_path, Deadline(0)), record)
    assert record.result["checks"] == checks
    assert not correctness._compared("down", torch.full((2, 2), float("nan")), torch.ones(2, 2))["ok"]


# what is measured


@pytest.mark.parametrize("form", FORMS)
def test_drawn_matrices_are_what_they_say(form: Form) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = draw_experts(form, 2, 64, 128, 2, generator)
    dense = drawn.dense()
    if form == "nf4":
        pytest.importorskip("bitsandbytes")
    assert torch.equal(drawn.stack()[1].dense(torch.float32), dense[1])
    product = dense[0] @ torch.randn(128, 64, generator=generator)
    assert 0.7 < product.std() < 1.4


def drawn_case(form: Form = "nvfp4") -> Case:
    generator = torch.Generator().manual_seed(0)
    return draw_case(draw_weights(MoeSize(128, 64, 5, 2), form, generator), 7, generator, at_once=3)


@pytest.mark.parametrize("kernel", ["gate_up", "down", "experts"])
@pytest.mark.parametrize("form", FORMS)
def test_rivals_do_the_same_work(form: Form, kernel: str) -> None:
    case = drawn_case(form)
    wanted = getattr(case, f"reference_{kernel}")()
    for name, prepare in RIVALS[kernel].items():
        try:
            found = prepare(case)()
        except Missing:
            continue
        if not isinstance(found, torch.Tensor):
            continue  # of one expert after the other: not summed
        if kernel != "experts":  # sorted by expert, and without the routing weights
            order = case.chosen.flatten().argsort(stable=True)
            factors = 1 if kernel == "gate_up" else case.factors.flatten()[order].unsqueeze(-1)
            found, expected = found * factors, wanted[order]
        else:
            expected = wanted
        assert correctness.relative_errors(found, expected)[1] < 0.01, name


def test_the_floor_of_a_step_is_that_of_the_facts() -> None:
    found = operations(FULL, footprint.precision_of("nvfp4"), 4096)
    assert sum(own.bytes for own in found) == pytest.approx(19.7e9, rel=0.01)
    assert sum(own.flops for own in found) == pytest.approx(2.66e12, rel=0.01)
    rates = Rates(3.35e12, 800e12)
    assert sum(rates.floor(own.bytes, own.flops) for own in found) == pytest.approx(6.26e-3, rel=0.02)


@pytest.mark.parametrize("variant", [own for own in step.VARIANTS if not own.kernels], ids=str)
def test_the_random_model_answers(variant: step.Variant) -> None:
    model = step.random_model(TINY_SIZES.config, CPU, variant)
    reason = model.kernel_note
    assert reason is None and not model.uses_kernels
    precision = footprint.precision_of(variant.precision)
    assert model.weight_bytes() == footprint.weight_bytes(model.config, precision, "cpu").total
    found = step.answer(model, prompt=5, canvases=2, steps=3)
    assert len(found.blocks) == 2 and 0 < found.first < found.blocks[0] < found.blocks[1]
    assert found.taken == 6 and len(found.steps) == 4  # no canvas converges


def test_times_are_medians() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        time.sleep(0.01)

    seconds = Stopwatch(CPU, 64).median(call, repeats=3, warm_ups=1)
    assert len(calls) == 4 and 0.01 <= seconds < 0.5


def test_the_share_of_the_time_that_nothing_ran() -> None:
    assert idle_share([(0.0, 1.0), (3.0, 4.0)]) == 0.5
    assert idle_share([(5.0, 6.0), (1.0, 4.0), (2.0, 3.0), (3.0, 5.0)]) == 0.0
    assert idle_share([]) == 0.0 == idle_share([(1.0, 1.0)])


# the table


def test_a_table_of_little(tmp_path: Path) -> None:
    assert table({}) == "### A GPU (the stage `machine` was not run)\n"
    cut = Record(tmp_path / "step.json", {"canvas": 256, "variants": []}, "cut off after 9 s")
    short = Record(tmp_path / "rival.json", {"skipped": "in bfloat16 it needs 51 GiB, and 24 are free"}, "done")
    text = table({"step": cut, "rival": short})
    assert "* step: cut off after 9 s" in text and "* transformers: in bfloat16 it needs 51 GiB" in text


def test_a_table_of_a_gpu(tmp_path: Path) -> None:
    machine: Result = {
        "device": "A GPU", "driver": "1.2", "versions": {"torch": "2.11"}, "copy_bytes_per_second": 3e12,
        "bf16_flops_per_second": 8e14,
    }  # fmt: skip
    row: Result = {
        "precision": "nvfp4", "kernels": True, "context": 4096, "step_seconds": 0.02, "floor_seconds": 0.005,
        "tokens_per_second": 700.4,
        "first_steps": [{"tokens": 512, "seconds": 0.1, "peak_bytes": 2**34, "planned_bytes": 2**34}],
    }  # fmt: skip
    results: dict[str, Result] = {
        "machine": machine,
        "step": {"canvas": 256, "variants": [row, {"precision": "nvfp4", "kernels": True, "refused": "broken"}]},
        "graph": {
            "context": 4096,
            "steps": 16,
            "same_tokens": True,
            "ways": [{"way": "one graph", "step_seconds": 0.01, "first_answer_seconds": 2.0, "idle_share": 0.02}],
        },
        "rival": {"context": 4096, "eager": {"step_seconds": 0.1}, "compiled": {"skipped": "no time was left"}},
    }
    text = table({name: Record(tmp_path / f"{name}.json", own, "done") for name, own in results.items()})
    assert "copying 3 TB/s (read and written), bf16 products 800 TFLOP/s" in text
    assert "| nvfp4 | kernels | 4,096 | 20.00 | 5.00 | 25% | 700 |" in text
    assert "| nvfp4 | kernels | 512 | 100.00 | 16.00 | 16.00 |" in text
    assert "broken" in text and "| bfloat16 | transformers, eager | 4,096 | 100.00 |" in text
    assert "* transformers, compiled: no time was left" in text
    assert "| one graph | 10.00 |  | 2% | 2.0 |" in text and "The tokens are the same." in text
