"""The floor of one denoising step: each operation's bytes or operations, whichever take longer, one after the other.

A canvas of N tokens after a context, batch 1. Weights and the keys and values that are seen are read once, logits
written and probabilities read once in bfloat16. All experts are in use. No operation overlaps another.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.setting import Rates
from dgengine.config import LayerConfig, ModelConfig
from dgengine.footprint import Precision, projected, weight_bytes

_BF16 = 2  # bytes


@dataclass(frozen=True)
class Operation:
    """Bytes that it moves and floating-point operations that it takes, in all layers together."""

    name: str
    bytes: float
    flops: float


def operations(config: ModelConfig, precision: Precision, context: int) -> list[Operation]:
    """Those of a step after `context` tokens."""
    tokens, hidden = config.canvas_length, config.hidden_size
    held = weight_bytes(config, precision)
    layers = len(config.layers)
    routed = 6 * tokens * config.top_k_experts * hidden * config.moe_intermediate_size * layers
    mlp = 6 * tokens * hidden * config.intermediate_size
    router = 2 * tokens * hidden * config.num_experts * layers
    attention = sum(2 * tokens * _attention_weights(config, layer) for layer in config.layers)
    vocabulary = 2 * tokens * hidden * config.vocab_size
    logits = _BF16 * tokens * config.vocab_size
    return [
        Operation("experts", held.experts, routed),
        Operation("attention projections", held.attention, attention),
        Operation("dense MLP", held.mlp, mlp * layers),
        Operation("router and norms", held.router_and_norms, router),
        Operation("attention", *_attention(config, context)),
        Operation("head", held.embedding + logits, vocabulary),
        Operation("self-conditioning", held.embedding + logits + held.conditioning, vocabulary + mlp),
    ]


def _attention_weights(config: ModelConfig, layer: LayerConfig) -> int:
    return config.hidden_size * (projected(config, layer) + config.num_attention_heads * layer.head_dim)


def _attention(config: ModelConfig, context: int) -> tuple[float, float]:
    """Bytes of keys and values, and operations."""
    moved, flops = 0, 0
    for layer in config.layers:
        seen = context if layer.kind == "full" else min(context, config.sliding_window - 1)
        seen += config.canvas_length
        moved += 2 * _BF16 * seen * layer.num_key_value_heads * layer.head_dim
        flops += 4 * config.canvas_length * seen * config.num_attention_heads * layer.head_dim
    return moved, flops


def floor_seconds(config: ModelConfig, precision: Precision, context: int, rates: Rates) -> float:
    """Of a step, at what the device was measured to do; every product in bfloat16."""
    return sum(rates.floor(own.bytes, own.flops) for own in operations(config, precision, context))
