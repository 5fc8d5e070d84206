"""Gives a model's weights out of a checkpoint's files: on the device, in the dtype, quantised if that was asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from dgengine.errors import CheckpointError
from dgengine.layouts import Layout, Stored, StoredExperts
from dgengine.quantized.base import Form, Quantized, stacked
from dgengine.quantized.forms import Recipe, quantize
from dgengine.tensor_files import TensorFiles
from dgengine.weights import Matrix, decoder_layer


class Reader:
    """A `dgengine.weights.Source` of open files. It keeps nothing of what it has given."""

    def __init__(
        self,
        files: TensorFiles,
        layout: Layout,
        device: torch.device,
        dtype: torch.dtype,
        recipe: Recipe,
        streamed: Collection[int] = (),
    ) -> None:
        """Reads `files`, which hold all of `layout`.

        Args:
            device: where everything goes but the experts of the layers `streamed`, which go to the host's memory.
            dtype: of what is plain.
            recipe: what is quantised on the way.

        Raises:
            CheckpointError: the experts are stored in another form than the recipe asks for.
        """
        self._files = files
        self._layout = layout
        self._device = device
        self._dtype = dtype
        self._recipe = recipe
        self._in_host = tuple(f"{decoder_layer(index)}." for index in streamed)
        for experts in layout.experts.values():
            _refuse_coding_twice(experts, recipe.experts)

    def tensor(self, name: str) -> Tensor:
        """A tensor in the model's dtype."""
        return self._plain(self._files.raw(name))

    def matrix(self, name: str) -> Matrix:
        """A projection [out, in], by its name without `.weight`."""
        stored = self._layout.matrices[name]
        value = stored.read(self._files)
        if isinstance(value, Quantized):
            return value.to(self._device)
        if self._recipe.dense is None:
            return self._plain(value)
        return self._quantized(stored.name, value, self._recipe.dense)

    def experts(self, name: str) -> Matrix:
        """A projection of all experts [E, out, in], by the name of the fused tensor."""
        stored = self._layout.experts[name]
        form = stored.form or self._recipe.experts
        device = torch.device("cpu") if name.startswith(self._in_host) else self._device
        if form is None:
            matrices: Matrix = self._plain_experts(stored, device)
        else:
            matrices = stacked(self._coded_experts(stored, form), stored.shape[0], device)
        return matrices if device == self._device else _pinned(matrices)

    def is_plain(self, prefix: str) -> bool:
        """Whether all matrices whose names begin with `prefix` and a dot are given as plain tensors."""
        if self._recipe.experts or self._recipe.dense or f"{prefix}.".startswith(self._in_host):
            return False  # what is streamed is not joined with what is not
        stored: list[Stored | StoredExperts] = [*self._layout.matrices.values(), *self._layout.experts.values()]
        return all(one.form is None for one in stored if one.name.startswith(f"{prefix}."))

    def _plain(self, tensor: Tensor, device: torch.device | None = None) -> Tensor:
        # moved first: what is stored is rarely wider than what it becomes
        return tensor.to(device or self._device).to(self._dtype)

    def _quantized(self, name: str, weight: Tensor, form: Form) -> Quantized:
        try:
            return quantize(weight.to(self._device), form)
        except ValueError as error:
            raise CheckpointError(f"The tensor {name} cannot be quantised to {form}: {error}.") from error

    def _plain_experts(self, stored: StoredExperts, device: torch.device) -> Tensor:
        if not stored.parts:
            return self._plain(self._files.raw(stored.name), device)
        result = torch.empty(stored.shape, dtype=self._dtype, device=device)
        for room, parts in zip(result, stored.parts, strict=True):
            for rows, part in zip(room.chunk(len(parts)), parts, strict=True):
                rows.copy_(self._files.raw(f"{part.name}.weight"))
        return result

    def _coded_experts(self, stored: StoredExperts, form: Form) -> Iterator[list[Quantized]]:
        """The parts of one expert after the other: as they are stored, or each quantised by itself."""
        if stored.parts:
            for own in stored.parts:
                yield [self._coded(part, form) for part in own]
        else:
            parts = 2 if stored.name.endswith("gate_up_proj") else 1  # gate and up have scales of their own
            for weight in self._files.raw(stored.name):
                yield [self._quantized(stored.name, part, form) for part in weight.chunk(parts)]

    def _coded(self, part: Stored, form: Form) -> Quantized:
        value = part.read(self._files)
        return value if isinstance(value, Quantized) else self._quantized(part.name, value, form)


def _pinned(matrices: Matrix) -> Matrix:
    """In memory of the host that a GPU reads by itself, while the processor goes on."""
    if isinstance(matrices, Quantized):
        return matrices.holding(tensor.pin_memory() for tensor in matrices.tensors())
    return matrices.pin_memory()


def _refuse_coding_twice(stored: StoredExperts, form: Form | None) -> None:
    if form and stored.form and stored.form != form:
        raise CheckpointError(
            f"The experts of this checkpoint are stored as {stored.form}, which is not quantised again to {form}: "
            f"ask for the precision {stored.form}, or auto."
        )
