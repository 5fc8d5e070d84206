"""Packed products against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dgengine.linear import JoinedLinear, PlainLinear, packed_gated, packed_linear
from dgengine.quantized import fp8
from dgengine.quantized.matrices import QuantizedLinear

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
rows = pytest.mark.parametrize("count", [1, 8, 13, 600])


def _weight(outputs: int, inputs: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(outputs, inputs).div_(inputs**0.5).to(dtype)


def _close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    tolerance = 1e-5 if dtype == torch.float32 else 2**-6
    torch.testing.assert_close(actual.float(), expected, rtol=tolerance, atol=tolerance)


@dtypes
@rows
def test_a_packed_product(dtype: torch.dtype, count: int) -> None:
    torch.manual_seed(count)
    weight, x = _weight(40, 24, dtype), torch.randn(count, 24).to(dtype)
    linear = packed_linear(weight, rows=8)
    expected = x.float() @ weight.float().T
    _close(linear(x), expected, dtype)
    _close(linear.columns_from(16, x), expected[:, 16:], dtype)
    _close(linear(torch.cat((x, x), dim=1)[:, 24:]), expected, dtype)  # a view with gaps


@dtypes
@rows
@pytest.mark.parametrize("rest", [0, 16])
def test_a_packed_gated_unit(dtype: torch.dtype, count: int, rest: int) -> None:
    torch.manual_seed(count)
    gate, up, other = (_weight(width, 24, dtype) for width in (32, 32, rest))
    x = torch.randn(count, 24).to(dtype)
    inner, scores = packed_gated(gate, up, other if rest else None, rows=8)(x)
    wide = x.float()
    _close(inner, F.gelu(wide @ gate.float().T, approximate="tanh") * (wide @ up.float().T), dtype)
    _close(scores, wide @ other.float().T, dtype)


@dtypes
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_what_is_not_a_number_shows(dtype: torch.dtype, poison: float) -> None:
    x = torch.full((8, 24), poison).to(dtype)
    gated = packed_gated(_weight(32, 24, dtype), _weight(32, 24, dtype), None, rows=8)
    assert not gated(x)[0].isfinite().any()


@dtypes
def test_packing_holds_no_more_than_the_weight(dtype: torch.dtype) -> None:
    weight = _weight(64, 64, dtype)
    assert sum(tensor.nbytes for tensor in packed_linear(weight, 8).tensors()) == weight.nbytes


def test_parts_side_by_side() -> None:
    torch.manual_seed(5)
    weights = [torch.randn(rows, 32) for rows in (6, 10, 4)]
    coded = fp8.encode(weights[1])
    joined = JoinedLinear((PlainLinear(weights[0].t()), QuantizedLinear(coded), PlainLinear(weights[2].t())))
    matrix = torch.cat((weights[0], coded.dense(torch.float32), weights[2]))
    x = torch.randn(3, 32)
    torch.testing.assert_close(joined(x), x @ matrix.t())
    for first in (0, 1, 6, 9, 16, 19):
        torch.testing.assert_close(joined.columns_from(first, x), x @ matrix[first:].t())
    assert len(joined.tensors()) == 4
