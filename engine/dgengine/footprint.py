"""How many bytes a model takes: its weights by part, keys and values, and what a pass needs besides.

Arithmetic on a `ModelConfig`, without torch: it mirrors what `weights`, `cache`, `model`, `sampler` and `infill` really
allocate, and the tests hold it against them. C is the canvas length, V the vocabulary, D the hidden size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from dgengine.config import LayerConfig, ModelConfig
from dgengine.full_model import VISION, VisionConfig, vision_shapes

Device: TypeAlias = Literal["cuda", "cpu"]
Form: TypeAlias = Literal["nvfp4", "fp8", "nf4"]

FLOAT32: Final = 4  # bytes
_FLOAT64 = 8
_BFLOAT16 = 2
_ID = 8  # an int64
_KERNEL_FORMS: Final = ("nvfp4", "nf4")
_BLOCK_SCALES: Final = {"nvfp4": 1 / 16, "nf4": 4 / 64}  # bytes of scales a weight: one E4M3 for 16, a float32 for 64

# What the engine's modules say; a test compares them.
PASS: Final = 512  # tokens of a prompt that a session encodes at once
SLACK: Final[dict[Device, int]] = {"cuda": 512, "cpu": 8192}  # tokens that sliding layers keep beyond their window
FIRST_CAPACITY: Final = 256
LARGEST_GROWTH: Final = 8192
MASK_ELEMENTS: Final = 2**24
SMALLEST_PASS: Final = 64
POOL_ELEMENTS: Final = 2**28
FINISHED: Final = 8
DRAW_GROUP: Final = 64
FILLED_ROWS: Final = 16
KEPT_RANGES: Final = 8
SHARES: Final = 8  # of the keys of a canvas' attention, at most
# What a graph of up to 1,500 launches, and cuBLAS' workspace on the stream that it is captured on, take: an assumption,
# on the safe side of what is usual.
GRAPH: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Precision:
    """How the weights are held. What has no form has the plain `width`; router, norms and embedding never have one.

    Attributes:
        name: for people and for `plan`.
        experts: of the experts.
        mlp: of the dense MLPs.
        attention: of the attention projections.
        conditioning: of the self-conditioning MLP.
        width: bytes of a plain weight, and of activations, keys and values.
    """

    name: str
    experts: Form | None = None
    mlp: Form | None = None
    attention: Form | None = None
    conditioning: Form | None = None
    width: int = _BFLOAT16

    @property
    def is_plain(self) -> bool:
        """Whether the layers have no quantised matrix."""
        return self.experts is self.mlp is self.attention is None


PRECISIONS: Final = (
    Precision("float32", width=FLOAT32),
    Precision("bfloat16"),
    Precision("fp8", "fp8", "fp8", "fp8"),  # as RedHatAI's FP8-dynamic has it
    Precision("nvfp4", "nvfp4"),  # as NVIDIA's has it: experts only
    Precision("nvfp4-mlp", "nvfp4", "nvfp4"),  # as RedHatAI's NVFP4 has it
    Precision("nvfp4+fp8", "nvfp4", "fp8", "fp8", "fp8"),
    Precision("nf4", "nf4"),
)
"""All that can be planned, the most exact first."""


def precision_of(name: str) -> Precision:
    """The precision of this name.

    Raises:
        ValueError: there is none.
    """
    found = next((precision for precision in PRECISIONS if precision.name == name), None)
    if found is None:
        raise ValueError(f"there is no precision {name!r}: give one of {', '.join(p.name for p in PRECISIONS)}")
    return found


# weights


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of the weights as held, by part. `vision` is 0 where the tower is not loaded."""

    experts: int
    attention: int
    mlp: int
    conditioning: int
    embedding: int
    router_and_norms: int
    vision: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


def weight_bytes(
    config: ModelConfig, precision: Precision, device: Device = "cuda", vision: VisionConfig | None = None
) -> WeightBytes:
    """What `Model.weight_bytes` gives for a model of this configuration, by part; with `vision`, its tower as well."""
    hidden, plain = config.hidden_size, precision.width
    layers = len(config.layers)
    return WeightBytes(
        experts=layers * expert_bytes(config, precision),
        attention=sum(_attention_bytes(config, layer, precision) for layer in config.layers),
        mlp=layers * _mlp_bytes(config, precision.mlp, plain),
        conditioning=_mlp_bytes(config, precision.conditioning, plain),
        embedding=config.vocab_size * hidden * plain,
        router_and_norms=2 * hidden * plain
        + sum(_small_bytes(config, each, precision, device) for each in config.layers),
        vision=vision_bytes(vision, hidden) if vision else 0,
    )


def expert_bytes(config: ModelConfig, precision: Precision) -> int:
    """Bytes of the experts of one layer."""
    hidden, width = config.hidden_size, config.moe_intermediate_size
    gate_up = matrix_bytes(precision.experts, 2 * width, hidden, precision.width, parts=2)
    return config.num_experts * (gate_up + matrix_bytes(precision.experts, hidden, width, precision.width))


def vision_bytes(vision: VisionConfig = VISION, hidden_size: int = 2816) -> int:
    """Bytes of the vision tower, in bfloat16 as every checkpoint has it."""
    return _BFLOAT16 * sum(math.prod(shape) for shape in vision_shapes(vision, hidden_size).values())


def matrix_bytes(form: Form | None, rows: int, columns: int, width: int, parts: int = 1) -> int:
    """Bytes of a matrix [rows, columns], out by in, codes and scales.

    Args:
        form: FP8 has a bfloat16 scale a row. NVFP4 has half a byte a weight, an E4M3 scale for 16 of them and a float32
            scale a tensor; NF4 half a byte and a float32 scale for 64.
        width: bytes of a weight where `form` is None.
        parts: tensors that were joined to this one, each of which keeps its float32 scale.
    """
    if form is None:
        return rows * columns * width
    if form == "fp8":
        return rows * columns + rows * _BFLOAT16
    scales = math.ceil(rows * columns * _BLOCK_SCALES[form])
    return math.ceil(rows * columns / 2) + scales + (parts * FLOAT32 if form == "nvfp4" else 0)


def _mlp_bytes(config: ModelConfig, form: Form | None, width: int) -> int:
    hidden, inner = config.hidden_size, config.intermediate_size
    return matrix_bytes(form, 2 * inner, hidden, width, parts=2) + matrix_bytes(form, hidden, inner, width)


def _attention_bytes(config: ModelConfig, layer: LayerConfig, precision: Precision) -> int:
    columns, queries = projected(config, layer), config.num_attention_heads * layer.head_dim
    parts = 3 if layer.kind == "sliding" else 2
    joined = matrix_bytes(precision.attention, columns, config.hidden_size, precision.width, parts)
    return joined + matrix_bytes(precision.attention, config.hidden_size, queries, precision.width)


def projected(config: ModelConfig, layer: LayerConfig) -> int:
    """The width of queries, keys and (sliding layers) values together: (H + 2 KV) d or (H + KV) d."""
    shares = 2 if layer.kind == "sliding" else 1
    return (config.num_attention_heads + shares * layer.num_key_value_heads) * layer.head_dim


def _small_bytes(config: ModelConfig, layer: LayerConfig, precision: Precision, device: Device) -> int:
    """Router and norms of a layer, as `weights` builds them."""
    hidden, experts, width = config.hidden_size, config.num_experts, precision.width
    factor = FLOAT32 if device == "cpu" else width  # a norm ends in float32 on a CPU
    after = 4 * hidden * factor  # after attention, both branches, and their sum
    heads = (config.num_attention_heads + layer.num_key_value_heads) * layer.head_dim * FLOAT32
    if config.computes_all_experts and precision.is_plain:
        # the norms before are part of the matrices, and the router is filled up
        return after + heads + experts * FLOAT32 + (experts + -experts % FILLED_ROWS) * hidden * width
    before = hidden * width + 3 * hidden * FLOAT32
    return before + after + heads + experts * FLOAT32 + experts * hidden * width


# keys and values


@dataclass(frozen=True, slots=True)
class CacheBytes:
    """Bytes of keys and values at a context.

    Attributes:
        full: of the layers that keep every token.
        sliding: of those that keep their window, and some slack.
        ids: of the token ids.
        growing: of a buffer that is copied to a larger one: both are there for a moment.
    """

    full: int
    sliding: int
    ids: int
    growing: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.full + self.sliding + self.ids + self.growing


def cache_bytes(config: ModelConfig, context: int, width: int, device: Device = "cuda") -> CacheBytes:
    """The most that `KVCache` takes by the time it holds `context` tokens, canvas included, however it got there.

    A buffer that is too small doubles, or grows by 8192 tokens where that is less: so it holds at most that much more
    than was ever asked of it.
    """
    sizes = [_layer_tokens(config, layer, context, device) for layer in config.layers]
    each = [2 * _grown(tokens) * _token_bytes(layer, width) for tokens, layer in zip(sizes, config.layers, strict=True)]
    full, sliding = _by_kind(config, each)
    halves = [max(0, n - 1) * _token_bytes(layer, width) for n, layer in zip(sizes, config.layers, strict=True)]
    return CacheBytes(full, sliding, 2 * context * _ID + FIRST_CAPACITY * _ID, max(halves))


def least_cache_bytes(config: ModelConfig, context: int, width: int) -> int:
    """The least that `KVCache` can hold at a context: every token in full layers, the window in sliding ones."""
    kept = [context if layer.kind == "full" else min(context, config.sliding_window) for layer in config.layers]
    return sum(2 * tokens * _token_bytes(layer, width) for tokens, layer in zip(kept, config.layers, strict=True))


def _layer_tokens(config: ModelConfig, layer: LayerConfig, context: int, device: Device) -> int:
    if layer.kind == "full":
        return context
    return min(context, config.sliding_window + SLACK[device] + max(PASS, config.canvas_length))


def _grown(tokens: int) -> int:
    """The largest buffer that asking for up to `tokens` can lead to."""
    before = tokens - 1  # one that was a token too small
    return max(FIRST_CAPACITY, tokens, before + min(before, LARGEST_GROWTH))


def _token_bytes(layer: LayerConfig, width: int) -> int:
    """Keys alone, of one token; values take as much."""
    return layer.num_key_value_heads * layer.head_dim * width


def _by_kind(config: ModelConfig, amounts: list[int]) -> tuple[int, int]:
    pairs = list(zip(config.layers, amounts, strict=True))
    return (
        sum(amount for layer, amount in pairs if layer.kind == "full"),
        sum(amount for layer, amount in pairs if layer.kind == "sliding"),
    )


# what a pass needs


@dataclass(frozen=True, slots=True)
class Workspace:
    """Bytes that are live at the height of each phase, beside weights, keys and values; one phase is over when the next
    begins, so `peak` is what must be free.

    The phases of a step, and the encoding between two canvases. All hold the rotary factors, and the self-conditioning,
    float32 [C, V], from the step before.

    Attributes:
        conditioning: logits in the weights' width, their softmax, and the product with the embedding.
        layers: one layer of the canvas.
        head: logits in the weights' width, and the float32 that they become.
        sampling: the logits, and two more float32 [C, V] for shifted logits and their exponentials.
        encoding: one layer of `PASS` tokens of the prompt.
        captured: where a step is a graph: what that holds all the time, and the encoding beside it, without the float32
            [C, V]. Graphs are let go of before the phases of a step that is none. 0 where steps cannot be captured.
    """

    conditioning: int
    layers: int
    head: int
    sampling: int
    encoding: int
    captured: int = 0

    @property
    def peak(self) -> int:
        """The largest."""
        return max(self.conditioning, self.layers, self.head, self.sampling, self.encoding, self.captured)


def workspace(config: ModelConfig, precision: Precision, context: int, device: Device = "cuda") -> Workspace:
    """What the torch path allocates in one denoising step and in encoding, at a context.

    Where torch's attention has fused kernels: on a CPU, and on GPUs of compute capability 8.0 or more in bfloat16.
    Without a trace of alternatives and without `Sampling.reference`, which are for study and take up to twice as much.
    """
    canvas, logits = config.canvas_length, logits_bytes(config)
    held = logits + _rotary(config)
    narrow = logits * precision.width // FLOAT32
    decoded = _decoded_bytes(config, precision)

    def layer(rows: int) -> int:
        return _activations(config, precision.width, rows, device) + decoded

    encoding = held + layer(PASS) + _masked(config, precision.width, context)
    graph = _graph(config, precision.width, layer(canvas)) if device == "cuda" and _captures(config, precision) else 0
    copies = 1 if precision.width == FLOAT32 else 2  # float32 logits are not converted, and so are not there twice
    return Workspace(
        conditioning=held + copies * narrow + layer(canvas),
        layers=held + layer(canvas),
        head=held + logits + (copies - 1) * narrow + _rows(config, canvas, FLOAT32),
        sampling=held + 3 * logits + _drawing(config),
        encoding=encoding,
        captured=graph + encoding - logits if graph else 0,
    )


def _captures(config: ModelConfig, precision: Precision) -> bool:
    """Whether kernels compute the experts, or all of them are computed: what `Model.has_fixed_shapes` says."""
    joined = config.computes_all_experts and precision.is_plain
    return precision.width == _BFLOAT16 and (precision.experts in _KERNEL_FORMS or joined)


def _graph(config: ModelConfig, width: int, layer: int) -> int:
    """The softmax bfloat16 [C, V], what is live in a layer, the signal in float32 and two bfloat16, and `GRAPH`.

    Args:
        width: bytes of an activation.
        layer: what is live by torch.
    """
    softmax = logits_bytes(config) * _BFLOAT16 // FLOAT32
    live = max(layer, _attended_by_kernel(config, width))
    return softmax + live + _rows(config, config.canvas_length, FLOAT32 + 2 * _BFLOAT16) + GRAPH


def _attended_by_kernel(config: ModelConfig, width: int) -> int:
    """A canvas' attention by `dgkernels.attention`: what was projected, queries, result, and float32 parts of this."""
    canvas, heads = config.canvas_length, config.num_attention_heads
    parts = SHARES * FLOAT32 + 2 * width
    each = (projected(config, layer) * width + heads * (layer.head_dim * parts) for layer in config.layers)
    sums = 2 * SHARES * heads * FLOAT32
    return _rows(config, canvas, 3 * width) + canvas * (max(each) + sums)


def infill_workspace(config: ModelConfig, precision: Precision, candidates: int = 3, device: Device = "cuda") -> int:
    """What denoising the candidates of an infill side by side allocates, in place of `Workspace.peak`.

    Each candidate that is kept has its self-conditioning; some of them, as many as fit 2**28 logits, take a step
    together.
    """
    one = logits_bytes(config)
    together = max(1, POOL_ELEMENTS // (config.canvas_length * config.vocab_size))
    kept = max(candidates + 1, FINISHED)
    if precision.width == FLOAT32:  # what is kept of a batch is a view, and holds all of it
        own, head = kept * together * one, 2 * together * one
    else:
        own, head = kept * one, together * (2 * one + one * precision.width // FLOAT32)
    trying = own + (2 * together + 1) * one + _drawing(config)
    rows = together * config.canvas_length
    return max(own + head, trying) + _activations(config, precision.width, rows, device) + _rotary(config)


def fp8_head_bytes(config: ModelConfig) -> int:
    """What `Engine.load(fp8_head=True)` holds beside the embedding: its codes in FP8, and a float32 scale a word."""
    return config.vocab_size * (config.hidden_size + FLOAT32)


def logits_bytes(config: ModelConfig) -> int:
    """A float32 [C, V]."""
    return config.canvas_length * config.vocab_size * FLOAT32


def _rotary(config: ModelConfig) -> int:
    """Cosines and sines in float32 of the ranges of positions that are kept, for each kind of layer."""
    kinds = {layer.kind: layer.head_dim for layer in config.layers}
    return KEPT_RANGES * max(PASS, config.canvas_length) * 2 * sum(kinds.values()) * FLOAT32


def _drawing(config: ModelConfig) -> int:
    """Partial sums of the vocabulary in float32, running ones in float64, and a comparison of these."""
    groups = config.vocab_size // math.gcd(config.vocab_size, DRAW_GROUP)
    return config.canvas_length * (groups * (FLOAT32 + 2 * _FLOAT64) + 8 * DRAW_GROUP * _FLOAT64)


def _rows(config: ModelConfig, rows: int, width: int) -> int:
    return rows * config.hidden_size * width


def _activations(config: ModelConfig, width: int, rows: int, device: Device) -> int:
    """A layer's intermediates: the residual's copies, and the larger of attention's and the feed-forward's."""
    residual = FLOAT32 if device == "cpu" else width
    stream = _rows(config, rows, 3 * residual + width + FLOAT32)
    widest = max(projected(config, layer) for layer in config.layers)
    attention = rows * widest * (width + 4 * FLOAT32)  # raw, and normed, weighted and twice rotated in float32
    return stream + max(attention, _feed_forward(config, width, rows))


def _feed_forward(config: ModelConfig, width: int, rows: int) -> int:
    hidden, experts, inner = config.hidden_size, config.num_experts, config.moe_intermediate_size
    normed = rows * hidden * (2 * FLOAT32 + width)
    dense = rows * (hidden * width + 2 * config.intermediate_size * (width + FLOAT32))
    if config.computes_all_experts:
        all_inner = config.intermediate_size + experts * inner
        return normed + dense + rows * all_inner * (3 * width + 4 * FLOAT32)
    routed = rows * config.top_k_experts
    # gathered, gate and up, gated, grouped, in their places, and these times their weights in float32
    return normed + dense + routed * (3 * hidden * width + 2 * inner * width + inner * FLOAT32 + hidden * FLOAT32)


def _masked(config: ModelConfig, width: int, context: int) -> int:
    """What a fused kernel needs for a pass of the prompt: the mask, once for each of the heads that share keys, also as
    a bias in the weights' width; the queries, grouped, and what is accumulated in float32.

    The longer the context, the fewer tokens `Model` encodes at once. Denoising has no mask.
    """
    rows = min(PASS, max(SMALLEST_PASS, MASK_ELEMENTS // context))

    def layer(own: LayerConfig) -> int:
        seen = context if own.kind == "full" else min(context, config.sliding_window + rows)
        heads, group = config.num_attention_heads, config.num_attention_heads // own.num_key_value_heads
        return group * rows * seen * (1 + width) + rows * heads * own.head_dim * (width + FLOAT32)

    return rows * context + max(layer(own) for own in config.layers)


def _decoded_bytes(config: ModelConfig, precision: Precision) -> int:
    """The largest quantised matrix while it is decoded for a product: float32, then the weights' width."""
    hidden = config.hidden_size
    attention = max(projected(config, layer) for layer in config.layers)
    sizes: list[tuple[Form | None, int]] = [
        (precision.experts, 2 * config.moe_intermediate_size),
        (precision.mlp, 2 * config.intermediate_size),
        (precision.conditioning, 2 * config.intermediate_size),
        (precision.attention, attention),
    ]
    return max((rows * hidden * _decoding(form, precision.width) for form, rows in sizes if form), default=0)


def _decoding(form: Form, width: int) -> int:
    """Bytes a weight: NF4 is decoded straight into the width, the others in float32 and rounded once."""
    return width if form == "nf4" else width + FLOAT32
