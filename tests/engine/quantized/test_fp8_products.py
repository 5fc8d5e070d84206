"""Products in FP8, which every device can do slowly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.engine import built_in_path
from dgengine.model import Model
from dgengine.quantized import fp8, nvfp4
from dgengine.quantized import fp8_products as products
from dgengine.quantized.forms import Recipe
from dgengine.quantized.fp8_products import Fp8Linear, joined, why_not
from dgengine.quantized.matrices import QuantizedLinear
from dgengine.weights import SeparateBranches


def drawn(rows: int, columns: int, seed: int = 0) -> fp8.Fp8:
    return fp8.encode(torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * columns**-0.5)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


@given(count=st.integers(1, 40), rows=st.integers(1, 6), columns=st.integers(1, 6), scale=st.floats(1e-6, 1e6))
def test_a_product_is_near_that_with_the_decoded_matrix(count: int, rows: int, columns: int, scale: float) -> None:
    matrix = drawn(16 * rows, 16 * columns)
    x = (torch.randn(count, 16 * columns, generator=torch.Generator().manual_seed(count)) * scale).bfloat16()
    found = Fp8Linear.of(matrix)(x)
    assert found.dtype == torch.bfloat16 and found.shape == (count, 16 * rows)
    assert relative(found, QuantizedLinear(matrix)(x)) <= 0.06


def test_each_row_has_its_own_scale() -> None:
    matrix, x = drawn(32, 64), torch.randn(3, 64).bfloat16()
    x[1] *= 1e4
    x[2] = 0.0
    found, wanted = Fp8Linear.of(matrix)(x), QuantizedLinear(matrix)(x)
    assert relative(found[0], wanted[0]) <= 0.06 and relative(found[1], wanted[1]) <= 0.06
    assert (found[2] == 0).all()


def test_a_part_of_the_columns() -> None:
    linear, x = Fp8Linear.of(drawn(48, 32)), torch.randn(5, 32).bfloat16()
    assert torch.equal(linear.columns_from(16, x), linear(x)[:, 16:]) and linear.width == 48


def test_what_reads_the_same_input_is_joined() -> None:
    parts = [drawn(32, 64, 1), drawn(16, 64, 2)]
    one = joined(parts)
    assert one is not None and one.shape == (48, 64)
    assert torch.equal(one.dense(torch.float32), torch.cat([part.dense(torch.float32) for part in parts]))
    assert joined([]) is None and joined([parts[0], nvfp4.encode(torch.randn(16, 64))]) is None


@pytest.mark.parametrize(
    ("rows", "columns", "dtype", "said"),
    [(32, 64, torch.bfloat16, None), (32, 64, torch.float32, "for bfloat16"), (40, 64, torch.bfloat16, "40 x 64")],
)
def test_where_they_are_not_used(rows: int, columns: int, dtype: torch.dtype, said: str | None) -> None:
    found = why_not(drawn(rows, columns), dtype)
    assert found is None if said is None else said in (found or "")


def test_a_torch_that_refuses_or_errs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Tensor:
        raise RuntimeError("Rowwise scaling is not supported.\nAnd more.")

    monkeypatch.setattr(torch, "_scaled_mm", refuse)
    assert why_not(drawn(32, 64), torch.bfloat16) == "torch refuses (RuntimeError: Rowwise scaling is not supported.)"
    monkeypatch.setattr(products, "_product", lambda x, codes, scales: torch.zeros(x.shape[0], codes.shape[0]))
    assert why_not(drawn(32, 64), torch.bfloat16) == "the products are wrong by 100.0% here"


def logits(model: Model) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    prompt, canvas = (torch.randint(8, 2000, (count,), generator=generator) for count in (100, 64))
    cache = model.new_cache()
    model.encode(prompt, cache)
    return model.decode(canvas, cache, None)


def test_the_built_in_model_loses_little_by_them() -> None:
    recipe = Recipe("nvfp4", "fp8")
    exact = logits(load_model(built_in_path(), dtype=torch.float32))
    decoded = load_model(built_in_path(), dtype=torch.bfloat16, recipe=recipe)
    multiplied = load_model(built_in_path(), dtype=torch.bfloat16, recipe=recipe, kernels=True)
    for layer in multiplied._weights.layers:
        branches = layer.branches
        assert isinstance(branches, SeparateBranches)
        assert all(isinstance(own, Fp8Linear) for own in (layer.qkv, layer.output, branches.down))
    assert relative(logits(multiplied), exact) <= 1.3 * relative(logits(decoded), exact)


def test_where_torch_refuses_the_matrices_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgengine.kernels.packing.why_not", lambda matrix, dtype: "torch refuses")
    model = load_model(built_in_path(), dtype=torch.bfloat16, recipe=Recipe("nvfp4", "fp8"), kernels=True)
    assert not any(isinstance(layer.output, Fp8Linear) for layer in model._weights.layers)
    assert model.kernel_note is not None and "FP8" in model.kernel_note and logits(model).isfinite().all()
