"""The engine with its experts computed by the kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical

from dgengine import Block, Engine, Sampling, Step, footprint
from dgengine.checkpoint import load_model
from dgengine.engine import built_in_path
from dgengine.model import Model
from dgengine.quantized.forms import Recipe
from dgkernels import reference


def logits(model: Model) -> Tensor:
    """Of a canvas behind a short prompt."""
    generator = torch.Generator().manual_seed(3)
    prompt, canvas = (torch.randint(8, 2000, (count,), generator=generator) for count in (6, 32))
    cache = model.new_cache()
    model.encode(prompt, cache)
    return model.decode(canvas, cache, None)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_an_answer_of_the_built_in_model() -> None:
    """Whole: routed and multiplied by kernels, drawn by kernels, conditioned on what they left."""
    engine = Engine.load("pocket", precision="nvfp4")
    assert not engine.model.uses_kernels and engine.model.kernel_head is None
    with_kernels = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert with_kernels.kernel_head is not None
    engine = Engine(with_kernels, built_in_path(), "pocket")
    ids = engine.encode_chat([{"role": "user", "content": "Who are you?"}])
    events = list(engine.session().generate(ids, Sampling(seed=3)))
    blocks = [event for event in events if isinstance(event, Block)]
    assert "".join(engine.decode(block.tokens) for block in blocks).startswith("I am pocket")
    assert all(block.converged for block in blocks)
    steps = [event for event in events if isinstance(event, Step)]
    assert all(step.top_ids is None and (step.entropy >= -1e-3).all() for step in steps)


def broken(how: str) -> Any:
    def experts(x: Tensor, *_: object) -> Tensor:
        if how == "fails":
            raise RuntimeError("PTX cannot be assembled\nand a page more")
        return torch.full_like(x, float("nan")) if how == "nan" else torch.zeros_like(x)

    return experts


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("fails", "(RuntimeError: PTX cannot be assembled)"),
        ("nan", "differ from torch's by nan%"),
        ("wrong", "by 100.0%"),
    ],
)
def test_kernels_that_are_wrong_here_are_not_used(how: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgkernels.moe.products.experts", broken(how))
    model = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert not model.uses_kernels and said in (model.kernel_note or "")
    assert logits(model).isfinite().all()


def test_a_head_that_is_wrong_here_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgengine.kernels.vocabulary import KernelHead

    def fail(*_: object) -> None:
        raise RuntimeError("out of resources")

    monkeypatch.setattr(KernelHead, "__call__", fail)
    model = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert model.uses_kernels and model.kernel_head is None
    assert model.kernel_note == "those of the head fail here (RuntimeError: out of resources)"


@pytest.mark.parametrize(
    ("dtype", "recipe", "said"),
    [
        (torch.float32, Recipe("nvfp4"), "they compute in bfloat16"),
        (torch.bfloat16, Recipe("fp8"), "there are none for fp8"),
    ],
)
def test_what_the_kernels_do_not_take(dtype: torch.dtype, recipe: Recipe, said: str) -> None:
    model = load_model(built_in_path(), dtype=dtype, recipe=recipe, kernels=True)
    assert not model.uses_kernels and model.kernel_note == said


def test_the_built_in_model_in_nvfp4() -> None:
    exact = logits(load_model(built_in_path(), dtype=torch.float32, recipe=Recipe("nvfp4")))
    by_torch = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"))
    by_kernels = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert by_kernels.kernel_note is None and by_kernels.uses_kernels and not by_torch.uses_kernels
    assert by_kernels.weight_bytes() == by_torch.weight_bytes() and by_kernels.expert_form == "nvfp4"
    found = logits(by_kernels)
    assert relative(found, exact) <= 1.5 * relative(logits(by_torch), exact) <= 0.1
    assert (found.argmax(-1) == exact.argmax(-1)).float().mean() >= 0.9


def test_a_head_in_eight_bits() -> None:
    """It is taken where kernels compute the logits, and else the engine says why not."""
    plain = Engine.load("pocket", precision="bfloat16", kernels=True, fp8_head=True)
    assert not plain.info.notes
    held = plain.model.kernel_head._embedding
    assert held.codes.nbytes + held.scales.nbytes == footprint.fp8_head_bytes(plain.model.config)
    hidden, temperature, uniforms = _positions(plain.model)
    bounded = plain.model.kernel_head(hidden, temperature, uniforms).entropy
    logits = F.linear(reference.quantise_rows(hidden), held.dense())
    wanted = Categorical(logits=logits.tanh() * plain.model.config.final_logit_softcapping / temperature).entropy()
    torch.testing.assert_close(bounded, wanted, rtol=0, atol=0.02)
    exact = Engine.load("pocket", precision="bfloat16", kernels=True)
    assert (exact.model.kernel_head(hidden, temperature, uniforms).entropy - bounded).abs().max() > 1e-3
    without = Engine.load("pocket", fp8_head=True)
    assert without.info.notes == ("The head does not multiply in FP8: torch computes the logits.",)


def _positions(model: Model) -> tuple[Tensor, float, Tensor]:
    hidden = torch.randn(4, model.config.hidden_size, generator=torch.Generator().manual_seed(0)) * 0.02
    return hidden.bfloat16(), 0.7, torch.full((4, 2), 0.5)


def test_products_in_fp4_where_they_are_wished(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU that has them; elsewhere the weights are decoded, and a note says why."""
    monkeypatch.setenv("DGENGINE_FP4", "1")
    model = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert model.uses_kernels
    assert model.kernel_note == "products in FP4 are not used, a GPU of 8.9 has no FP4 tensor cores"
    monkeypatch.setattr("triton.__version__", "3.6.0")
    model = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert "Triton 3.6.0 does not reach FP4 tensor cores, which takes 3.9" in (model.kernel_note or "")
    monkeypatch.setattr("triton.__version__", "3.9.0")
    monkeypatch.setattr("dgkernels.support.capability_of", lambda device: (12, 0))
    found = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert found.uses_kernels and found.kernel_note is None and found.expert_form == "nvfp4"
    monkeypatch.delenv("DGENGINE_FP4")
    exact = logits(load_model(built_in_path(), dtype=torch.float32, recipe=Recipe("nvfp4")))
    assert 0.01 < relative(logits(found), exact) < 0.25
