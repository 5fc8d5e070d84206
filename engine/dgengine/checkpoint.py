"""Loads a model from a Hugging Face model directory, plain or quantised.

Strict: every tensor of the file is either one that the model needs, with exactly the shape that the configuration
implies, or one that is known to be set aside. Nothing is left as it was allocated. Only safetensors files are read.
How each matrix is stored its own keys tell (`dgengine.layouts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from dgengine.config import ModelConfig
from dgengine.errors import CheckpointError
from dgengine.kernels.attention import kernel_attention
from dgengine.kernels.layers import kernel_layers
from dgengine.kernels.packing import Packer
from dgengine.kernels.vocabulary import kernel_head
from dgengine.layouts import FLOATS, Expected, Layout, detect
from dgengine.model import Model
from dgengine.native.packing import Recording
from dgengine.native.trial import native_passes
from dgengine.quantized.forms import Recipe
from dgengine.reading import Reader
from dgengine.streaming import spread
from dgengine.tensor_files import INDEX, SINGLE, Shape, TensorFiles, shown, weight_files
from dgengine.weights import EMBEDDING, Report, Source, build, expected_shapes

_VISION = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")
_NAMED = 5  # how many offenders an error lists

# Second names of tensors that the file holds under a first: the tied head, and what encoder and decoder share.
_ALIASES = (
    (re.compile(r"lm_head\.weight"), EMBEDDING),
    (re.compile(r"model\.encoder\.language_model\.(.+)"), r"model.decoder.\1"),
)


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    recipe: Recipe = Recipe(),  # noqa: B008 - frozen
    report: Report = lambda done: None,
    streamed: int = 0,
    kernels: bool | None = None,
) -> Model:
    """Loads the text model of a directory with config.json and safetensors, in one file or in shards with an index.

    The files are memory-mapped and gone through once. Plain weights stored in another floating dtype are converted;
    quantised ones stay as they are, and are decoded when used. Vision tensors are recognised, and not read here
    (`dgengine.vision.tower`). Needs no tokenizer.

    Args:
        path: the model directory.
        device: where the weights go.
        dtype: of plain weights, activations and cache: float32 or bfloat16.
        recipe: what to quantise while loading.
        report: told the share that is done, layer by layer.
        streamed: of how many layers the experts stay in the host's memory (`dgengine.streaming`).
        kernels: whether the kernels of `dgkernels` compute the experts, where they can; None on a GPU only. Where they
            cannot, the model's `kernel_note` says why. None also lets a small model on a CPU denoise by C where there
            is a compiler (`dgengine.native`); `native_note` says why not.

    Raises:
        ConfigError: another architecture, or something that the engine does not support.
        CheckpointError: a file or tensor that is missing, unexpected, misshapen, unreadable or corrupted, or that the
            recipe does not fit.
        ValueError: another dtype, or more layers to stream than there are.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"the engine computes in float32 or bfloat16, not in {dtype}")
    folder = Path(path)
    with ExitStack() as stack:
        config, files, layout = open_checkpoint(folder, stack)
        return read_model(config, files, layout, torch.device(device), dtype, recipe, report, streamed, kernels)


def read_model(
    config: ModelConfig,
    files: TensorFiles,
    layout: Layout,
    device: torch.device,
    dtype: torch.dtype,
    recipe: Recipe,
    report: Report,
    streamed: int,
    kernels: bool | None,
) -> Model:
    """The rest of `load_model`, of a directory that is open; the arguments and errors are its."""
    in_host = spread(len(config.layers), streamed)
    reader = Reader(files, layout, device, dtype, recipe, in_host)
    if device.type == "cpu" and kernels is None and config.computes_all_experts and not in_host:
        return _assemble_natively(config, reader, dtype, report)
    wanted = device.type == "cuda" if kernels is None else kernels
    return assemble(config, reader, device, dtype, wanted, report, in_host)


def _assemble_natively(config: ModelConfig, source: Source, dtype: torch.dtype, report: Report) -> Model:
    """A small model on a CPU, denoised by C where that can be had."""
    recording = Recording(source)
    model = Model(config, build(config, recording, report))
    model.native, model.native_note = native_passes(model, recording)
    return model


def assemble(
    config: ModelConfig,
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    kernels: bool,
    report: Report = lambda done: None,
    in_host: Sequence[int] = (),
) -> Model:
    """A model of the weights that `source` gives, with kernels where they are wanted and run."""
    if not kernels:
        return Model(config, build(config, source, report), in_host)
    packer = Packer(config, device, dtype)
    weights = build(config, source, report, packer)
    model = Model(config, weights, in_host)
    reasons: list[str | None] = [*packer.reasons]
    model.kernel_head, reason = kernel_head(model.embedding, config.final_logit_softcapping)
    reasons.append(reason)
    model.stack.kernels, reason = kernel_layers(config, weights, model.residual_dtype)
    reasons.append(reason)
    attention, reason = kernel_attention(config, device, dtype)
    model.canvas_attention = attention or model.canvas_attention
    model.kernel_note = "; ".join(dict.fromkeys(own for own in (*reasons, reason) if own)) or None
    return model


def open_checkpoint(folder: Path, stack: ExitStack) -> tuple[ModelConfig, TensorFiles, Layout]:
    """Opens a model directory and checks that it holds a whole model; `stack` closes its files.

    Raises:
        ConfigError, CheckpointError: as `load_model`.
    """
    refuse_other_forms(folder)
    config = ModelConfig.from_directory(folder)
    files = TensorFiles(weight_files(folder), stack)
    layout = detect(expected_shapes(config), files)
    _check(files, layout, folder)
    return config, files, layout


def is_vision(name: str) -> bool:
    """Whether a tensor belongs to the vision tower, which `dgengine.vision.tower` reads."""
    return name.startswith(_VISION)


def refuse_other_forms(folder: Path) -> None:
    """Raises CheckpointError for what is no directory of safetensors files."""
    if folder.suffix == ".gguf" or (folder.is_dir() and any(folder.glob("*.gguf")) and not _has_weights(folder)):
        raise CheckpointError(f"{folder} is in GGUF format, which is not supported; use a safetensors checkpoint.")
    if not folder.exists():
        raise CheckpointError(f"There is no model directory {folder}.")
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; a model is a directory with config.json and safetensors in it.")


def _has_weights(folder: Path) -> bool:
    return (folder / SINGLE).exists() or (folder / INDEX).exists()


def _check(files: TensorFiles, layout: Layout, folder: Path) -> None:
    """Raises CheckpointError unless the files hold exactly the tensors of `layout`."""
    needed = layout.tensors()
    if missing := needed.keys() - files.names:
        raise CheckpointError(f"{folder} lacks {_listed(missing)}.")
    optional = {name: expected for name, expected in layout.optional().items() if name in files}
    extra = {name for name in files.names - needed.keys() - optional.keys() if not is_vision(name)}
    known = needed | optional
    aliases = {name: first for name in extra if (first := _first_name(name)) in known}
    if unexpected := extra - aliases.keys():
        raise CheckpointError(f"{folder} holds {_listed(unexpected)}, which this architecture does not have.")
    known |= {name: known[first] for name, first in aliases.items()}
    for name, expected in sorted(known.items()):
        _check_form(name, expected, *files.describe(name))
    for name, first in sorted(aliases.items()):
        if first in needed and not _same(files, name, first):
            raise CheckpointError(f"The tensor {name} differs from {first}, to which it should be tied.")


def _check_form(name: str, expected: Expected, shape: Shape, dtype: str) -> None:
    if shape not in expected.shapes:
        raise CheckpointError(
            f"The tensor {name} has the shape {list(shape)}; the configuration asks for {list(expected.shapes[0])}."
        )
    if dtype not in expected.dtypes:
        needed = "only plain floating-point weights are read" if expected.dtypes == FLOATS else _dtypes(expected)
        raise CheckpointError(f"The tensor {name} is stored as {dtype}; {needed}.")


def _dtypes(expected: Expected) -> str:
    return f"it must be {' or '.join(sorted(expected.dtypes))}"


def _same(files: TensorFiles, name: str, first: str) -> bool:
    one, other = files.raw(name), files.raw(first)
    if one.dtype != other.dtype:
        return torch.equal(one.float(), other.float())
    if one.dtype == torch.float8_e4m3fn:
        return torch.equal(one.view(torch.uint8), other.view(torch.uint8))
    return torch.equal(one, other)


def _first_name(name: str) -> str:
    for pattern, first in _ALIASES:
        if match := pattern.fullmatch(name):
            return match.expand(first)
    return name


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(map(shown, names))
    more = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return f"the tensor{'s' if len(ordered) > 1 else ''} {', '.join(ordered[:_NAMED])}{more}"
