"""What all quantised matrices have in common.

A matrix is [O, I], out by in, as a checkpoint has it; a stack of E of them has one more dimension in front.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

Form: TypeAlias = Literal["nvfp4", "fp8", "int8", "nf4"]
"""How the numbers of a matrix are coded."""

AnyQuantized = TypeVar("AnyQuantized", bound="Quantized")


@dataclass(frozen=True, slots=True, eq=False)
class Quantized(ABC):
    """A quantised matrix [O, I], or a stack [E, O, I]: codes and scales.

    Every field of a subclass is a tensor, whose first dimension (the second in a stack) runs along the rows of the
    matrix, so that matrices are joined by rows without looking at what is in them.
    """

    codes: Tensor  # [(E,) O, I / `together`]

    form: ClassVar[Form]
    block: ClassVar[int]  # the number of inputs must be a multiple of this
    together: ClassVar[int] = 1  # numbers that share an element of `codes`

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a matrix: (O, I)."""
        rows, elements = self.codes.shape[-2:]
        return rows, self.together * elements

    @abstractmethod
    def dense(self, dtype: torch.dtype) -> Tensor:
        """Decodes a matrix, which is no stack, into a new tensor [O, I]."""

    def tensors(self) -> tuple[Tensor, ...]:
        """What it holds."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def holding(self: AnyQuantized, tensors: Iterable[Tensor]) -> AnyQuantized:
        """The same with others in place of `tensors`."""
        return type(self)(*tensors)

    def __getitem__(self: AnyQuantized, index: int) -> AnyQuantized:
        """A matrix of a stack; a view."""
        return self.holding(tensor[index] for tensor in self.tensors())

    def to(self: AnyQuantized, device: torch.device) -> AnyQuantized:
        """The same on a device."""
        return self.holding(tensor.to(device) for tensor in self.tensors())


def stacked(matrices: Iterable[Sequence[AnyQuantized]], count: int, device: torch.device) -> AnyQuantized:
    """A stack of `count` matrices on `device`, each given as the parts that make up its rows.

    All are of one kind and shape. Each is copied straight to its place and may be let go of at once, so no more than
    one is held besides the stack.

    Raises:
        ValueError: there are not `count` of them.
    """
    result: AnyQuantized | None = None
    filled = 0
    for parts in matrices:
        if result is None:
            result = _room(parts, count, device)
        _fill(result, filled, parts)
        filled += 1
    if result is None or filled != count:
        raise ValueError(f"{filled} matrices were given, not {count}")
    return result


def _room(parts: Sequence[AnyQuantized], count: int, device: torch.device) -> AnyQuantized:
    """A stack with nothing in it yet."""
    columns = zip(*(part.tensors() for part in parts), strict=True)
    return type(parts[0])(*(_empty(column, count, device) for column in columns))


def _empty(column: Sequence[Tensor], count: int, device: torch.device) -> Tensor:
    rows = sum(tensor.shape[0] for tensor in column)
    return torch.empty((count, rows, *column[0].shape[1:]), dtype=column[0].dtype, device=device)


def _fill(stack: AnyQuantized, index: int, parts: Sequence[AnyQuantized]) -> None:
    for room, column in zip(stack.tensors(), zip(*(part.tensors() for part in parts), strict=True), strict=True):
        row = 0
        for tensor in column:
            room[index, row : row + tensor.shape[0]].copy_(tensor)
            row += tensor.shape[0]
