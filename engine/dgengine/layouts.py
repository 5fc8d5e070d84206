"""How a checkpoint stores its matrices: plain or quantised, fused or expert by expert.

Each matrix is recognised by the keys under its own name and by their dtypes; what the checkpoint calls itself does not
count. Four kinds are known (`M` is the name of a projection without `.weight`):

    plain               M.weight                float             [O, I]
    FP8                 M.weight                F8_E4M3           [O, I]
                        M.weight_scale          float             [O, 1]
    NVFP4, ModelOpt     M.weight                U8                [O, I / 2]
                        M.weight_scale          F8_E4M3           [O, I / 16]
                        M.weight_scale_2        F32               []          the global scale
    NVFP4,              M.weight_packed         U8                [O, I / 2]
    compressed-tensors  M.weight_scale          F8_E4M3           [O, I / 16]
                        M.weight_global_scale   F32               [1]         one over the global scale

Scales of the activations (`input_scale`, `input_global_scale`) may stand beside them and are not read: only weights are
in four bits here. The experts of a layer are fused and plain (`experts.gate_up_proj` [E, 2X, D], gates first, and
`experts.down_proj` [E, D, X]), or matrices of any one kind by themselves (`experts.E.{gate,up,down}_proj`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dgengine.errors import CheckpointError
from dgengine.quantized.base import Form, Quantized
from dgengine.quantized.fp8 import NAN_BYTE, Fp8
from dgengine.quantized.nvfp4 import BLOCK, Nvfp4
from dgengine.tensor_files import Shape, TensorFiles

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_SCALAR: tuple[Shape, ...] = ((), (1,))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a tensor must look like: one of the shapes, of which an error names the first, and one of the dtypes."""

    shapes: tuple[Shape, ...]
    dtypes: frozenset[str] = FLOATS

    @classmethod
    def plain(cls, shape: Shape) -> Expected:
        """A tensor of floats in just this shape."""
        return cls((shape,))


@dataclass(frozen=True, slots=True)
class Stored(ABC):
    """A matrix [O, I] of a checkpoint.

    Attributes:
        name: its projection's, without `.weight`.
        shape: (O, I), decoded.
    """

    name: str
    shape: Shape

    form: ClassVar[Form | None]
    activation_scales: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def tensors(self) -> dict[str, Expected]:
        """The tensors that hold it, by name."""

    @abstractmethod
    def read(self, files: TensorFiles) -> Tensor | Quantized:
        """The matrix as it is stored, on the CPU; codes are not copied.

        Raises:
            CheckpointError: a scale is NaN, infinite, negative or zero.
        """

    def optional(self) -> dict[str, Expected]:
        """Tensors that may be there and are not read."""
        return {f"{self.name}.{scale}": Expected(_SCALAR, frozenset({"F32"})) for scale in self.activation_scales}


class StoredPlain(Stored):
    """Floats."""

    form = None

    def tensors(self) -> dict[str, Expected]:
        return {f"{self.name}.weight": Expected.plain(self.shape)}

    def read(self, files: TensorFiles) -> Tensor:
        return files.raw(f"{self.name}.weight")


class StoredFp8(Stored):
    """compressed-tensors "float-quantized" with a scale a row."""

    form = "fp8"
    activation_scales = ("input_scale",)

    def tensors(self) -> dict[str, Expected]:
        return {
            f"{self.name}.weight": Expected((self.shape,), frozenset({"F8_E4M3"})),
            f"{self.name}.weight_scale": Expected(((self.shape[0], 1), self.shape[:1])),
        }

    def read(self, files: TensorFiles) -> Fp8:
        scales = files.raw(f"{self.name}.weight_scale").view(-1, 1)
        _check_factors(f"{self.name}.weight_scale", scales)
        if scales.dtype not in (torch.float32, torch.bfloat16):
            scales = scales.float()
        return Fp8(files.raw(f"{self.name}.weight"), scales)


@dataclass(frozen=True, slots=True)
class StoredNvfp4(Stored):
    """NVFP4 under either convention."""

    codes: ClassVar[str]
    global_scale: ClassVar[str]
    reciprocal: ClassVar[bool]
    form: ClassVar[Form | None] = "nvfp4"

    def tensors(self) -> dict[str, Expected]:
        rows, columns = self.shape
        return {
            f"{self.name}.{self.codes}": Expected(((rows, columns // 2),), frozenset({"U8"})),
            f"{self.name}.weight_scale": Expected(((rows, columns // BLOCK),), frozenset({"F8_E4M3"})),
            f"{self.name}.{self.global_scale}": Expected(_SCALAR, frozenset({"F32"})),
        }

    def read(self, files: TensorFiles) -> Nvfp4:
        scales = files.raw(f"{self.name}.weight_scale")
        _check_block_scales(f"{self.name}.weight_scale", scales)
        global_scale = files.raw(f"{self.name}.{self.global_scale}").view(1)
        if self.reciprocal:
            global_scale = global_scale.reciprocal()
        _check_factors(f"{self.name}.{self.global_scale}", global_scale)
        return Nvfp4(files.raw(f"{self.name}.{self.codes}"), scales, global_scale)


class ModelOptNvfp4(StoredNvfp4):
    """As NVIDIA's ModelOpt writes it."""

    codes = "weight"
    global_scale = "weight_scale_2"
    reciprocal = False
    activation_scales = ("input_scale",)


class CompressedNvfp4(StoredNvfp4):
    """As compressed-tensors writes it ("nvfp4-pack-quantized")."""

    codes = "weight_packed"
    global_scale = "weight_global_scale"
    reciprocal = True
    activation_scales = ("input_global_scale",)


@dataclass(frozen=True, slots=True)
class StoredExperts:
    """A projection of all experts of a layer.

    Attributes:
        name: of the fused tensor, which a plain checkpoint holds.
        shape: (E, O, I).
        parts: the matrices of each expert, whose rows make up the projection; empty where the fused tensor is stored.
    """

    name: str
    shape: Shape
    parts: tuple[tuple[Stored, ...], ...] = ()

    @property
    def form(self) -> Form | None:
        """How all of them are coded."""
        return self.parts[0][0].form if self.parts else None

    def tensors(self) -> dict[str, Expected]:
        """The tensors that hold it, by name."""
        if not self.parts:
            return {self.name: Expected.plain(self.shape)}
        return _merged(part.tensors() for parts in self.parts for part in parts)

    def optional(self) -> dict[str, Expected]:
        """Tensors that may be there and are not read."""
        return _merged(part.optional() for parts in self.parts for part in parts)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a checkpoint holds what: every tensor of a plain one, by its name there, belongs to one of the three.

    Attributes:
        vectors: norms, scalars, router and embedding, which are always plain, and their shapes.
        matrices: projections, by name without `.weight`.
        experts: projections of all experts of a layer, by the name of the fused tensor.
    """

    vectors: Mapping[str, Shape]
    matrices: Mapping[str, Stored]
    experts: Mapping[str, StoredExperts]

    def tensors(self) -> dict[str, Expected]:
        """Every tensor that is needed."""
        vectors = {name: Expected.plain(shape) for name, shape in self.vectors.items()}
        return vectors | _merged(stored.tensors() for stored in self._stored())

    def optional(self) -> dict[str, Expected]:
        """Tensors that may be there and are not read."""
        return _merged(stored.optional() for stored in self._stored())

    def _stored(self) -> Iterator[Stored | StoredExperts]:
        yield from self.matrices.values()
        yield from self.experts.values()


def detect(shapes: Mapping[str, Shape], files: TensorFiles) -> Layout:
    """How `files` store the tensors that a plain checkpoint would hold in `shapes`.

    Raises:
        CheckpointError: the experts of a layer are not all stored in one way, or rows cannot be cut into blocks.
    """
    vectors: dict[str, Shape] = {}
    matrices: dict[str, Stored] = {}
    experts: dict[str, StoredExperts] = {}
    for name, shape in shapes.items():
        projection = name.removesuffix(".weight")
        if len(shape) == 3:
            experts[name] = _detect_experts(name, shape, files)
        elif projection.endswith("_proj"):
            matrices[projection] = _detect_matrix(projection, shape, files)
        else:
            vectors[name] = shape
    return Layout(vectors, matrices, experts)


def _detect_experts(name: str, shape: Shape, files: TensorFiles) -> StoredExperts:
    prefix, _, projection = name.rpartition(".")
    names = ("gate_proj", "up_proj") if projection == "gate_up_proj" else (projection,)
    each = [f"{prefix}.{expert}.{part}" for expert in range(shape[0]) for part in names]
    if name in files or not any(f"{one}.{key}" in files for one in each for key in _KEYS):
        return StoredExperts(name, shape)
    part_shape = (shape[1] // len(names), shape[2])
    parts = tuple(
        tuple(_detect_matrix(f"{prefix}.{expert}.{part}", part_shape, files) for part in names)
        for expert in range(shape[0])
    )
    _check_alike([part for own in parts for part in own])
    return StoredExperts(name, shape, parts)


def _check_alike(parts: list[Stored]) -> None:
    for part in parts:
        if part.form != parts[0].form:
            raise CheckpointError(
                f"The experts of a layer must be stored alike, but {parts[0].name} is {parts[0].form or 'plain'} "
                f"and {part.name} is {part.form or 'plain'}."
            )


_KEYS = ("weight", "weight_packed", "weight_scale", "weight_scale_2", "weight_global_scale")


def _detect_matrix(name: str, shape: Shape, files: TensorFiles) -> Stored:
    kind = _kind(name, files)
    if issubclass(kind, StoredNvfp4) and shape[1] % BLOCK:
        raise CheckpointError(f"The rows of {name} have {shape[1]} numbers, no multiple of NVFP4's block of {BLOCK}.")
    return kind(name, shape)


def _kind(name: str, files: TensorFiles) -> type[Stored]:
    """By the codes where they are there, otherwise by the scales, so that what is missing has the right name."""
    if f"{name}.weight_packed" in files:
        return CompressedNvfp4
    if f"{name}.weight" in files:
        kinds: dict[str, type[Stored]] = {"U8": ModelOptNvfp4, "F8_E4M3": StoredFp8}
        return kinds.get(files.describe(f"{name}.weight")[1], StoredPlain)
    if f"{name}.weight_global_scale" in files:
        return CompressedNvfp4
    if f"{name}.weight_scale_2" in files:
        return ModelOptNvfp4
    return StoredFp8 if f"{name}.weight_scale" in files else StoredPlain


def _merged(parts: Iterable[dict[str, Expected]]) -> dict[str, Expected]:
    return {name: expected for part in parts for name, expected in part.items()}


def _check_factors(name: str, scales: Tensor) -> None:
    if not bool((scales.isfinite() & (scales > 0)).all()):
        raise CheckpointError(f"The tensor {name} holds a scale that is NaN, infinite, negative or zero.")


def _check_block_scales(name: str, scales: Tensor) -> None:
    """One look at the bytes. Single zeros are fine: a block that is small beside its tensor's largest underflows."""
    largest = int(scales.view(torch.uint8).max())
    if largest >= NAN_BYTE:
        raise CheckpointError(f"The tensor {name} holds a scale that is NaN or negative.")
    if largest == 0:
        raise CheckpointError(f"The tensor {name} holds nothing but zeros; a part of the file may never have arrived.")
