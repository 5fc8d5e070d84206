"""Whole tiny models whose layers are put together by kernels: every pass, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.frame import attend_masked
from dgengine.kernels.attention import attend_by_kernel
from dgengine.model import Model
from dgengine.quantized import fp8, fp8_products
from dgkernels.outcome import Outcome, Softmax
from tests.engine.tiny import tiny_checkpoint

SPECS = ("base", "ungrouped", "many-experts")


def models(spec: str) -> tuple[Model, Model, Model]:
    """By kernels, by torch, and exact."""
    path = tiny_checkpoint(spec)
    found = load_model(path, dtype=torch.bfloat16, kernels=True)
    assert found.stack.kernels is not None and found.canvas_attention is attend_by_kernel, found.kernel_note
    return found, load_model(path, dtype=torch.bfloat16), load_model(path)


def ids(model: Model, count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, model.config.vocab_size, (count,), generator=torch.Generator().manual_seed(seed))


class _Kept:
    """A head that keeps what it was given."""

    lowest_temperature = 0.1

    def __init__(self) -> None:
        self.hidden = torch.empty(0)

    def __call__(self, hidden: Tensor, *_: object) -> Outcome:
        self.hidden = hidden
        nothing = torch.empty(0)
        return Outcome(nothing, nothing, nothing, Softmax(nothing, nothing))


def passes(model: Model) -> list[Tensor]:
    """What each of a model's passes gives, after a prompt that comes in two pieces."""
    cache, canvas = model.new_cache(slack=0), ids(model, model.config.canvas_length, 1)
    for seed, count in enumerate((20, 7)):
        model.encode(ids(model, count, seed), cache)
    first = model.decode(canvas, cache)
    head: Any = _Kept()
    model.kernel_head = head
    shares = Softmax((first / 0.7).softmax(-1).to(model.dtype), torch.ones(canvas.shape[0]))
    model.denoise(canvas, model.frame(cache), shares, 0.7, torch.empty(0))
    return [
        *(part for layer in range(len(model.config.layers)) for part in cache.read(layer, 20, 27)),
        first,
        model.decode(torch.stack((canvas, canvas.flip(0))), cache, torch.stack((first, first)) / 0.7),
        head.hidden,
        model.score(ids(model, 12, 5), cache),
    ]


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


@pytest.mark.parametrize("spec", SPECS)
def test_every_pass_is_as_exact_as_by_torch(spec: str) -> None:
    """Random weights send a token to another expert for little: what either path does to all of a pass is compared."""
    by_kernels, by_torch, exact = map(passes, models(spec))
    for found, other, wanted in zip(by_kernels, by_torch, exact, strict=True):
        assert found.shape == wanted.shape and error(found, wanted) <= max(1.5 * error(other, wanted), 0.02)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("dgkernels.norms.embed", "those between the products"),
        ("dgkernels.norms.add_norm", "those between the products"),
        ("dgkernels.norms.join_branches", "those between the products"),
        ("dgkernels.rotary.rotate_into", "those between the products"),
        ("dgkernels.attention.attend_canvas", "those of attention"),
    ],
)
def test_kernels_that_fail_or_are_wrong_here_are_not_used(
    where: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = where.rsplit(".", 1)
    right = getattr(__import__(module, fromlist=[name]), name)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of resources")

    def off(*args: Any, **options: Any) -> Any:
        found = right(*args, **options)
        return found * 1.05 if isinstance(found, Tensor) else tuple(part * 1.05 for part in found)

    for broken, how in ((fail, f"{said} fail"), (off, f"the results of {said} differ from torch's by 5.")):
        monkeypatch.setattr(where, broken)
        model = load_model(tiny_checkpoint("base"), dtype=torch.bfloat16, kernels=True)
        assert how in (model.kernel_note or ""), model.kernel_note
        attends = model.canvas_attention is attend_by_kernel
        assert (model.stack.kernels is not None) == ("attention" in said) and attends != ("attention" in said)
        assert attends or model.canvas_attention is attend_masked


def test_a_model_in_float32_is_left_to_torch() -> None:
    model = load_model(tiny_checkpoint("base"), kernels=True)
    assert model.stack.kernels is None and model.canvas_attention is attend_masked
    assert model.kernel_note == "they compute in bfloat16"


def test_activations_of_products_in_fp8_are_quantised_by_the_kernel() -> None:
    x = torch.randn(5, 96, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert fp8_products._kernel_runs(x.device)
    (codes, scales), (wanted, factors) = fp8_products._by_kernel(x), fp8_products._by_torch(x)
    assert error(codes.float() * scales, wanted.float() * factors) <= 0.01
    matrix = fp8.encode(torch.randn(32, 96, generator=torch.Generator().manual_seed(1)))
    assert fp8_products.why_not(matrix, torch.bfloat16) is None
