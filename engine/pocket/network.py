"""The trainable twin of the built-in model: DiffusionGemma's arithmetic, arranged for training on a few CPU cores.

It differs from `dgengine.model` in what it is good at: whole batches with gradients, fixed shapes, every expert
computed and weighted (a gather per expert would give oneDNN a new shape at every step). `export` writes its weights
under the names of the public checkpoints; the test of the export compares both with transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """Dimensions of the built-in model; widths are multiples of 64, as the kernels like them."""

    vocab_size: int = 2304
    hidden: int = 256
    dense: int = 512
    experts: int = 4
    top_k: int = 2
    expert_width: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    global_kv_heads: int = 1
    global_head_dim: int = 128
    window: int = 128
    canvas: int = 64
    max_positions: int = 4096
    layer_types: tuple[str, ...] = field(default=("sliding_attention", "sliding_attention", "full_attention") * 2)
    softcap: float = 30.0
    eps: float = 1e-6


class RMSNorm(nn.Module):
    """x / rms(x) * weight in float32, the result in the dtype of x."""

    def __init__(self, width: int, eps: float, start: float = 1.0) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, self.eps).to(x.dtype)


def bare_norm(x: Tensor, eps: float) -> Tensor:
    """RMSNorm without a weight."""
    return F.rms_norm(x.float(), (x.shape[-1],), None, eps).to(x.dtype)


def linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=0.8 * inputs**-0.5)
    return layer


def rope_table(positions: Tensor, head_dim: int, *, full: bool) -> tuple[Tensor, Tensor]:
    """Cosines and sines [N, head_dim] of positions [N]; full layers rotate the first quarter of the frequencies."""
    base = 1_000_000.0 if full else 10_000.0
    inverse = base ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    if full:
        inverse[int(0.25 * len(inverse)) :] = 0
    angle = positions.float()[:, None] * inverse
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [..., N, heads, d] by tables broadcastable to it."""
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class GatedMLP(nn.Module):
    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.gate_proj = linear(hidden, width)
        self.up_proj = linear(hidden, width)
        self.down_proj = linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))
        return out


class Attention(nn.Module):
    """Grouped-query attention at scale 1; full layers take V from the raw keys."""

    def __init__(self, shape: Shape, *, full: bool) -> None:
        super().__init__()
        self.full = full
        self.heads = shape.heads
        self.kv_heads = shape.global_kv_heads if full else shape.kv_heads
        self.head_dim = shape.global_head_dim if full else shape.head_dim
        self.eps = shape.eps
        self.q_proj = linear(shape.hidden, self.heads * self.head_dim)
        self.k_proj = linear(shape.hidden, self.kv_heads * self.head_dim)
        self.v_proj = None if full else linear(shape.hidden, self.kv_heads * self.head_dim)
        self.o_proj = linear(self.heads * self.head_dim, shape.hidden)
        # The scale is 1: without this start the softmax is saturated from the first step and nothing is learned.
        self.q_norm = RMSNorm(self.head_dim, shape.eps, start=self.head_dim**-0.5)
        self.k_norm = RMSNorm(self.head_dim, shape.eps)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [B, N, hidden], mask broadcastable to [B, heads, N, keys] -> output, its own (K, V) [B, kv, N, d]."""
        batch, length, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(batch, length, self.heads, self.head_dim))
        raw_k = self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim)
        raw_v = raw_k if self.v_proj is None else self.v_proj(x).view(raw_k.shape)
        q = rotate(q, *rope).transpose(1, 2)
        k = rotate(self.k_norm(raw_k), *rope).transpose(1, 2)
        v = bare_norm(raw_v, self.eps).transpose(1, 2)
        keys, values = (k, v) if past is None else (torch.cat((past[0], k), 2), torch.cat((past[1], v), 2))
        group = self.heads // self.kv_heads
        keys, values = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1)
        # Written out: at these sizes torch's fused CPU attention is three times slower backwards than two matmuls.
        weights = (q @ keys.transpose(-1, -2)).float().masked_fill(~mask, -1e9).softmax(-1).to(v.dtype)
        mixed = (weights @ values).transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(mixed), (k, v)


class Experts(nn.Module):
    """Router and experts. Every expert is computed; the top-k weights, zero for the rest, select."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        hidden, width, count = shape.hidden, shape.expert_width, shape.experts
        self.router_proj = linear(hidden, count)
        self.router_scale = nn.Parameter(torch.ones(hidden))
        self.per_expert_scale = nn.Parameter(torch.ones(count))
        self.gate_up_proj = nn.Parameter(torch.randn(count, 2 * width, hidden) * 0.8 * hidden**-0.5)
        self.down_proj = nn.Parameter(torch.randn(count, hidden, width) * 0.8 * width**-0.5)

    def route(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """residual [T, hidden] -> weights [T, experts] (zero outside the top k), balance loss."""
        scaled = bare_norm(residual, self.shape.eps) * self.router_scale * self.shape.hidden**-0.5
        probabilities = self.router_proj(scaled).float().softmax(-1)
        top, index = probabilities.topk(self.shape.top_k, -1)
        top = top / top.sum(-1, keepdim=True) * self.per_expert_scale[index]
        weights = torch.zeros_like(probabilities).scatter(1, index, top)
        balance = (probabilities.mean(0) * (weights > 0).float().mean(0)).sum() * self.shape.experts
        return weights, balance

    def forward(self, x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """x, residual [T, hidden] -> mixture [T, hidden], balance loss."""
        count, width, hidden = self.shape.experts, self.shape.expert_width, self.shape.hidden
        weights, balance = self.route(residual)
        gate_up = F.linear(x, self.gate_up_proj.reshape(count * 2 * width, hidden)).view(-1, count, 2, width)
        inner = F.gelu(gate_up[:, :, 0], approximate="tanh") * gate_up[:, :, 1] * weights[..., None].to(gate_up.dtype)
        down = self.down_proj.permute(1, 0, 2).reshape(hidden, count * width)
        return F.linear(inner.reshape(-1, count * width), down), balance


class Layer(nn.Module):
    def __init__(self, shape: Shape, *, full: bool) -> None:
        super().__init__()
        self.full = full
        self.self_attn = Attention(shape, full=full)
        self.mlp = GatedMLP(shape.hidden, shape.dense)
        self.experts = Experts(shape)
        self.input_layernorm = RMSNorm(shape.hidden, shape.eps)
        # Residual branches start small: the stack trains from the first step on.
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.eps, start=0.3)
        self.pre_feedforward_layernorm = RMSNorm(shape.hidden, shape.eps)
        self.pre_feedforward_layernorm_2 = RMSNorm(shape.hidden, shape.eps)
        self.post_feedforward_layernorm_1 = RMSNorm(shape.hidden, shape.eps)
        self.post_feedforward_layernorm_2 = RMSNorm(shape.hidden, shape.eps)
        self.post_feedforward_layernorm = RMSNorm(shape.hidden, shape.eps, start=0.3)

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        attended, kv = self.self_attn(self.input_layernorm(x), rope, mask, past)
        x = x + self.post_attention_layernorm(attended)
        flat = x.reshape(-1, x.shape[-1])
        mixture, balance = self.experts(self.pre_feedforward_layernorm_2(flat), flat)
        dense = self.post_feedforward_layernorm_1(self.mlp(self.pre_feedforward_layernorm(x)))
        both = dense + self.post_feedforward_layernorm_2(mixture.view_as(x).to(dense.dtype))
        return x + self.post_feedforward_layernorm(both), kv, balance


@dataclass(frozen=True)
class Encoded:
    """What the encoder leaves: hidden states [B, T, hidden], (K, V) of each layer [B, kv, T, d], balance loss."""

    hidden: Tensor
    past: list[tuple[Tensor, Tensor]]
    balance: Tensor


class Network(nn.Module):
    """Encoder and denoiser over one stack of layers; logits are softcapped float32."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden)
        nn.init.normal_(self.embed_tokens.weight, std=shape.hidden**-0.5)
        self.layers = nn.ModuleList(Layer(shape, full=kind == "full_attention") for kind in shape.layer_types)
        self.norm = RMSNorm(shape.hidden, shape.eps)
        self.conditioning_norm = RMSNorm(shape.hidden, shape.eps)
        self.conditioning = GatedMLP(shape.hidden, shape.dense)
        for full in (False, True):
            width = shape.global_head_dim if full else shape.head_dim
            cos, sin = rope_table(torch.arange(shape.max_positions), width, full=full)
            self.register_buffer(f"cos_{full}", cos, persistent=False)
            self.register_buffer(f"sin_{full}", sin, persistent=False)

    @property
    def stack(self) -> list[Layer]:
        """The layers, as what they are."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _rope(self, positions: Tensor, *, full: bool) -> tuple[Tensor, Tensor]:
        """Tables [..., N, 1, d] at positions [..., N]."""
        cos, sin = getattr(self, f"cos_{full}"), getattr(self, f"sin_{full}")
        return cos[positions].unsqueeze(-2), sin[positions].unsqueeze(-2)

    def embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.embed_tokens.weight) * math.sqrt(self.shape.hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        raw = F.linear(self.norm(hidden), self.embed_tokens.weight).float()
        return self.shape.softcap * torch.tanh(raw / self.shape.softcap)

    def encode(self, ids: Tensor, documents: Tensor) -> Encoded:
        """Causal pass over rows of packed conversations.

        Args:
            ids: int64 [B, T].
            documents: int64 [B, T]; a token sees earlier tokens of its own document only.
        """
        length = ids.shape[1]
        index = torch.arange(length, device=ids.device)
        same = documents[:, None, :, None] == documents[:, None, None, :]
        causal = same & (index[:, None] >= index)
        masks = {True: causal, False: causal & (index[:, None] - index < self.shape.window)}
        x, past, balance = self.embed(ids), [], ids.new_zeros((), dtype=torch.float32)
        ropes = {full: self._rope(index, full=full) for full in (False, True)}
        for layer in self.stack:
            x, kv, extra = layer(x, ropes[layer.full], masks[layer.full])
            past.append(kv)
            balance = balance + extra
        return Encoded(x, past, balance)

    def condition(self, canvas: Tensor, previous: Tensor | None) -> Tensor:
        """Canvas embeddings with the self-conditioning signal of the previous logits [.., C, V] (None: no signal)."""
        embedded = self.embed(canvas)
        if previous is None:
            soft = torch.zeros_like(embedded)
        else:
            table = self.embed_tokens.weight
            soft = (previous.softmax(-1).to(table.dtype) @ table) * math.sqrt(self.shape.hidden)
        signal = self.conditioning(self.conditioning_norm(soft))
        return bare_norm(embedded + signal, self.shape.eps)

    def denoise(
        self,
        canvas: Tensor,
        rows: Tensor,
        starts: Tensor,
        documents: Tensor,
        encoded: Encoded,
        previous: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Logits of canvases that read an encoded row up to where each begins.

        Args:
            canvas: int64 [N, C].
            rows: int64 [N], the encoded row of each canvas.
            starts: int64 [N], the position of each canvas' first token; earlier positions of its document are seen.
            documents: int64 [B, T] as in `encode`.
            encoded: The result of `encode`.
            previous: float32 [N, C, V] logits of the previous step, or None.

        Returns:
            Logits float32 [N, C, V] and the balance loss.
        """
        index = torch.arange(documents.shape[1], device=documents.device)
        mine = documents[rows]
        own = mine.gather(1, (starts[:, None] - 1).clamp(min=0))
        seen = (index < starts[:, None]) & (mine == own)
        near = seen & (starts[:, None] - index < self.shape.window)
        always = torch.ones_like(canvas, dtype=torch.bool)
        masks = {True: torch.cat((seen, always), 1)[:, None, None], False: torch.cat((near, always), 1)[:, None, None]}
        positions = starts[:, None] + torch.arange(canvas.shape[1], device=canvas.device)
        ropes = {full: self._rope(positions, full=full) for full in (False, True)}
        x, balance = self.condition(canvas, previous), canvas.new_zeros((), dtype=torch.float32)
        for layer, (k, v) in zip(self.stack, encoded.past, strict=True):
            x, _, extra = layer(x, ropes[layer.full], masks[layer.full], (k[rows], v[rows]))
            balance = balance + extra
        return self.logits(x), balance
