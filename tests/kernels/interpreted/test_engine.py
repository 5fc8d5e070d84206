"""The engine with its experts computed by the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.engine import built_in_path
from dgengine.model import Model
from dgengine.quantized.forms import Recipe


def logits(model: Model) -> Tensor:
    """Of a canvas behind a short prompt."""
    generator = torch.Generator().manual_seed(3)
    prompt, canvas = (torch.randint(8, 2000, (count,), generator=generator) for count in (6, 32))
    cache = model.new_cache()
    model.encode(prompt, cache)
    return model.decode(canvas, cache, None)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_the_built_in_model_in_nvfp4() -> None:
    exact = logits(load_model(built_in_path(), dtype=torch.float32, recipe=Recipe("nvfp4")))
    by_torch = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"))
    by_kernels = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4"), kernels=True)
    assert by_kernels.kernel_note is None and by_kernels.uses_kernels and not by_torch.uses_kernels
    assert by_kernels.weight_bytes() == by_torch.weight_bytes() and by_kernels.expert_form == "nvfp4"
    found = logits(by_kernels)
    assert relative(found, exact) <= 1.5 * relative(logits(by_torch), exact) <= 0.1
    assert (found.argmax(-1) == exact.argmax(-1)).float().mean() >= 0.9
