"""The dimensions of the full model, known without its files.

They are those of the config.json of `google/diffusiongemma-26B-A4B-it` and of the headers of its shards: 1047 tensors,
51.6 GB in bfloat16. The vision tower is in every checkpoint; it is read when the first image comes (`dgengine.vision`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from dgengine.config import LayerConfig, ModelConfig, RopeConfig

Shape: TypeAlias = tuple[int, ...]

_LAYERS = 30
_FULL_EVERY = 6  # layers 5, 11, 17, 23, 29 see everything
_SLIDING = LayerConfig("sliding", head_dim=256, num_key_value_heads=8)
_FULL = LayerConfig("full", head_dim=512, num_key_value_heads=2)

FULL: Final = ModelConfig(
    vocab_size=262_144,
    hidden_size=2816,
    intermediate_size=2112,
    num_attention_heads=16,
    layers=tuple(_SLIDING if (index + 1) % _FULL_EVERY else _FULL for index in range(_LAYERS)),
    sliding_window=1024,
    rope_sliding=RopeConfig(theta=10_000.0),
    rope_full=RopeConfig(theta=1_000_000.0, rotated=0.25),
    max_position_embeddings=262_144,
    num_experts=128,
    top_k_experts=8,
    moe_intermediate_size=704,
    canvas_length=256,
)


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The vision tower (`gemma4_vision`); the names are those of transformers' `Gemma4VisionConfig`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    head_dim: int
    patch_size: int = 16
    position_embedding_size: int = 10_240


VISION: Final = VisionConfig(1152, 4304, num_hidden_layers=27, num_attention_heads=16, head_dim=72)
_CHANNELS = 3
_AXES = 2  # positions are looked up by row and by column


def vision_shapes(vision: VisionConfig = VISION, hidden_size: int = FULL.hidden_size) -> dict[str, Shape]:
    """Every vision tensor of a checkpoint, by its name there, with its shape; `hidden_size` is the text model's."""
    tower, width = "model.encoder.vision_tower", vision.hidden_size
    shapes: dict[str, Shape] = {
        f"{tower}.std_bias": (width,),
        f"{tower}.std_scale": (width,),
        f"{tower}.patch_embedder.position_embedding_table": (_AXES, vision.position_embedding_size, width),
        f"{tower}.patch_embedder.input_proj.weight": (width, _CHANNELS * vision.patch_size**2),
        "model.encoder.embed_vision.embedding_projection.weight": (hidden_size, width),
    }
    for index in range(vision.num_hidden_layers):
        own = _vision_layer(vision)
        shapes |= {f"{tower}.encoder.layers.{index}.{name}.weight": shape for name, shape in own.items()}
    return shapes


def _vision_layer(vision: VisionConfig) -> dict[str, Shape]:
    width, inner = vision.hidden_size, vision.intermediate_size
    heads = vision.num_attention_heads * vision.head_dim
    norms = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
    return {
        **{f"self_attn.{name}_proj.linear": (heads, width) for name in ("q", "k", "v")},
        "self_attn.o_proj.linear": (width, heads),
        "self_attn.q_norm": (vision.head_dim,),
        "self_attn.k_norm": (vision.head_dim,),
        "mlp.gate_proj.linear": (inner, width),
        "mlp.up_proj.linear": (inner, width),
        "mlp.down_proj.linear": (width, inner),
        **dict.fromkeys(norms, (width,)),
    }
