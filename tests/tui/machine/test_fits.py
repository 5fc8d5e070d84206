"""Which models fit, in numbers and in words."""

from __future__ import annotations

import pytest

from dgchat.machine.advice import advice, lines
from dgchat.machine.fits import Fit, best, fits, of_model, words
from dgchat.machine.nvidia import Nvidia
from dgchat.machine.probe import GIB, Machine
from dgengine import hub
from tests.tui.machine.machines import CPU_BUILD, gpu, machine


def test_every_model_in_every_precision() -> None:
    found = fits(machine(gpu(80)))
    assert {fit.model for fit in found} == {model.short for model in hub.KNOWN}
    assert all(fit.verdict == "fits" and fit.context > 8192 and fit.weights < fit.needs for fit in found)
    assert len(found) == sum(len(model.precisions) for model in hub.KNOWN)


def test_18_gib_hold_the_model_in_4_bits() -> None:
    found = {(fit.model, fit.precision): fit for fit in fits(machine(gpu(18.5, 18)))}
    fit = found["nvfp4", "nvfp4+fp8"]
    assert fit.verdict in ("fits", "tight") and fit.in_host == 0 and fit.context >= 8192 and fit.needs <= 18 * GIB


@pytest.mark.parametrize(
    ("found", "verdict", "model"),
    [
        (machine(gpu(80)), "fits", "nvfp4"),
        (machine(gpu(24)), "fits", "nvfp4"),
        (machine(gpu(16)), "tight", "nvfp4"),
        (machine(memory=64), "slow", "nvfp4"),
        (machine(gpu(4)), None, None),
        (machine(memory=8), None, None),
    ],
)
def test_the_one_to_run(found: Machine, verdict: str | None, model: str | None) -> None:
    chosen = best(fits(found))
    assert (chosen.verdict, chosen.model) == (verdict, model) if chosen else verdict is None


def test_a_gpu_that_lies_idle_is_judged_as_if_it_worked() -> None:
    assert fits(machine(gpu(24), torch=CPU_BUILD)) == fits(machine(gpu(24)))


def test_of_a_model_the_best_precision() -> None:
    found = fits(machine(gpu(40)))
    chosen = of_model(found, "bf16")
    assert chosen is not None and chosen.verdict == "fits" and chosen.precision == "fp8"
    assert of_model(found, "no such model") is None


def a_fit(verdict: str, **others: float) -> Fit:
    values = {"weights": 1, "needs": round(20.1 * GIB), "context": 90_112} | others
    return Fit("m", "nvfp4", verdict=verdict, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "text"),
    [
        (a_fit("fits"), "fits: 88k tokens"),
        (a_fit("tight", context=8192), "tight: 8k tokens"),
        (a_fit("tight", in_host=6 * GIB, step=0.2571), "tight: 6.0 GiB in host memory, 0.26 s a step more"),
        (a_fit("slow"), "slow: on the processor"),
        (a_fit("no", context=0), "no: 20.1 GiB needed"),
    ],
)
def test_in_words(fit: Fit, text: str) -> None:
    assert words(fit) == text


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (machine(gpu(80)), "The full model fits this GPU, with room for 256k tokens: dgchat pull nvfp4, then"),
        (machine(gpu(24)), "The full model fits this GPU, with room for"),
        (machine(gpu(16)), "a part of it in the host's memory"),
        (machine(gpu(4)), "The full model takes at least"),
        (machine(gpu(24), torch=CPU_BUILD), "cannot be used as things are: dgchat doctor"),
        (machine(nvidia=Nvidia(silent=1)), "cannot be used as things are: dgchat doctor"),
        (machine(memory=128), "on the processor, very slowly"),
        (machine(memory=8), "Without an NVIDIA GPU the full model, which takes at least"),
    ],
)
def test_advice(found: Machine, said: str) -> None:
    text = advice(found, fits(found))
    assert said in text and text.endswith(".")


def test_what_was_found_in_lines() -> None:
    assert lines(machine(gpu(24))) == [
        "Linux, x86_64, 8 cores, 64 GiB of memory", "NVIDIA GeForce RTX 4090, 24.0 GiB, 23.5 GiB of it free"
    ]  # fmt: skip
    assert lines(machine(memory=0)) == ["Linux, x86_64, 8 cores", "no NVIDIA GPU found"]
