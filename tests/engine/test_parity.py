"""The model against transformers' own, on tiny random checkpoints that differ in every dimension."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import dgengine.cache
import dgengine.model
from dgengine.cache import KVCache
from dgengine.checkpoint import load_model
from dgengine.model import Model
from tests.amounts import examples
from tests.engine.tiny import SPECS, TinySpec, tiny_checkpoint

PROMPT = 40  # at least twice every window of SPECS
TOLERANCE = 1e-4
names = pytest.mark.parametrize("name", SPECS)


@pytest.fixture(autouse=True, scope="module")
def small_buffers() -> Iterator[None]:
    """Buffers without spare room, so that the few tokens of these tests make sliding layers drop old ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dgengine.cache, "_FIRST_CAPACITY", 1)
        yield


@dataclass(frozen=True)
class Reference:
    """transformers' model, and what its causal head does not offer."""

    model: Any

    def encode(self, ids: Tensor, batch: int = 1) -> Any:
        """ids [T] -> its cache, after `batch` copies of them."""
        with torch.no_grad():
            return self.model.model.encoder(input_ids=ids.expand(batch, -1)).past_key_values

    def decode(self, canvas: Tensor, past: Any, self_conditioning: Tensor | None = None) -> Tensor:
        """canvas [B, C] -> logits [B, C, V]."""
        conditioning = None if self_conditioning is None else self_conditioning.to(self.model.dtype)
        with torch.no_grad():
            out = self.model(decoder_input_ids=canvas, past_key_values=past, self_conditioning_logits=conditioning)
        return cast("Tensor", out.logits)

    def score(self, ids: Tensor) -> Tensor:
        """ids [T] -> log-probabilities [T - 1] of ids[1:]."""
        cap = self.model.final_logit_softcapping
        with torch.no_grad():
            hidden = self.model.model.encoder(input_ids=ids[None]).last_hidden_state
            logits = cap * torch.tanh(self.model.lm_head(hidden).float() / cap)
        return cast("Tensor", logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0])


@functools.cache
def ours(name: str, dtype: torch.dtype = torch.float32) -> Model:
    return load_model(tiny_checkpoint(name), dtype=dtype)


@functools.cache
def reference(name: str, attention: str = "sdpa", dtype: torch.dtype = torch.float32) -> Reference:
    from transformers import DiffusionGemmaForBlockDiffusion

    model = DiffusionGemmaForBlockDiffusion.from_pretrained(
        tiny_checkpoint(name), attn_implementation=attention, dtype=dtype
    )
    return Reference(model.eval())


@dataclass(frozen=True)
class Inputs:
    """Random inputs of one spec: prompt [PROMPT], canvases [3, C], logits of a step before [3, C, V]."""

    prompt: Tensor
    canvases: Tensor
    logits: Tensor

    @classmethod
    def of(cls, spec: TinySpec, seed: int = 0) -> Inputs:
        generator = torch.Generator().manual_seed(seed)
        vocab, canvas = spec.vocab_size, spec.canvas_length
        return cls(
            torch.randint(vocab, (PROMPT,), generator=generator),
            torch.randint(vocab, (3, canvas), generator=generator),
            4 * torch.randn(3, canvas, vocab, generator=generator),
        )


def encoded(model: Model, *pieces: Tensor, slack: int | None = None) -> KVCache:
    cache = model.new_cache(slack)
    for piece in pieces:
        model.encode(piece, cache)
    return cache


def assert_agrees(actual: Tensor, expected: Tensor, eager: Tensor) -> None:
    """The agreed tolerance: 1e-4, or four times what the reference's two kinds of attention differ by."""
    allowed = max(TOLERANCE, 4 * (expected - eager).abs().max().item())
    assert actual.shape == expected.shape
    assert actual.dtype == torch.float32
    worst = (actual - expected).abs().max().item()
    assert worst <= allowed, f"largest difference {worst:.2e}, allowed {allowed:.2e}"


def both_references(name: str, run: Any) -> tuple[Tensor, Tensor]:
    return run(reference(name)), run(reference(name, "eager"))


def test_the_specs_differ_in_every_dimension() -> None:
    windows = [spec.sliding_window for spec in SPECS.values()]
    assert len(SPECS) >= 6
    assert 2 * max(windows) < PROMPT
    for field in ("hidden_size", "num_experts", "top_k_experts", "num_attention_heads", "head_dim",
                  "global_head_dim", "sliding_window", "canvas_length", "layer_types", "vocab_size"):  # fmt: skip
        assert len({getattr(spec, field) for spec in SPECS.values()}) >= 5, field
    for field in ("num_key_value_heads", "num_global_key_value_heads", "intermediate_size", "moe_intermediate_size"):
        assert len({getattr(spec, field) for spec in SPECS.values()}) >= 2, field


@names
@pytest.mark.parametrize("pieces", [[PROMPT], [1, 6, 17, PROMPT - 24]], ids=["one piece", "four pieces"])
@pytest.mark.parametrize("conditioned", [False, True], ids=["first step", "later step"])
def test_decode(name: str, pieces: list[int], conditioned: bool) -> None:
    inputs = Inputs.of(SPECS[name])
    logits = inputs.logits[0] if conditioned else None
    cache = encoded(ours(name), *inputs.prompt.split(pieces), slack=0)

    def run(ref: Reference) -> Tensor:
        past = ref.encode(inputs.prompt)
        return ref.decode(inputs.canvases[:1], past, None if logits is None else logits[None])[0]

    assert_agrees(ours(name).decode(inputs.canvases[0], cache, logits), *both_references(name, run))


@names
@pytest.mark.parametrize("conditioned", [False, True], ids=["first step", "later step"])
def test_decode_of_a_batch(name: str, conditioned: bool) -> None:
    inputs = Inputs.of(SPECS[name], seed=1)
    logits = inputs.logits if conditioned else None
    cache = encoded(ours(name), inputs.prompt)

    def run(ref: Reference) -> Tensor:
        return ref.decode(inputs.canvases, ref.encode(inputs.prompt, batch=3), logits)

    actual = ours(name).decode(inputs.canvases, cache, logits)
    assert_agrees(actual, *both_references(name, run))
    alone = ours(name).decode(inputs.canvases[2], cache, None if logits is None else logits[2])
    assert (actual[2] - alone).abs().max() <= TOLERANCE


@names
def test_second_canvas(name: str) -> None:
    inputs = Inputs.of(SPECS[name], seed=2)
    first, second = inputs.canvases[:2]
    model = ours(name)
    cache = encoded(model, inputs.prompt, slack=0)
    model.decode(second, cache, inputs.logits[0])  # leaves nothing behind
    model.encode(first, cache)

    def run(ref: Reference) -> Tensor:
        past = ref.encode(torch.cat((inputs.prompt, first)))
        return ref.decode(second[None], past, inputs.logits[:1])[0]

    assert_agrees(model.decode(second, cache, inputs.logits[0]), *both_references(name, run))


@names
@pytest.mark.parametrize("prefix", [0, 1, 3, 29])
def test_score(name: str, prefix: int) -> None:
    ids = Inputs.of(SPECS[name], seed=3).prompt
    cache = encoded(ours(name), ids[:prefix], slack=0)
    actual = ours(name).score(ids[prefix:], cache)
    if prefix == 0:
        uniform = -torch.tensor(float(SPECS[name].vocab_size)).log()
        assert torch.isclose(actual[0], uniform)
        actual = actual[1:]
    first = max(0, prefix - 1)
    assert_agrees(actual, *both_references(name, lambda ref: ref.score(ids)[first:]))
    assert cache.length == prefix


def test_score_and_decode_leave_the_cache_as_it_was() -> None:
    inputs = Inputs.of(SPECS["base"], seed=4)
    model = ours("base")
    cache = encoded(model, inputs.prompt, slack=0)
    before = [tensor.clone() for layer in range(3) for tensor in cache.read(layer, PROMPT - 8, PROMPT)]
    once = model.decode(inputs.canvases[0], cache)
    model.score(inputs.prompt.repeat(5), cache)
    again = model.decode(inputs.canvases[0], cache)
    after = [tensor for layer in range(3) for tensor in cache.read(layer, PROMPT - 8, PROMPT)]
    assert torch.equal(once, again)
    assert cache.length == PROMPT
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_score_of_nothing_is_nothing() -> None:
    model = ours("base")
    nothing = torch.empty(0, dtype=torch.int64)
    assert model.score(nothing, model.new_cache()).shape == (0,)
    assert model.score(nothing, encoded(model, torch.arange(5))).shape == (0,)


def test_long_inputs_go_through_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Inputs.of(SPECS["deep"], seed=5)
    model = ours("deep")
    whole = model.decode(inputs.canvases[0], encoded(model, inputs.prompt))
    scores = model.score(inputs.prompt, model.new_cache())
    monkeypatch.setattr(dgengine.model, "_CHUNK", 7)
    monkeypatch.setattr(dgengine.model, "_SCORED_LOGITS", 3 * SPECS["deep"].vocab_size)
    chunked = model.decode(inputs.canvases[0], encoded(model, inputs.prompt, slack=0))
    assert (whole - chunked).abs().max() <= TOLERANCE
    assert (scores - model.score(inputs.prompt, model.new_cache(slack=0))).abs().max() <= TOLERANCE


def test_an_empty_cache_can_be_decoded_after() -> None:
    inputs = Inputs.of(SPECS["base"])
    logits = ours("base").decode(inputs.canvases[0], ours("base").new_cache())
    assert logits.isfinite().all()
    assert logits.std() > 0.1


def test_logits_may_be_changed_in_place_by_the_caller() -> None:
    model = ours("base")
    logits = model.decode(torch.arange(8), model.new_cache())
    logits.div_(2.0)
    assert not logits.requires_grad


@pytest.mark.parametrize(
    "canvas",
    [torch.zeros(8), torch.zeros(8, dtype=torch.int32), torch.zeros(1, 1, 8, dtype=torch.int64)],
    ids=["float", "int32", "rank 3"],
)
def test_ids_of_another_type_are_refused(canvas: Tensor) -> None:
    model = ours("base")
    with pytest.raises(ValueError, match="token ids must be int64"):
        model.decode(canvas, model.new_cache())


def test_self_conditioning_of_another_shape_is_refused() -> None:
    model = ours("base")
    with pytest.raises(ValueError, match="self-conditioning must be"):
        model.decode(torch.arange(8), model.new_cache(), torch.zeros(1, 8, model.config.vocab_size))


def test_parameters_are_counted_as_the_reference_counts_them() -> None:
    for name in SPECS:
        counted = {
            parameter.data_ptr(): parameter.numel()
            for key, parameter in reference(name).model.named_parameters()
            if "vision" not in key
        }
        scalars = 2 * len(SPECS[name].layer_types)  # buffers there
        assert ours(name).parameter_count() == sum(counted.values()) + scalars


def _bfloat16_errors(name: str, seed: int) -> tuple[float, float]:
    """Root-mean-square error against float32 of our bfloat16 and of the reference's, with self-conditioning."""
    inputs = Inputs.of(SPECS[name], seed)
    exact = reference(name)
    expected = exact.decode(inputs.canvases[:1], exact.encode(inputs.prompt), inputs.logits[:1])[0]
    rough = reference(name, dtype=torch.bfloat16)
    theirs = rough.decode(inputs.canvases[:1], rough.encode(inputs.prompt), inputs.logits[:1])[0]
    model = ours(name, torch.bfloat16)
    actual = model.decode(inputs.canvases[0], encoded(model, inputs.prompt), inputs.logits[0])
    assert actual.dtype == torch.float32
    return (actual - expected).square().mean().sqrt().item(), (theirs - expected).square().mean().sqrt().item()


def test_bfloat16_is_as_close_to_float32_as_the_reference() -> None:
    # A rounding that tips one token to another expert costs more than all others together, on either side. So many
    # runs, and two means: over all, and the geometric one, in which no single run weighs more than another.
    errors = torch.tensor([_bfloat16_errors(name, seed) for name in SPECS for seed in range(16)])
    for mean in (errors.square().mean(0).sqrt(), errors.log().mean(0).exp()):
        own, theirs = mean.tolist()
        assert own <= 1.25 * theirs, f"ours {own:.4f}, the reference {theirs:.4f}"


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Appends of so many tokens, and roll-backs to so many per cent of the length."""
    step = st.tuples(st.just("append"), st.integers(1, 30)) | st.tuples(st.just("rollback"), st.integers(0, 100))
    first, last = draw(st.integers(1, 30)), draw(st.integers(1, 9))
    return [("append", first), *draw(st.lists(step, max_size=5)), ("append", last)]


@examples(60)
@given(
    history=histories(),
    name=st.sampled_from(["base", "deep", "many-experts", "panels"]),
    slack=st.sampled_from([0, 3, 20]),
)
def test_any_history_agrees_with_a_fresh_prefill(history: list[tuple[str, int]], name: str, slack: int) -> None:
    model, spec = ours(name), SPECS[name]
    generator = torch.Generator().manual_seed(len(history))
    text = torch.empty(0, dtype=torch.int64)
    cache = model.new_cache(slack)
    canvas = torch.randint(spec.vocab_size, (spec.canvas_length,), generator=generator)
    for kind, amount in history:
        if kind == "append":
            new = torch.randint(spec.vocab_size, (amount,), generator=generator)
            model.encode(new, cache)
            text = torch.cat((text, new))
        else:
            text = text[: len(text) * amount // 100]
            kept = cache.rollback(len(text))
            assert kept == cache.length <= len(text)
            model.encode(text[kept:], cache)
        assert torch.equal(cache.ids, text)
    fresh = encoded(model, text)
    assert (model.decode(canvas, cache) - model.decode(canvas, fresh)).abs().max() <= TOLERANCE
    assert (model.score(canvas, cache) - model.score(canvas, fresh)).abs().max() <= TOLERANCE
