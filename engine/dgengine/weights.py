"""The weights as the engine wants them: projections that read the same input fused into one matrix.

Matrices are [in, out], so that a product is `x @ matrix`. A model that is small enough for all its experts to be
computed has its matrices packed as well (`dgengine.linear`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch
from torch import Tensor

from dgengine.config import LayerConfig, ModelConfig
from dgengine.linear import (
    Gated,
    JoinedGated,
    JoinedLinear,
    Linear,
    PlainLinear,
    packed_gated,
    packed_linear,
    transposed,
)
from dgengine.moe import Experts, PlainExperts
from dgengine.quantized.base import Quantized
from dgengine.quantized.matrices import QuantizedExperts, QuantizedLinear

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Shape: TypeAlias = tuple[int, ...]
Matrix: TypeAlias = Tensor | Quantized
"""A matrix [out, in] or a stack of them [E, out, in]: plain, or in codes."""
Take: TypeAlias = Callable[[str], Tensor]
"""Gives the tensor of a name."""
Report: TypeAlias = Callable[[float], None]
"""Told how much is done, 0 to 1."""

EMBEDDING = "model.decoder.embed_tokens.weight"
NORM = "model.decoder.norm.weight"
CONDITIONING = "model.decoder.self_conditioning"
# Columns of float32 in one AVX-512 register: a product whose last columns fill one needs no slow remainder.
_VECTOR = 16


class Source(Protocol):
    """Where weights come from, by their names in a plain checkpoint; all are given on the model's device."""

    def tensor(self, name: str) -> Tensor:
        """A tensor in the model's dtype."""

    def matrix(self, name: str) -> Matrix:
        """A projection [out, in], by its name without `.weight`; a plain one in the model's dtype."""

    def experts(self, name: str) -> Matrix:
        """A projection of all experts [E, out, in], by its name in a plain checkpoint; a plain one likewise."""

    def is_plain(self, prefix: str) -> bool:
        """Whether all matrices whose names begin with `prefix` and a dot are given as plain tensors."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The self-conditioning MLP: D hidden, F intermediate."""

    pre_norm: Tensor  # [D]
    gate_up: Gated  # [D, 2F]
    down: Linear  # [F, D]

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, each once."""
        yield from _tensors(self)


@dataclass(frozen=True, slots=True, eq=False)
class SeparateBranches:
    """The dense MLP, the router and the experts, each for itself.

    D hidden, F dense width, E experts of width X. What multiplies a float32 intermediate is kept in float32.
    """

    pre_dense: Tensor  # float32 [D], norm weight before the dense MLP
    gate_up: Gated  # [D, 2F]
    down: Linear  # [F, D]
    pre_router: Tensor  # float32 [D], router scale times D**-0.5
    router: Tensor  # [D, E]
    per_expert_scale: Tensor  # float32 [E]
    pre_experts: Tensor  # float32 [D], norm weight before the experts
    experts_gate_up: Experts  # E times [D, 2X]
    experts_down: Experts  # E times [X, D]
    post_norms: Tensor  # [2, 1, D], norms after the dense MLP and after the experts; float32 on a CPU


@dataclass(frozen=True, slots=True, eq=False)
class JoinedBranches:
    """The same where all experts are computed: what reads the residual is one matrix, with the norms' weights in it."""

    entry: Gated  # [D, 2 (F + E X) + E + fill]: the gates of MLP and experts, the ups in the same order, the router
    dense_width: int  # F
    down: Linear  # [F, D]
    experts_down: Linear  # [E X, D]
    per_expert_scale: Tensor  # float32 [E]
    post_norms: Tensor  # [2, 1, D]; float32 on a CPU


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """One layer: D hidden, H query heads and KV K/V heads of width d."""

    config: LayerConfig
    input_norm: Tensor | None  # [D]; None where it is part of `qkv`
    qkv: Linear  # [D, (H + 2 KV) d]; [D, (H + KV) d] in full layers, whose V is made from K
    qk_norm: Tensor  # float32 [H + KV, d]
    output: Linear  # [H d, D]
    post_attention_norm: Tensor  # [D]; float32 on a CPU
    branches: SeparateBranches | JoinedBranches
    post_feedforward: Tensor  # [D]; float32 on a CPU
    encoder_scalar: float
    decoder_scalar: float

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, each once."""
        yield from _tensors(self)
        yield from _tensors(self.branches)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """All text weights. The embedding is the output head too."""

    embedding: Tensor  # [V, D]
    norm: Tensor  # [D]
    conditioning: Conditioning
    layers: tuple[LayerWeights, ...]

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, each once."""
        yield from _tensors(self)
        for layer in self.layers:
            yield from layer.tensors()


def _tensors(part: DataclassInstance) -> Iterator[Tensor]:
    """The tensors among a part's fields, and what fields that tell theirs hold."""
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, Tensor):
            yield value
        elif hasattr(value, "tensors"):
            yield from value.tensors()


def expected_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Every text tensor that a checkpoint must hold, by its name there, with its shape."""
    hidden = config.hidden_size
    shapes: dict[str, Shape] = {EMBEDDING: (config.vocab_size, hidden), NORM: (hidden,)}
    shapes[f"{CONDITIONING}.pre_norm.weight"] = (hidden,)
    shapes |= _mlp_shapes(CONDITIONING, config)
    for index, layer in enumerate(config.layers):
        shapes |= _layer_shapes(config, layer, index)
    return shapes


def _mlp_shapes(prefix: str, config: ModelConfig) -> dict[str, Shape]:
    hidden, width = config.hidden_size, config.intermediate_size
    return {
        f"{prefix}.gate_proj.weight": (width, hidden),
        f"{prefix}.up_proj.weight": (width, hidden),
        f"{prefix}.down_proj.weight": (hidden, width),
    }


def _layer_shapes(config: ModelConfig, layer: LayerConfig, index: int) -> dict[str, Shape]:
    hidden, experts, width = config.hidden_size, config.num_experts, config.moe_intermediate_size
    own: dict[str, Shape] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "pre_feedforward_layernorm.weight": (hidden,),
        "pre_feedforward_layernorm_2.weight": (hidden,),
        "post_feedforward_layernorm.weight": (hidden,),
        "post_feedforward_layernorm_1.weight": (hidden,),
        "post_feedforward_layernorm_2.weight": (hidden,),
        "router.proj.weight": (experts, hidden),
        "router.scale": (hidden,),
        "router.per_expert_scale": (experts,),
        "experts.gate_up_proj": (experts, 2 * width, hidden),
        "experts.down_proj": (experts, hidden, width),
        "layer_scalar": (1,),
    }
    own |= _attention_shapes(config, layer) | _mlp_shapes("mlp", config)
    shapes = {f"{decoder_layer(index)}.{name}": shape for name, shape in own.items()}
    return shapes | {encoder_scalar(index): (1,)}


def _attention_shapes(config: ModelConfig, layer: LayerConfig) -> dict[str, Shape]:
    hidden, head = config.hidden_size, layer.head_dim
    queries, keys = config.num_attention_heads * head, layer.num_key_value_heads * head
    shapes: dict[str, Shape] = {
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "self_attn.q_norm.weight": (head,),
        "self_attn.k_norm.weight": (head,),
    }
    if layer.kind == "sliding":
        shapes["self_attn.v_proj.weight"] = (keys, hidden)
    return shapes


def decoder_layer(index: int) -> str:
    """The checkpoint's prefix of a layer; encoder and decoder share all of it but the layer scalar."""
    return f"model.decoder.layers.{index}"


def encoder_scalar(index: int) -> str:
    """The checkpoint's name of the layer scalar that encoding uses."""
    return f"model.encoder.language_model.layers.{index}.layer_scalar"


def build(
    config: ModelConfig,
    source: Source,
    report: Report = lambda done: None,
    arrange: Callable[[LayerWeights], LayerWeights] = lambda layer: layer,
) -> Weights:
    """Fuses the tensors that `source` gives for the names of `expected_shapes`, each taken once, layer by layer.

    Args:
        report: told the share that is done after every layer.
        arrange: what is made of each layer before the next one is read.
    """
    layers = []
    for layer in build_layers(config, source):
        layers.append(arrange(layer))
        report(len(layers) / (len(config.layers) + 1))
    conditioning = build_conditioning(config, source)
    return Weights(source.tensor(EMBEDDING), source.tensor(NORM), conditioning, tuple(layers))


def build_layers(config: ModelConfig, source: Source) -> Iterator[LayerWeights]:
    """The layers of `build`, each made when it is asked for, and not kept here."""
    for index, layer in enumerate(config.layers):
        yield _build_layer(config, layer, index, source)


def build_conditioning(config: ModelConfig, source: Source) -> Conditioning:
    """The self-conditioning MLP of `build`."""
    gate, up, down = (source.matrix(f"{CONDITIONING}.{name}_proj") for name in ("gate", "up", "down"))
    return Conditioning(
        pre_norm=source.tensor(f"{CONDITIONING}.pre_norm.weight"),
        gate_up=_gated(config, gate, up),
        down=_linear(config, down),
    )


def _build_layer(config: ModelConfig, layer: LayerConfig, index: int, source: Source) -> LayerWeights:
    prefix = decoder_layer(index)

    def own(name: str) -> Tensor:
        return source.tensor(f"{prefix}.{name}")

    def matrix(name: str) -> Matrix:
        return source.matrix(f"{prefix}.{name}")

    # the norms' weights become part of the matrices that they precede only where these are plain
    joined = config.computes_all_experts and source.is_plain(prefix)
    input_norm = own("input_layernorm.weight")
    projections = ("q_proj", "k_proj", "v_proj") if layer.kind == "sliding" else ("q_proj", "k_proj")
    qkv = [matrix(f"self_attn.{name}") for name in projections]
    return LayerWeights(
        config=layer,
        input_norm=None if joined else input_norm,
        qkv=_joined_linear(config, [with_norm(input_norm, _plain(part)) for part in qkv] if joined else qkv),
        qk_norm=_qk_norm(config, layer, own),
        output=_linear(config, matrix("self_attn.o_proj")),
        post_attention_norm=_factor(own("post_attention_layernorm.weight")),
        branches=_joined_branches(config, source, prefix) if joined else _separate_branches(config, source, prefix),
        post_feedforward=_factor(own("post_feedforward_layernorm.weight")),
        encoder_scalar=float(source.tensor(encoder_scalar(index))),
        decoder_scalar=float(own("layer_scalar")),
    )


def _separate_branches(config: ModelConfig, source: Source, prefix: str) -> SeparateBranches:
    def own(name: str) -> Tensor:
        return source.tensor(f"{prefix}.{name}")

    gate, up, down = (source.matrix(f"{prefix}.mlp.{name}_proj") for name in ("gate", "up", "down"))
    return SeparateBranches(
        pre_dense=own("pre_feedforward_layernorm.weight").float(),
        gate_up=JoinedGated(_joined_linear(config, (gate, up)), config.intermediate_size),
        down=_linear(config, down),
        pre_router=own("router.scale").float() * config.hidden_size**-0.5,
        router=transposed(own("router.proj.weight")),
        per_expert_scale=own("router.per_expert_scale").float(),
        pre_experts=own("pre_feedforward_layernorm_2.weight").float(),
        experts_gate_up=_experts(source.experts(f"{prefix}.experts.gate_up_proj")),
        experts_down=_experts(source.experts(f"{prefix}.experts.down_proj")),
        post_norms=_branch_norms(own),
    )


def _joined_branches(config: ModelConfig, source: Source, prefix: str) -> JoinedBranches:
    def own(name: str) -> Tensor:
        return source.tensor(f"{prefix}.{name}")

    pre_dense, pre_experts = own("pre_feedforward_layernorm.weight"), own("pre_feedforward_layernorm_2.weight")
    pre_router = own("router.scale").float() * config.hidden_size**-0.5
    experts_down = _plain(source.experts(f"{prefix}.experts.down_proj"))
    gates, ups = _plain(source.experts(f"{prefix}.experts.gate_up_proj")).chunk(2, dim=1)  # each [E, X, D]

    def both(dense: str, experts: Tensor) -> Tensor:
        """[F + E X, D]."""
        matrix = _plain(source.matrix(f"{prefix}.{dense}"))
        return torch.cat((with_norm(pre_dense, matrix), with_norm(pre_experts, experts.flatten(0, 1))))

    return JoinedBranches(
        entry=packed_gated(
            both("mlp.gate_proj", gates),
            both("mlp.up_proj", ups),
            _filled(with_norm(pre_router, own("router.proj.weight"))),
            config.canvas_length,
        ),
        dense_width=config.intermediate_size,
        down=_linear(config, source.matrix(f"{prefix}.mlp.down_proj")),
        experts_down=_linear(config, experts_down.transpose(0, 1).flatten(1)),
        per_expert_scale=own("router.per_expert_scale").float(),
        post_norms=_branch_norms(own),
    )


def _filled(weight: Tensor) -> Tensor:
    """The weight [out, in] with rows of zeros up to a whole vector: its products take up to a fifth less time."""
    return torch.nn.functional.pad(weight, (0, 0, 0, -weight.shape[0] % _VECTOR))


def with_norm(norm: Tensor, weight: Tensor) -> Tensor:
    """The weight [out, in] that reads what a norm without its weight [in] gives; rounded to the dtype it had."""
    return (weight.float() * norm.float()).to(weight.dtype)


def _linear(config: ModelConfig, matrix: Matrix) -> Linear:
    """The checkpoint's [out, in]; packed only in a small model, as packing copies what is memory-mapped."""
    if config.computes_all_experts and not isinstance(matrix, Quantized):
        return packed_linear(matrix, config.canvas_length)
    return _apart(matrix)


def _joined_linear(config: ModelConfig, parts: Sequence[Matrix]) -> Linear:
    """Several that read the same input: one matrix if all are plain."""
    if any(isinstance(part, Quantized) for part in parts):
        return JoinedLinear(tuple(_apart(part) for part in parts))
    return _linear(config, torch.cat([_plain(part) for part in parts]))


def _apart(matrix: Matrix) -> QuantizedLinear | PlainLinear:
    return QuantizedLinear(matrix) if isinstance(matrix, Quantized) else PlainLinear(transposed(matrix))


def _gated(config: ModelConfig, gate: Matrix, up: Matrix) -> Gated:
    """The checkpoint's [out, in] each, likewise."""
    if config.computes_all_experts and not isinstance(gate, Quantized) and not isinstance(up, Quantized):
        return packed_gated(gate, up, None, config.canvas_length)
    return JoinedGated(_joined_linear(config, (gate, up)), gate.shape[0])


def _experts(matrices: Matrix) -> Experts:
    """A stack of the checkpoint's [out, in]."""
    return QuantizedExperts(matrices) if isinstance(matrices, Quantized) else PlainExperts(transposed(matrices))


def _plain(matrix: Matrix) -> Tensor:
    if isinstance(matrix, Quantized):
        raise TypeError("a plain matrix is needed here")  # what asks for one has looked whether all are
    return matrix


def _branch_norms(own: Take) -> Tensor:
    return _factor(torch.stack([own(f"post_feedforward_layernorm_{branch}.weight") for branch in (1, 2)]).unsqueeze(1))


def _factor(weight: Tensor) -> Tensor:
    """A norm's weight in the dtype that its product is computed in: float32 on a CPU, where norms end in it."""
    return weight.float() if weight.device.type == "cpu" else weight


def _qk_norm(config: ModelConfig, layer: LayerConfig, own: Take) -> Tensor:
    queries = own("self_attn.q_norm.weight").float().expand(config.num_attention_heads, -1)
    keys = own("self_attn.k_norm.weight").float().expand(layer.num_key_value_heads, -1)
    return torch.cat((queries, keys))
