"""Bytes are foretold as the engine really takes them: weights to the byte, the rest from above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dgengine import answer, attention, cache, footprint, model, rope, sampler, weights
from dgengine.cache import KVCache
from dgengine.checkpoint import load_model
from dgengine.config import LayerConfig, ModelConfig
from dgengine.footprint import Precision, cache_bytes, precision_of, weight_bytes, workspace
from dgengine.full_model import FULL, VISION, vision_shapes
from dgengine.infill import run, side_by_side
from dgengine.model import Model
from dgengine.quantized.forms import Recipe
from dgengine.sampler import BlockSampler
from dgengine.sampling import Sampling
from dgengine.weights import expected_shapes
from dgkernels import tiles
from dgkernels.outcome import Softmax
from tests.engine import layouts, tiny
from tests.engine.layouts import Layout
from tests.engine.tiny import TinySpec, make_checkpoint, tiny_checkpoint

CPU = torch.device("cpu")
FORMS: tuple[footprint.Form | None, ...] = (None, "nvfp4", "fp8", "nf4")
PLAIN = Precision("plain")

Walk: TypeAlias = list[tuple[str, int]]
"""What is done with a cache, and to how many tokens."""


def test_what_the_engine_says_is_what_is_reckoned_with() -> None:
    assert footprint.PASS == answer.CHUNK
    assert {"cuda": model._DEFAULT_SLACK, **model._SLACK} == footprint.SLACK
    assert (footprint.FIRST_CAPACITY, footprint.LARGEST_GROWTH) == (cache._FIRST_CAPACITY, cache._LARGEST_GROWTH)
    assert (footprint.MASK_ELEMENTS, footprint.SMALLEST_PASS) == (model._MASK_ELEMENTS, model._SMALLEST_CHUNK)
    assert (footprint.POOL_ELEMENTS, footprint.FINISHED) == (side_by_side.POOL_ELEMENTS, run.FINISHED)
    assert (footprint.DRAW_GROUP, footprint.FILLED_ROWS) == (sampler._GROUP, weights._VECTOR)
    assert footprint.KEPT_RANGES == rope._KEPT_RANGES
    assert footprint.SHARES == tiles._MOST_SPLITS


# weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("spec", tiny.SPECS)
def test_plain_weights(spec: str, dtype: torch.dtype) -> None:
    loaded = load_model(tiny_checkpoint(spec), dtype=dtype, kernels=False)
    assert weight_bytes(loaded.config, replace(PLAIN, width=dtype.itemsize), "cpu").total == loaded.weight_bytes()


@pytest.mark.parametrize("dense", FORMS)
@pytest.mark.parametrize("experts", FORMS)
@pytest.mark.parametrize("spec", ["few", "wide"])
def test_weights_quantised_while_loading(
    spec: str, experts: footprint.Form | None, dense: footprint.Form | None
) -> None:
    if spec == "few" and "nf4" in (experts, dense):
        pytest.skip("its rows of 32 have no block of 64")
    source = layouts.checkpoint("plain-apart", spec).plain
    loaded = load_model(source, dtype=torch.bfloat16, recipe=Recipe(experts, dense))
    precision = Precision("any", experts, dense, dense, dense)
    assert weight_bytes(loaded.config, precision, "cpu").total == loaded.weight_bytes()


@pytest.mark.parametrize("spec", layouts.SPECS)
@pytest.mark.parametrize(
    ("layout", "precision"),
    [
        ("plain-apart", "bfloat16"),
        ("modelopt-nvfp4", "nvfp4"),
        ("compressed-nvfp4", "nvfp4-mlp"),
        ("compressed-fp8", "fp8"),
    ],
)
def test_weights_of_the_published_layouts(layout: Layout, precision: str, spec: str) -> None:
    loaded = load_model(layouts.checkpoint(layout, spec).coded, dtype=torch.bfloat16)
    assert weight_bytes(loaded.config, precision_of(precision), "cpu").total == loaded.weight_bytes()


@pytest.mark.parametrize(
    ("precision", "gigabytes"), [("bfloat16", 51.6), ("nvfp4", 18.8), ("nvfp4-mlp", 18.05), ("fp8", 27.2)]
)
def test_the_full_model_takes_what_its_published_files_do(precision: str, gigabytes: float) -> None:
    total = weight_bytes(FULL, precision_of(precision), vision=VISION).total
    assert total / 1e9 == pytest.approx(gigabytes, rel=0.002)


def test_the_parts_of_a_plain_model_are_all_its_parameters() -> None:
    parts = weight_bytes(FULL, precision_of("bfloat16"))
    expected = 2 * sum(torch.Size(shape).numel() for shape in expected_shapes(FULL).values())
    assert parts.vision == 0
    assert parts.total == pytest.approx(expected, rel=1e-3)  # norms and scales are widened
    vision = 2 * sum(torch.Size(shape).numel() for shape in vision_shapes().values())
    assert weight_bytes(FULL, precision_of("bfloat16"), vision=VISION).vision == vision


def test_a_precision_that_is_not_known() -> None:
    with pytest.raises(ValueError, match="no precision 'int3': give one of float32, bfloat16"):
        precision_of("int3")


# keys and values

SMALL = replace(
    FULL,
    layers=(LayerConfig("sliding", 64, 2), LayerConfig("full", 128, 1)),
    num_attention_heads=2,
    sliding_window=96,
    canvas_length=48,
)


@contextmanager
def watched(config: ModelConfig) -> Iterator[tuple[KVCache, list[int]]]:
    """A cache, and the bytes that were there at the height of each growth."""
    kept = KVCache(config, CPU, torch.bfloat16, footprint.SLACK["cuda"])
    heights: list[int] = []
    moved = cache.LayerCache._moved

    def watching(layer: cache.LayerCache, buffer: Tensor, first: int, last: int, capacity: int) -> Tensor:
        result = moved(layer, buffer, first, last, capacity)
        heights.append(kept.nbytes() + result.nbytes)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache.LayerCache, "_moved", watching)
        yield kept, heights


def walk(kept: KVCache, steps: Walk, canvas: int) -> int:
    """Encodes, denoises and rolls back; returns the most tokens there ever were, a canvas included."""
    most = 0
    for what, count in steps:
        if what == "back":
            kept.rollback(max(0, kept.length - count))
            continue
        extra = count if what == "encode" else canvas
        kept.reserve(extra)
        most = max(most, kept.length + extra)
        if what == "encode":
            kept.commit(torch.zeros(extra, dtype=torch.int64))
    return most


step = st.one_of(
    st.tuples(st.just("encode"), st.one_of(st.just(footprint.PASS), st.integers(1, footprint.PASS))),
    st.tuples(st.just("denoise"), st.just(0)),
    st.tuples(st.just("back"), st.integers(1, 3000)),
)


@given(st.lists(step, min_size=1, max_size=60))
def test_a_cache_never_takes_more_than_is_foretold(steps: Walk) -> None:
    with watched(SMALL) as (kept, heights):
        context = walk(kept, steps, SMALL.canvas_length)
        foretold = cache_bytes(SMALL, max(context, 1), width=2)
        assert kept.nbytes() <= foretold.total - foretold.growing
        assert max(heights, default=0) <= foretold.total


@given(st.integers(1, 40), st.integers(0, 40))
def test_what_is_foretold_is_at_most_double(passes: int, blocks: int) -> None:
    """In a chat that only ever goes on; a first buffer may be a few tokens larger than what it is asked for."""
    block = [("denoise", 0), ("encode", SMALL.canvas_length)]
    with watched(SMALL) as (kept, _):
        context = walk(kept, [("encode", footprint.PASS)] * passes + block * blocks, SMALL.canvas_length)
        foretold = cache_bytes(SMALL, context, width=2)
        assert foretold.total - foretold.growing <= 2.1 * kept.nbytes()
        assert kept.nbytes() >= footprint.least_cache_bytes(SMALL, kept.length, width=2)


@given(st.integers(1, FULL.max_position_embeddings - 1))
def test_a_longer_context_never_takes_less(context: int) -> None:
    assert cache_bytes(FULL, context, 2).total <= cache_bytes(FULL, context + 1, 2).total
    precision = precision_of("nvfp4+fp8")
    # with one token more of context a pass may become shorter by one of at least 64
    less, more = (workspace(FULL, precision, tokens).peak for tokens in (context, context + 1))
    assert less <= more * 65 / 64


# what a pass needs


@dataclass(frozen=True)
class Peaks:
    """The most bytes that were allocated at once, beside weights, keys and values."""

    denoising: int
    encoding: int


MIDDLE = TinySpec(
    vocab_size=8192, hidden_size=128, intermediate_size=192, layer_types=("sliding", "sliding", "full"),
    num_attention_heads=4, num_key_value_heads=2, head_dim=32, global_head_dim=64, sliding_window=128,
    num_experts=16, top_k_experts=2, moe_intermediate_size=64, canvas_length=64, max_position_embeddings=4096,
)  # fmt: skip
CONTEXT = 1024


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TinySpec], Any]:
    def made(spec: TinySpec) -> Any:
        return make_checkpoint(tmp_path_factory.mktemp("middle"), spec, dtype=torch.bfloat16)

    return made


def allocated(action: Callable[[], object]) -> int:
    """The most that an action held at once of what it allocated."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def measured(loaded: Model) -> Peaks:
    """Of the last pass of a prompt that fills the context up to a canvas, and of the second step after it."""
    config = loaded.config
    kept = loaded.new_cache(footprint.SLACK["cuda"])
    prompt = torch.arange(CONTEXT - config.canvas_length) % config.vocab_size
    loaded.encode(prompt[: -footprint.PASS], kept)
    kept.reserve(footprint.PASS + config.canvas_length)
    before = footprint.logits_bytes(config) + footprint._rotary(config)  # what was there before the action
    encoding = before + allocated(lambda: loaded.encode(prompt[-footprint.PASS :], kept))
    block = BlockSampler(
        Sampling().resolve({}), config.canvas_length, config.vocab_size, torch.Generator(), loaded.dtype
    )

    def step() -> None:
        previous = block.self_conditioning
        assert not isinstance(previous, Softmax)
        block.step(loaded.decode(block.canvas, kept, previous))

    step()
    return Peaks(before + allocated(step), encoding)


@pytest.mark.parametrize("experts", [16, 4], ids=["routed", "joined"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "nvfp4+fp8"])
def test_passes_allocate_what_is_foretold(middle: Callable[[TinySpec], Any], precision: str, experts: int) -> None:
    own = precision_of(precision)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    source = middle(replace(MIDDLE, num_experts=experts))
    loaded = load_model(source, dtype=dtype, recipe=Recipe(own.experts, own.mlp), kernels=False)
    peaks, foretold = measured(loaded), workspace(loaded.config, own, CONTEXT, "cpu")
    denoising = max(foretold.conditioning, foretold.layers, foretold.head, foretold.sampling)
    assert 0.5 * denoising <= peaks.denoising <= denoising
    assert 0.3 * foretold.encoding <= peaks.encoding <= foretold.encoding


def test_attention_with_a_mask_asks_for_what_a_fused_kernel_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's fused kernels for GPUs take a mask, or heads that share keys, but not both."""
    asked: list[dict[str, Any]] = []

    def watching(queries: Tensor, *_: Tensor, **options: Any) -> Tensor:
        asked.append(options)
        return queries

    monkeypatch.setattr(F, "scaled_dot_product_attention", watching)
    queries = torch.empty(16, 5, 8, device="meta")
    keys = torch.empty(2, 9, 8, device="meta")
    mask = torch.empty(5, 9, dtype=torch.bool, device="meta")
    attention.attend(queries, keys, keys, attention.Visibility(0, mask))
    assert not any(options.get("enable_gqa") for options in asked)
