"""Products with a weight matrix, in the form that the processor at hand is fastest at.

A plain matrix is multiplied by torch, which on a CPU arranges it anew in every product: at the few rows of a canvas
that takes a third of the time in bfloat16. A packed one has been arranged once, in oneDNN's blocks. In float32 torch
asks MKL: on an AMD processor it takes a fifth to a third longer than oneDNN, on an Intel one as long. N is the number
of rows, I and O the widths in and out, F that of a gated unit.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dgengine.norm import gated_gelu
from dgengine.quantized.matrices import QuantizedLinear

_MEASURED_IN_FLOAT32 = ("x86_64", "AMD64")  # machines on which oneDNN was compared with what torch would do
_ONEDNN = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")


class Linear(Protocol):
    """A matrix [I, O]."""

    def __call__(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]."""

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        """[N, I] -> [N, O - first]: the product without its first columns."""

    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds."""


class Gated(Protocol):
    """A gated unit, and what else reads the same input."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, I] -> gelu(gate) * up [N, F], float32 or as `x`, and the rest's product [N, rest]."""

    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainLinear:
    """A `Linear` as torch has it."""

    matrix: Tensor  # [I, O]

    @property
    def width(self) -> int:
        """O."""
        return self.matrix.shape[1]

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.matrix

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        return x @ self.matrix[:, first:]

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.matrix,)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedLinear:
    """A `Linear` of several that read the same input, side by side: what is stored in different forms stays apart."""

    parts: tuple[PlainLinear | QuantizedLinear, ...]

    @property
    def width(self) -> int:
        """O."""
        return sum(part.width for part in self.parts)

    def __call__(self, x: Tensor) -> Tensor:
        return self.columns_from(0, x)

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        outputs = []
        for part in self.parts:
            if first < part.width:
                outputs.append(part.columns_from(first, x) if first > 0 else part(x))
            first -= part.width
        return torch.cat(outputs, dim=-1)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(tensor for part in self.parts for tensor in part.tensors())


@dataclass(frozen=True, slots=True, eq=False)
class OneDnnLinear:
    """A `Linear` in oneDNN's blocks, which serve any number of rows."""

    blocks: Tensor  # opaque

    def __call__(self, x: Tensor) -> Tensor:
        return _onednn(x, self.blocks)

    def columns_from(self, first: int, x: Tensor) -> Tensor:
        return _onednn(x, self.blocks)[:, first:]  # blocks cannot be cut

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.blocks,)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedGated:
    """A `Gated` whose gate, up and rest are one matrix, in this order."""

    linear: Linear  # [I, 2F + rest]
    width: int  # F

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        projected = self.linear(x)
        return gated_gelu(projected[:, : 2 * self.width]), projected[:, 2 * self.width :]

    def tensors(self) -> tuple[Tensor, ...]:
        return self.linear.tensors()


@dataclass(frozen=True, slots=True, eq=False)
class OneDnnGated:
    """A `Gated` that oneDNN gates while it multiplies: the intermediates never leave the processor's cache."""

    gate: Tensor  # opaque, as the others
    up: Tensor
    rest: Tensor | None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        gate = _onednn(x, self.gate, "gelu", "tanh")
        inner: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, gate, self.up, None, "mul")
        return inner, x[:, :0] if self.rest is None else _onednn(x, self.rest)

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.gate, self.up) if self.rest is None else (self.gate, self.up, self.rest)


def packed_linear(weight: Tensor, rows: int) -> Linear:
    """A weight [O, I] for products with mostly `rows` rows; plain where nothing packs for this device and dtype."""
    if _onednn_packs(weight):
        return OneDnnLinear(_blocks(weight, rows))
    return PlainLinear(transposed(weight))


def packed_gated(gate: Tensor, up: Tensor, rest: Tensor | None, rows: int) -> Gated:
    """A gated unit of `gate` and `up` [F, I], and `rest` [R, I], likewise."""
    if _onednn_packs(gate):
        return OneDnnGated(_blocks(gate, rows), _blocks(up, rows), None if rest is None else _blocks(rest, rows))
    parts = (gate, up) if rest is None else (gate, up, rest)
    return JoinedGated(packed_linear(torch.cat(parts), rows), gate.shape[0])


def transposed(weight: Tensor) -> Tensor:
    """The checkpoint's [..., out, in] as [..., in, out].

    On a CPU in float32 it is laid out anew, which makes products with a few rows 15 to 20 % faster; elsewhere it
    makes no difference, and a view saves the copy (and keeps what is memory-mapped so).
    """
    matrix = weight.transpose(-1, -2)
    anew = weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.is_pinned()
    return matrix.contiguous() if anew else matrix


def _onednn_packs(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    # torch's compiler uses these, but they are private: another release may not have them
    if not all(hasattr(torch.ops.mkldnn, name) for name in _ONEDNN):
        return False
    if weight.dtype == torch.float32:
        return platform.machine() in _MEASURED_IN_FLOAT32
    return weight.dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _blocks(weight: Tensor, rows: int) -> Tensor:
    blocks: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return blocks


def _onednn(x: Tensor, blocks: Tensor, activation: str = "none", algorithm: str = "") -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, blocks, None, activation, [], algorithm)
    return product
