"""Weights drawn at random on the device: experts' matrices in four bits, and a model's, name by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dgengine.config import ModelConfig
from dgengine.quantized.base import Form as EngineForm
from dgengine.quantized.base import Quantized
from dgengine.quantized.forms import quantize
from dgengine.quantized.nf4 import Nf4
from dgengine.quantized.nvfp4 import MAGNITUDES, Nvfp4
from dgengine.weights import EMBEDDING, Matrix, expected_shapes
from dgkernels.moe.layout import SCALE_BLOCK, Form, Packed, Tile, pack
from dgkernels.moe.numbers import nf4_table

# Scales between 1 and 4 in E4M3, whose bytes follow each other.
_ONE_BYTE, _FOUR_BYTE = 0x38, 0x48
_LOGITS = 2.0  # standard deviation of a random model's logits


@dataclass(frozen=True, eq=False)
class Experts:
    """The matrices [O, I] of E experts, as a checkpoint has them.

    Attributes:
        codes: uint8 [E, O, I / 2].
        scales: float8_e4m3fn [E, O, I / 16], or of NF4 float32 [E, O, I / 64].
        global_scales: float32 [E, P]; None of NF4.
        form: which of both.
    """

    codes: Tensor
    scales: Tensor
    global_scales: Tensor | None
    form: Form

    def packed(self, tile: Tile, paired: bool) -> Packed:
        """As the kernels read them."""
        return pack(self.codes, self.scales, self.global_scales, tile, self.form, paired)

    def stack(self) -> Quantized:
        """As the engine holds them."""
        if self.global_scales is None:
            return Nf4(self.codes, self.scales)
        return Nvfp4(self.codes, self.scales, self.global_scales)

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """[E, O, I], decoded one by one, without bitsandbytes."""
        return torch.stack([self._matrix(expert).to(dtype) for expert in range(self.codes.shape[0])])

    def _matrix(self, expert: int) -> Tensor:
        if self.global_scales is not None:
            return Nvfp4(self.codes[expert], self.scales[expert], self.global_scales[expert]).dense(torch.float32)
        codes = self.codes[expert]
        single = torch.stack((codes >> 4, codes & 15), dim=-1).flatten(1).int()
        blocks = nf4_table(codes.device)[single].view(codes.shape[0], -1, SCALE_BLOCK["nf4"])
        return (blocks * self.scales[expert].unsqueeze(-1)).flatten(1)


def draw_experts(form: Form, experts: int, rows: int, columns: int, parts: int, generator: torch.Generator) -> Experts:
    """Codes and scales of all kinds, such that a product is of the size of what is multiplied.

    Args:
        parts: matrices that were joined by rows to each, with a global scale of their own.
        generator: on the device where they are to be.
    """
    device = generator.device
    codes = torch.randint(0, 256, (experts, rows, columns // 2), generator=generator, dtype=torch.uint8, device=device)
    if form == "nf4":
        spread = torch.rand(experts, rows, columns // 64, generator=generator, device=device)
        size = nf4_table(device).square().mean().sqrt()
        return Experts(codes, (spread + 0.5) * (columns**-0.5 / size), None, form)
    shape = (experts, rows, columns // 16)
    scales = torch.randint(_ONE_BYTE, _FOUR_BYTE, shape, generator=generator, dtype=torch.uint8, device=device)
    decoded = torch.arange(_ONE_BYTE, _FOUR_BYTE, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    size = decoded.square().mean().sqrt() * torch.tensor(MAGNITUDES).square().mean().sqrt()
    factors = torch.rand(experts, parts, generator=generator, device=device) + 0.5
    return Experts(codes, scales.view(torch.float8_e4m3fn), factors * float(columns**-0.5 / size), form)


def draw_chosen(tokens: int, experts: int, top_k: int, generator: torch.Generator, skew: float = 0.0) -> Tensor:
    """Experts of each token, int32 [N, K], all different; with `skew`, the first is among all tokens'."""
    scores = torch.randn(tokens, experts, generator=generator, device=generator.device)
    scores[:, 0] += skew
    return scores.topk(top_k, dim=1).indices.int()


class RandomSource:
    """A `dgengine.weights.Source` of random weights, made on the device when they are asked for.

    Norms are near one and matrices keep the size of what they multiply, so that logits are finite and no layer is
    without effect. Tokens are spread over the experts evenly.
    """

    def __init__(
        self, config: ModelConfig, device: torch.device, experts: Form, dense: EngineForm | None, seed: int = 0
    ) -> None:
        """Draws for `config`.

        Args:
            experts: the form of the experts.
            dense: of the projections of attention and dense MLPs; None leaves them in bfloat16.
        """
        self._shapes = expected_shapes(config)
        self._hidden = config.hidden_size
        self._experts, self._dense = experts, dense
        self._generator = torch.Generator(device).manual_seed(seed)

    def tensor(self, name: str) -> Tensor:
        """A tensor in bfloat16."""
        shape = self._shapes[name]
        if name == EMBEDDING:
            return self._normal(shape, _LOGITS * self._hidden**-0.5)
        if name.endswith("router.proj.weight"):
            return self._normal(shape, 1.0)
        if name.endswith("layer_scalar"):
            return torch.ones(shape, dtype=torch.bfloat16, device=self._generator.device)
        return 1 + self._normal(shape, 0.05)

    def matrix(self, name: str) -> Matrix:
        """A projection [out, in], by its name without `.weight`."""
        shape = self._shapes[f"{name}.weight"]
        weight = self._normal(shape, shape[1] ** -0.5)
        return weight if self._dense is None else quantize(weight, self._dense)

    def experts(self, name: str) -> Matrix:
        """A projection of all experts [E, out, in]."""
        experts, rows, columns = self._shapes[name]
        parts = 2 if name.endswith("gate_up_proj") else 1
        return draw_experts(self._experts, experts, rows, columns, parts, self._generator).stack()

    def is_plain(self, prefix: str) -> bool:
        """No layer is."""
        return False

    def _normal(self, shape: tuple[int, ...], deviation: float) -> Tensor:
        device = self._generator.device
        return torch.randn(shape, generator=self._generator, dtype=torch.bfloat16, device=device).mul_(deviation)
