"""What lies between products, and attention, where they belong; `make gpu` measures them as well."""

from __future__ import annotations

import pytest
import torch

from bench.layer_case import draw_parts, joined
from bench.stages.correctness import TOLERANCES, relative_errors
from dgengine.full_model import FULL

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(("tokens", "context"), [(256, 4096), (256, 0), (1, 0), (77, 1500)])
def test_parts_of_the_full_model(tokens: int, context: int) -> None:
    for part in draw_parts(FULL, tokens, context, torch.Generator("cuda").manual_seed(0)):
        largest, usual = relative_errors(joined(part.call()), joined(part.exact()))
        allowed = TOLERANCES[part.kernel.partition(", ")[0]]
        assert largest <= allowed.largest and usual <= allowed.usual, part.kernel


def test_attention_in_a_graph_follows_the_bounds() -> None:
    """A captured launch serves ranges of any length within the buffers."""
    from dgkernels import reference
    from dgkernels.attention import attend_canvas

    generator = torch.Generator("cuda").manual_seed(0)
    queries, keys, values = (
        torch.randn(heads, count, 512, generator=generator, device="cuda").bfloat16() * 0.1
        for heads, count in ((16, 64), (2, 3000), (2, 3000))
    )
    start, end = (torch.tensor([place], dtype=torch.int32, device="cuda") for place in (0, 100))
    attend_canvas(queries, keys, values, start, end)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = attend_canvas(queries, keys, values, start, end)
    for first, last in ((0, 64), (5, 3000), (2000, 2001)):
        start.fill_(first)
        end.fill_(last)
        graph.replay()
        wanted = reference.attend_canvas(queries, keys, values, first, last)
        assert (found.float() - wanted).norm() / wanted.norm() <= 0.01
