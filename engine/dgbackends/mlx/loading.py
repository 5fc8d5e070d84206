"""A checkpoint's weights, through mlx-vlm."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dgengine import memory
from dgengine.errors import CheckpointError, DeviceError, InsufficientMemoryError, described

PRECISIONS: Final = ("auto", "float32", "bfloat16")
DEVICES: Final = ("auto", "cpu", "gpu")
_MISSING: Final = 'The MLX engine needs mlx-vlm, which is not installed: pip install "dgchat[mlx]".'
_OLD: Final = 'This mlx-vlm cannot run DiffusionGemma step by step: pip install -U "dgchat[mlx]".'
# What MLX's messages hold where memory ran out; it has no exception of its own for it.
_SIGNS: Final = ("[metal::malloc]", "Insufficient Memory", "[malloc")
# What transformers writes for one kind of layers, and what mlx-vlm calls it.
_FULL_LAYERS: Final = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory has run out."""
    return memory.is_exhausted(error) or (isinstance(error, RuntimeError) and any(s in str(error) for s in _SIGNS))


def core() -> Any:
    """`mlx.core`.

    Raises:
        DeviceError: mlx or mlx-vlm is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("mlx", "mlx_vlm")):
        raise DeviceError(_MISSING)
    import mlx.core

    return mlx.core


def streamer() -> Callable[..., Any]:
    """mlx-vlm's generator of drafts.

    Its public `stream_generate` gathers an answer of this model in whole before it yields any of it, drafts included.

    Raises:
        DeviceError: this mlx-vlm has none.
    """
    try:
        from mlx_vlm.generate.diffusion import stream_diffusion_generate
    except ImportError as error:
        raise DeviceError(_OLD) from error
    found: Callable[..., Any] = stream_diffusion_generate
    return found


def load_model(path: Path, device: str, precision: str) -> Any:
    """The model of a directory, a `mlx_vlm.models.diffusion_gemma.Model`.

    Raises:
        CheckpointError, DeviceError, InsufficientMemoryError.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"MLX has no precision {precision!r} here: give one of {', '.join(PRECISIONS)}, or a model that was "
            "converted to it."
        )
    mx = core()
    _choose(mx, device)
    dtype = _dtype(mx, precision)
    streamer()  # too old a release shows before gigabytes are read
    from mlx_vlm.utils import load_model as load_mlx_model

    try:
        with _readable(path) as folder:
            model = load_mlx_model(folder)
        if dtype is not None:
            model.set_dtype(dtype)
        mx.eval(model.parameters())
    except CheckpointError:
        raise
    except Exception as error:
        if is_exhausted(error):
            raise InsufficientMemoryError(
                "Memory ran out while mlx-vlm loaded the model: close other programs, or give a model that was "
                "converted to fewer bits."
            ) from error
        raise CheckpointError(f"mlx-vlm cannot load {path}: {described(error)}") from error
    return model


def _choose(mx: Any, device: str) -> None:
    if device not in DEVICES:
        raise DeviceError(f"MLX has no device {device!r}: give one of {', '.join(DEVICES)}.")
    if device == "auto":
        return
    try:
        mx.set_default_device(getattr(mx, device))
    except ValueError as error:
        raise DeviceError(f"This MLX has no {device.upper()}: give auto or cpu.") from error


def on_cpu(mx: Any) -> bool:
    """Whether MLX computes on the CPU."""
    return "cpu" in str(mx.default_device()).lower()


def _dtype(mx: Any, precision: str) -> Any:
    """What the weights are cast to; None leaves them. MLX multiplies experts on the CPU in float32 only."""
    if precision == "auto":
        return mx.float32 if on_cpu(mx) else None
    if precision == "bfloat16" and on_cpu(mx):
        raise DeviceError("MLX computes experts on the CPU in float32 only: give precision float32 or auto.")
    return getattr(mx, precision)


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """The directory with a configuration that mlx-vlm reads.

    Recent releases of transformers write what is different about full-attention layers layer by layer, which mlx-vlm
    does not know: such a directory is shown through links, with its configuration rewritten.

    Raises:
        CheckpointError: there is no configuration that could be read.
    """
    config = _config(path)
    text = config.get("text_config")
    if not isinstance(text, dict) or "per_layer_config" not in text:
        yield path
        return
    config["text_config"] = translated(text)
    with tempfile.TemporaryDirectory() as folder:
        for file in path.iterdir():
            if file.name != "config.json":
                (Path(folder) / file.name).symlink_to(file.resolve())
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        yield Path(folder)


def translated(text: Mapping[str, Any]) -> dict[str, Any]:
    """A text configuration with `per_layer_config` in the words of mlx-vlm.

    Raises:
        CheckpointError: it says more than mlx-vlm has words for.
    """
    result = {key: value for key, value in text.items() if key != "per_layer_config"}
    layers: Mapping[str, Mapping[str, Any]] = text["per_layer_config"]
    full = [str(number) for number, kind in enumerate(text.get("layer_types", ())) if kind == "full_attention"]
    found = list(layers.values())
    unknown = {key for layer in found for key in layer} - set(_FULL_LAYERS)
    if unknown or sorted(layers) != sorted(full) or any(layer != found[0] for layer in found):
        raise CheckpointError("mlx-vlm cannot run this model: its layers differ in more than full attention does.")
    return {**result, **{_FULL_LAYERS[key]: value for key, value in found[0].items()}}


def _config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("model_type") != "diffusion_gemma":
        raise CheckpointError(f"{path} is no DiffusionGemma, so the MLX engine cannot run it.")
    return config
