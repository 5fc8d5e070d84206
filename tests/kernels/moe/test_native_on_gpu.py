"""Products of NVFP4 by NVFP4 where they belong."""

from __future__ import annotations

import pytest
import torch

from bench.moe_case import draw_case, draw_weights
from bench.sizes import MoeSize
from bench.stages.correctness import TOLERANCES, relative_errors

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("tokens", "size"), [(256, MoeSize(2816, 704, 16, 8)), (1, MoeSize(256, 128, 4, 2))])
def test_experts(tokens: int, size: MoeSize) -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    case = draw_case(draw_weights(size, "nvfp4", generator), tokens, generator, at_once=8)
    if case.weights.native_tiles is None:
        pytest.skip("this GPU has no FP4 tensor cores, or this Triton does not reach them")
    largest, usual = relative_errors(case.native(), case.reference_native())
    allowed = TOLERANCES["experts, FP4"]
    assert largest <= allowed.largest and usual <= allowed.usual
