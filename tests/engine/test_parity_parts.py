"""The parts of a layer against the reference's classes, or against the definition written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dgengine.attention import causal, everything
from dgengine.checkpoint import load_model
from dgengine.config import ModelConfig, RopeConfig
from dgengine.moe import PlainExperts, apply_experts, route
from dgengine.norm import gated_gelu, rms_norm, softcap
from dgengine.rope import RotaryTable, rotate
from dgengine.stack import Stack
from tests.engine.tiny import SPECS, tiny_checkpoint

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@dtypes
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_rms_norm(dtype: torch.dtype, scale: float) -> None:
    from transformers.models.diffusion_gemma.modeling_diffusion_gemma import DiffusionGemmaRMSNorm

    torch.manual_seed(0)
    x = (scale * torch.randn(5, 3, 48)).to(dtype)
    norm = DiffusionGemmaRMSNorm(48, eps=1e-6).to(dtype)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    with torch.no_grad():
        expected = norm(x)
        assert torch.equal(rms_norm(torch.zeros_like(x), norm.weight, 1e-6), torch.zeros_like(x))
        actual = rms_norm(x, norm.weight, 1e-6)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected, rtol=1e-6 if dtype == torch.float32 else 2**-7, atol=0)


@dtypes
def test_gated_gelu(dtype: torch.dtype) -> None:
    gate = torch.linspace(-12, 12, 4001).to(dtype)
    up = torch.full_like(gate, 1.5)
    expected = F.gelu(gate, approximate="tanh") * up
    actual = gated_gelu(torch.cat((gate, up))).to(dtype)
    torch.testing.assert_close(actual, expected, rtol=1e-5 if dtype == torch.float32 else 2**-7, atol=2e-6)


def test_gated_gelu_saturates_without_nan() -> None:
    gate = torch.tensor([-1e30, -1e4, 0.0, 1e4])
    assert gated_gelu(torch.cat((gate, torch.ones(4)))).tolist() == [0.0, 0.0, 0.0, 1e4]


def test_softcap() -> None:
    logits = torch.linspace(-12, 12, 4001)
    expected = 30 * torch.tanh(logits.double())
    torch.testing.assert_close(softcap(logits.clone(), 30.0).double(), expected, rtol=0, atol=1e-5)
    ends = softcap(torch.tensor([-torch.inf, -1e30, 0.0, 1e30, torch.inf, torch.nan]), 30.0)
    assert ends[:5].tolist() == [-30.0, -30.0, 0.0, 30.0, 30.0] and ends[5].isnan()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("kind", ["sliding", "full"])
def test_rotary_embedding(name: str, kind: str) -> None:
    from transformers import DiffusionGemmaConfig
    from transformers.models.diffusion_gemma.modeling_diffusion_gemma import (
        DiffusionGemmaTextRotaryEmbedding,
        apply_rotary_pos_emb,
    )

    if kind not in SPECS[name].layer_types:
        pytest.skip(f"{name} has no {kind} layer")
    text: Any = DiffusionGemmaConfig.from_pretrained(tiny_checkpoint(name)).text_config
    layer = next(one for one in ModelConfig.from_directory(tiny_checkpoint(name)).layers if one.kind == kind)
    rope = ModelConfig.from_directory(tiny_checkpoint(name)).rope(layer.kind)
    x = torch.randn(1, 6, 3, layer.head_dim)
    start = 200
    factors = DiffusionGemmaTextRotaryEmbedding(text)(x, torch.arange(start, start + 6)[None], f"{kind}_attention")
    expected = apply_rotary_pos_emb(x, factors[0], factors[1], unsqueeze_dim=2)
    table = RotaryTable(rope, layer.head_dim, torch.device("cpu"))
    torch.testing.assert_close(rotate(x, *table.range(start, 6)), expected, rtol=1e-6, atol=1e-6)


def test_rotary_ranges_are_kept_but_not_for_ever() -> None:
    table = RotaryTable(RopeConfig(100.0), 8, torch.device("cpu"))
    first = table.range(0, 4)
    assert table.range(0, 4)[0] is first[0]
    for start in range(100):
        table.range(start, 5)
    assert len(table._ranges) <= 8
    assert torch.equal(table.range(0, 4)[0], first[0])


def _experts_written_out(x: Tensor, weights: Tensor, index: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    rows = []
    for token, (own_weights, own_experts) in enumerate(zip(weights, index.tolist(), strict=True)):
        outputs = [gated_gelu(x[token] @ gate_up[expert]) @ down[expert] for expert in own_experts]
        rows.append(sum(weight * output for weight, output in zip(own_weights, outputs, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 4, 2), (9, 4, 2), (64, 3, 1), (5, 16, 8), (7, 2, 2)])
def test_experts(tokens: int, experts: int, top_k: int) -> None:
    torch.manual_seed(tokens)
    x, scores = torch.randn(tokens, 12), torch.randn(tokens, experts)
    gate_up, down = torch.randn(experts, 12, 20) / 4, torch.randn(experts, 10, 12) / 3
    weights, index = route(scores, top_k, torch.rand(experts) + 0.5)
    expected = _experts_written_out(x, weights, index, gate_up, down)
    actual = apply_experts(x, weights, index, PlainExperts(gate_up), PlainExperts(down))
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


def test_routing_renormalises_over_the_chosen_and_then_scales() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, -1.0]])
    scale = torch.tensor([1.0, 3.0, 0.5, 1.0])
    weights, index = route(scores, 2, scale)
    probabilities = scores.softmax(-1)[0]
    total = probabilities[1] + probabilities[2]
    assert index.tolist() == [[1, 2]]
    expected = torch.stack((3.0 * probabilities[1] / total, 0.5 * probabilities[2] / total))
    torch.testing.assert_close(weights[0], expected)


@pytest.mark.parametrize(("start", "count"), [(0, 6), (0, 3), (5, 4), (9, 1)])
@pytest.mark.parametrize("window", [None, 3])
def test_causal_visibility(start: int, count: int, window: int | None) -> None:
    visible = causal(start, count, window, torch.device("cpu"))
    mask = visible.mask
    if visible.causal:
        mask = torch.ones(count, count, dtype=torch.bool).tril()
    for query in range(start, start + count):
        seen = {key for key in range(query + 1) if window is None or key > query - window}
        keys = range(visible.first, start + count)
        row = mask[query - start].tolist() if mask is not None else [True] * len(keys)
        assert {key for key, sees in zip(keys, row, strict=True) if sees} == seen


def test_a_canvas_sees_one_less_than_the_window_before_it() -> None:
    assert everything(20, 8).first == 13
    assert everything(5, 8).first == 0
    assert everything(20, None).first == 0
    assert everything(20, 8).mask is None


def test_reading_a_prompt_leaves_out_what_nobody_needs_of_the_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys and values are kept; its attention and its feed-forward lead to logits that are not asked for."""
    model = load_model(tiny_checkpoint("base"))
    whole = Stack._feed_forward
    passed: list[int] = []

    def counted(stack: Stack, index: int, *rest: Any) -> Tensor:
        passed.append(index)
        return whole(stack, index, *rest)

    monkeypatch.setattr(Stack, "_feed_forward", counted)
    layers = list(range(len(model.stack)))
    cache = model.new_cache()
    model.encode(torch.tensor([2, 5, 7]), cache)
    assert passed == layers[:-1]
    passed.clear()
    model.score(torch.tensor([5, 7]), cache)
    assert passed == layers
