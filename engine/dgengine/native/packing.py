"""A model's weights as canvas.c wants them: matrices in panels, with the norms before them multiplied in."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dgengine.config import LayerConfig, ModelConfig
from dgengine.native import structures
from dgengine.weights import CONDITIONING, EMBEDDING, NORM, Matrix, Source, decoder_layer, encoder_scalar, with_norm

PANEL: Final = 32
Given = TypeVar("Given", bound=Matrix)


def why_not(config: ModelConfig) -> str | None:
    """Why a model of these dimensions cannot be packed, in a few words; None where it can."""
    heads = {layer.head_dim for layer in config.layers}
    sizes = (config.hidden_size, config.intermediate_size, config.moe_intermediate_size, config.vocab_size, *heads)
    if any(size % PANEL for size in sizes):
        return f"it computes in panels of {PANEL}, and a width of the model is none of whole ones"
    return None


class Recording(Source):
    """A source that keeps what it has given, for a second use of it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._given: dict[str, Tensor] = {}

    def tensor(self, name: str) -> Tensor:
        return self._kept(name, self._source.tensor)

    def matrix(self, name: str) -> Matrix:
        return self._kept(name, self._source.matrix)

    def experts(self, name: str) -> Matrix:
        return self._kept(name, self._source.experts)

    def is_plain(self, prefix: str) -> bool:
        return self._source.is_plain(prefix)

    def given(self, name: str) -> Tensor:
        """What has been given for a name, which was plain."""
        return self._given[name]

    def _kept(self, name: str, give: Callable[[str], Given]) -> Given:
        given = give(name)
        if isinstance(given, Tensor):  # what is in codes is of no use here
            self._given[name] = given
        return given


class Packed:
    """A packed model.

    Attributes:
        model: its structure, which points into memory that this object holds.
    """

    def __init__(self, config: ModelConfig, source: Recording, embedding_scale: float, dtype: torch.dtype) -> None:
        """Packs the weights that `source` has given; they are in `dtype`, float32 or bfloat16."""
        self._kept: list[object] = []
        self._source = source
        self._arena = _huge_pages(_numbers(config), dtype)
        self._used = 0
        embedding = source.given(EMBEDDING).contiguous()
        self._embedding = embedding  # the model's own: it is not copied
        gate, up, down = (source.given(f"{CONDITIONING}.{name}_proj") for name in ("gate", "up", "down"))
        # matrices are packed in the order of their use, which is that of fields
        conditioning = self._gated(gate, up), self._matrix(down)
        layers = (structures.Layer * len(config.layers))(
            *(self._layer(config, layer, index) for index, layer in enumerate(config.layers))
        )
        self._kept.append(layers)
        self.model = structures.Model(
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            layers=len(config.layers),
            experts=config.num_experts,
            top_k=config.top_k_experts,
            vocabulary=config.vocab_size,
            bf16=dtype == torch.bfloat16,
            eps=config.rms_norm_eps,
            embedding_scale=embedding_scale,
            softcap=config.final_logit_softcapping,
            embedding=embedding.data_ptr(),
            soft=structures.Matrix(self._floats(panels(embedding.t().float())), config.vocab_size, config.hidden_size),
            head=self._matrix(embedding),
            conditioning_gate_up=conditioning[0],
            conditioning_down=conditioning[1],
            conditioning_norm=self._floats(source.given(f"{CONDITIONING}.pre_norm.weight")),
            head_norm=self._floats(source.given(NORM).float() / config.final_logit_softcapping),
            layer=layers,
        )
        del self._source  # it holds all that was given

    def nbytes(self) -> int:
        """Bytes that it holds, the embedding's apart, which the model holds too."""
        return self._arena.nbytes + sum(kept.nbytes for kept in self._kept if isinstance(kept, Tensor))

    def _layer(self, config: ModelConfig, layer: LayerConfig, index: int) -> structures.Layer:
        prefix = decoder_layer(index)

        def own(name: str) -> Tensor:
            return self._source.given(f"{prefix}.{name}")

        def normed(norm: Tensor, *names: str) -> list[Tensor]:
            return [with_norm(norm, own(name)) for name in names]

        before_attention = own("input_layernorm.weight")
        dense, experts = own("pre_feedforward_layernorm.weight"), own("pre_feedforward_layernorm_2.weight")
        routing = own("router.scale").float() * config.hidden_size**-0.5
        projections = ("q", "k", "v") if layer.kind == "sliding" else ("q", "k")
        gates, ups = own("experts.gate_up_proj").chunk(2, dim=1)  # each [E, X, D]
        heads, kv = config.num_attention_heads, layer.num_key_value_heads
        return structures.Layer(
            qkv=self._matrix(torch.cat(normed(before_attention, *(f"self_attn.{name}_proj" for name in projections)))),
            output=self._matrix(own("self_attn.o_proj")),
            gate_up=self._gated(*normed(dense, "mlp.gate_proj", "mlp.up_proj")),
            down=self._matrix(own("mlp.down_proj")),
            router=self._matrix(with_norm(routing, own("router.proj.weight"))),
            **self._experts(with_norm(experts, gates), with_norm(experts, ups), own("experts.down_proj")),
            qk_norm=self._floats(
                torch.cat(
                    (
                        own("self_attn.q_norm.weight").expand(heads, -1),
                        own("self_attn.k_norm.weight").expand(kv, -1),
                    )
                )
            ),
            post_attention=self._floats(own("post_attention_layernorm.weight")),
            post_dense=self._floats(own("post_feedforward_layernorm_1.weight")),
            post_experts=self._floats(own("post_feedforward_layernorm_2.weight")),
            post_feedforward=self._floats(own("post_feedforward_layernorm.weight")),
            expert_scale=self._floats(own("router.per_expert_scale")),
            kv_heads=kv,
            head_dim=layer.head_dim,
            has_values=layer.kind == "sliding",
            encoder_scalar=float(self._source.given(encoder_scalar(index))),
            decoder_scalar=float(own("layer_scalar")),
        )

    def _experts(self, gates: Tensor, ups: Tensor, downs: Tensor) -> dict[str, ctypes.Array[structures.Matrix]]:
        """One expert's matrices behind another's."""
        packed = [(self._gated(gate, up), self._matrix(down)) for gate, up, down in zip(gates, ups, downs, strict=True)]
        gate_up, down = ((structures.Matrix * len(packed))(*own) for own in zip(*packed, strict=True))
        self._kept += [gate_up, down]
        return {"experts_gate_up": gate_up, "experts_down": down}

    def _floats(self, tensor: Tensor) -> int:
        kept = tensor.to(torch.float32, copy=True).contiguous()
        self._kept.append(kept)
        return kept.data_ptr()

    def _matrix(self, weight: Tensor) -> structures.Matrix:
        """Of the checkpoint's [out, in]."""
        return self._of_panels(panels(weight), weight.shape[1])

    def _gated(self, gate: Tensor, up: Tensor) -> structures.Matrix:
        """Of two of [F, in], a panel of each in turn."""
        return self._of_panels(torch.stack((panels(gate), panels(up)), dim=1).flatten(0, 1), gate.shape[1])

    def _of_panels(self, parts: Tensor, inputs: int) -> structures.Matrix:
        place = self._arena[self._used : self._used + parts.numel()]
        place.copy_(parts.flatten())
        self._used += parts.numel()
        return structures.Matrix(place.data_ptr(), inputs, parts.shape[0] * PANEL)


def _numbers(config: ModelConfig) -> int:
    """In all matrices, with the routers' filled up."""
    hidden, router = config.hidden_size, math.ceil(config.num_experts / PANEL) * PANEL
    gated = config.intermediate_size + config.num_experts * config.moe_intermediate_size
    count = hidden * (config.vocab_size + 3 * config.intermediate_size)
    for layer in config.layers:
        kv = layer.num_key_value_heads * (2 if layer.kind == "sliding" else 1)
        count += hidden * (layer.head_dim * (2 * config.num_attention_heads + kv) + router + 3 * gated)
    return count


def _huge_pages(count: int, dtype: torch.dtype) -> Tensor:
    """Room for `count` numbers, in pages so large that the processor has few to look up, where the system has them."""
    memory = mmap.mmap(-1, count * dtype.itemsize)
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype)


def panels(weight: Tensor) -> Tensor:
    """A weight [out, in] in panels of 32 outputs, the last filled up with zeros.

    float32 gives [panels, in, 32]; bfloat16 [panels, in / 2, 32, 2].
    """
    filled: Tensor = F.pad(weight, (0, 0, 0, -weight.shape[0] % PANEL)).view(-1, PANEL, weight.shape[1])
    if weight.dtype == torch.float32:
        return filled.transpose(1, 2).contiguous()
    pairs = filled.view(*filled.shape[:2], -1, 2)
    return pairs.transpose(1, 2).contiguous()
