"""Rows in FP8 against torch."""

from __future__ import annotations

import pytest
import torch

from dgkernels.eights import LARGEST, quantise_rows
from tests.kernels.interpreted.inputs import random


@pytest.mark.parametrize(("count", "width"), [(1, 16), (7, 100), (3, 2816), (65, 64)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_quantise_rows(count: int, width: int, dtype: torch.dtype) -> None:
    x = random(count, width, dtype=dtype) * torch.logspace(-3, 3, count).unsqueeze(1).to(dtype)
    found = quantise_rows(x)
    peaks = x.float().abs().amax(1)
    torch.testing.assert_close(found.scales, peaks / LARGEST)
    wanted = (x.float() / found.scales.unsqueeze(1)).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    assert torch.equal(found.codes.view(torch.uint8), wanted.view(torch.uint8))
    assert (found.dense() - x.float()).norm() / x.float().norm() <= 0.03


def test_zeros_and_nan() -> None:
    x = torch.zeros(3, 40)
    x[1, 5], x[2, 0] = float("nan"), 1e-38
    found = quantise_rows(x)
    dense = found.dense()
    assert not dense[0].any() and not dense[2, 1:].any() and dense[1, 5].isnan()
