"""The gated activation against torch."""

from __future__ import annotations

import pytest
import torch

from dgkernels import reference
from dgkernels.gated import gelu_gate
from tests.kernels.interpreted.inputs import random


@pytest.mark.parametrize(("count", "width"), [(1, 16), (3, 33), (7, 512), (2, 2112)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gelu_gate(count: int, width: int, dtype: torch.dtype) -> None:
    x = random(count, 2 * width, dtype=dtype, scale=3.0)
    found = gelu_gate(x)
    assert found.dtype == dtype and found.shape == (count, width)
    tolerance = 2.0**-8 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.float(), reference.gelu_gate(x), atol=1e-5, rtol=tolerance)


def test_rows_that_lie_apart() -> None:
    whole = random(5, 100)
    torch.testing.assert_close(gelu_gate(whole[:, :64]), reference.gelu_gate(whole[:, :64]), atol=1e-5, rtol=1e-5)


def test_large_gates_neither_overflow_nor_vanish() -> None:
    x = torch.tensor([[60.0, -60.0, 3e4, -3e4, 1.0, 1.0, 1.0, 1.0]])
    assert gelu_gate(x).tolist() == [[60.0, 0.0, 3e4, 0.0]]
