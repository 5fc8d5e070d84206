"""Each public layout, loaded: the same logits as transformers has from the decoded weights; and what is refused."""

from __future__ import annotations

import functools
import shutil
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgengine.checkpoint import load_model, open_checkpoint
from dgengine.errors import CheckpointError
from dgengine.model import Model
from dgengine.quantized.forms import Recipe
from dgengine.reading import Reader
from tests.engine.layouts import LAYOUTS, SPECS, WEIGHTS, Layout, checkpoint, split
from tests.engine.reference import ReferenceModel
from tests.engine.tiny import TinySpec, make_checkpoint

layouts = pytest.mark.parametrize("layout", LAYOUTS)
LAYER = "model.decoder.layers.1"
MODELOPT = f"{LAYER}.experts.5.up_proj"
GLOBAL_SCALES: dict[Layout, str] = {
    "modelopt-nvfp4": "weight_scale_2",
    "compressed-nvfp4": "weight_global_scale",
    "compressed-fp8": "weight_scale",
}
coded_layouts = pytest.mark.parametrize("layout", GLOBAL_SCALES)


def inputs(spec: str) -> tuple[Tensor, Tensor, Tensor]:
    """A prompt, a canvas, and the logits of a step before."""
    generator = torch.Generator().manual_seed(3)
    vocab, canvas = SPECS[spec].vocab_size, SPECS[spec].canvas_length
    prompt = torch.randint(vocab, (30,), generator=generator)
    return prompt, torch.randint(vocab, (canvas,), generator=generator), torch.randn(canvas, vocab, generator=generator)


def run(model: Model | ReferenceModel, spec: str = "routed") -> Tensor:
    """The logits of a first and of a later step."""
    prompt, canvas, before = inputs(spec)
    cache: Any = model.new_cache()
    model.encode(prompt, cache)
    with torch.no_grad():
        return torch.stack((model.decode(canvas, cache, None), model.decode(canvas, cache, before)))


@functools.cache
def reference(layout: Layout, spec: str = "routed") -> Tensor:
    from transformers import DiffusionGemmaForBlockDiffusion

    network = DiffusionGemmaForBlockDiffusion.from_pretrained(checkpoint(layout, spec).plain, dtype=torch.float32)
    return run(ReferenceModel(network.eval()), spec)


def error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def expert_stack(model: Model) -> Any:
    branches: Any = model._weights.layers[1].branches
    return branches.experts_gate_up.stack


def copy(layout: Layout, folder: Path) -> Path:
    return Path(shutil.copytree(checkpoint(layout).coded, folder / "copy"))


def change(folder: Path, how: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    how(tensors)
    save_file(tensors, folder / WEIGHTS)


@layouts
@pytest.mark.parametrize("spec", SPECS)
def test_agrees_with_transformers_on_the_decoded_weights(layout: Layout, spec: str) -> None:
    difference = error(run(load_model(checkpoint(layout, spec).coded), spec), reference(layout, spec))
    assert difference <= 1e-5, difference  # the agreed bound is 2e-3


@layouts
def test_in_bfloat16_within_its_rounding(layout: Layout) -> None:
    own = error(run(load_model(checkpoint(layout).coded, dtype=torch.bfloat16)), reference(layout))
    plain = error(run(load_model(checkpoint(layout).plain, dtype=torch.bfloat16)), reference(layout))
    assert own <= 1.5 * plain + 1e-3, (own, plain)


@pytest.mark.gpu
@layouts
def test_on_a_gpu(layout: Layout) -> None:
    model = load_model(checkpoint(layout, "wide").coded, device="cuda")
    assert error(_on_gpu(model), reference(layout, "wide")) <= 2e-3


def _on_gpu(model: Model) -> Tensor:
    prompt, canvas, before = (tensor.cuda() for tensor in inputs("wide"))
    cache = model.new_cache()
    model.encode(prompt, cache)
    return torch.stack((model.decode(canvas, cache, None), model.decode(canvas, cache, before))).cpu()


@layouts
def test_shards_hold_the_same_model(layout: Layout, tmp_path: Path) -> None:
    folder = copy(layout, tmp_path)
    split(folder, shards=3)
    assert torch.equal(run(load_model(folder)), run(load_model(checkpoint(layout).coded)))


@layouts
def test_what_the_checkpoint_calls_itself_does_not_count(layout: Layout, tmp_path: Path) -> None:
    folder = copy(layout, tmp_path)
    other: Layout = "compressed-fp8" if layout == "modelopt-nvfp4" else "modelopt-nvfp4"
    shutil.copy(checkpoint(other).coded / "config.json", folder)
    assert torch.equal(run(load_model(folder)), run(load_model(checkpoint(layout).coded)))


def test_gates_and_ups_keep_their_own_global_scales() -> None:
    stack = expert_stack(load_model(checkpoint("modelopt-nvfp4").coded))
    stored = load_file(checkpoint("modelopt-nvfp4").coded / WEIGHTS)
    assert stack.global_scales.shape == (8, 2)
    assert len(stack.global_scales.unique()) == 16
    assert stack.global_scales[5, 1] == stored[f"{MODELOPT}.weight_scale_2"]
    assert torch.equal(stack.codes[5, 32:], stored[f"{MODELOPT}.weight"])


@pytest.mark.parametrize(
    ("layout", "name"), [("modelopt-nvfp4", "input_scale"), ("compressed-nvfp4", "input_global_scale")]
)
def test_scales_of_activations_are_optional(layout: Layout, name: str, tmp_path: Path) -> None:
    folder = copy(layout, tmp_path)
    change(folder, lambda tensors: [tensors.pop(one) for one in list(tensors) if one.endswith(name)])
    assert torch.equal(run(load_model(folder)), run(load_model(checkpoint(layout).coded)))


# memory


def _stored_bytes(layout: Layout) -> int:
    """Bytes of codes and scales as stored, and of everything plain in float32; without vision and layer scalars."""
    tensors = load_file(checkpoint(layout, "wide").coded / WEIGHTS)
    total = 0
    for name, tensor in tensors.items():
        if "vision" in name or "layer_scalar" in name or "input_" in name.rpartition(".")[2]:
            continue
        coded = tensor.dtype in (torch.uint8, torch.float8_e4m3fn) or name.endswith(GLOBAL_SCALES[layout])
        total += tensor.nbytes if coded else 4 * tensor.numel()
    return total


@coded_layouts
def test_weights_take_the_bytes_of_codes_and_scales(layout: Layout) -> None:
    held = load_model(checkpoint(layout, "wide").coded).weight_bytes()
    # norms of queries and keys are held once a head
    assert 0 <= held - _stored_bytes(layout) <= 16384


@coded_layouts
def test_no_expert_is_held_decoded_beyond_the_one_in_use(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(checkpoint(layout, "wide").coded)
    kind = type(expert_stack(model))
    decode = kind.dense
    decoded: list[weakref.ref[Any]] = []
    alive = []

    def watched(self: Any, dtype: torch.dtype) -> Tensor:
        weight: Tensor = decode(self, dtype)
        decoded.append(weakref.ref(weight))
        alive.append(sum(one() is not None for one in decoded))
        return weight

    monkeypatch.setattr(kind, "dense", watched)
    before = model.weight_bytes()
    run(model, "wide")
    assert len(decoded) > 3 * 2 * 10  # most of the experts, in three layers
    assert max(alive) == 1
    assert not any(one() is not None for one in decoded)
    assert model.weight_bytes() == before


def test_codes_that_are_not_fused_stay_in_the_file_until_used() -> None:
    folder = checkpoint("compressed-fp8").coded
    name = f"{LAYER}.mlp.down_proj"
    with ExitStack() as stack:
        _, files, layout = open_checkpoint(folder, stack)
        matrix: Any = Reader(files, layout, torch.device("cpu"), torch.float32, Recipe()).matrix(name)
        assert matrix.codes.data_ptr() == files.raw(f"{name}.weight").data_ptr()
        assert matrix.scales.data_ptr() == files.raw(f"{name}.weight_scale").data_ptr()


# what is refused


def refusal(folder: Path) -> str:
    """The message that loading ends in: one sentence, on one line."""
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


@coded_layouts
def test_every_single_tensor_of_a_layer_is_needed(layout: Layout, tmp_path: Path) -> None:
    folder = copy(layout, tmp_path)
    tensors = load_file(folder / WEIGHTS)
    for name in tensors:
        if name.startswith(LAYER) and not name.endswith((".input_scale", ".input_global_scale")):
            save_file({key: tensor for key, tensor in tensors.items() if key != name}, folder / WEIGHTS)
            assert name in refusal(folder), name


@layouts
def test_a_missing_expert_is_named(layout: Layout, tmp_path: Path) -> None:
    folder = copy(layout, tmp_path)
    first = f"{LAYER}.experts.0"
    change(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(f"{first}.")])
    assert first in refusal(folder)


def test_an_expert_too_many(tmp_path: Path) -> None:
    folder = copy("modelopt-nvfp4", tmp_path)
    name = f"{LAYER}.experts.8.up_proj.weight"
    change(folder, lambda tensors: tensors.update({name: tensors[f"{MODELOPT}.weight"].clone()}))
    assert refusal(folder) == f"{folder} holds the tensor {name}, which this architecture does not have."


def test_fused_and_apart_at_once(tmp_path: Path) -> None:
    folder = copy("modelopt-nvfp4", tmp_path)
    fused = f"{LAYER}.experts.gate_up_proj"
    change(folder, lambda tensors: tensors.update({fused: torch.zeros(8, 64, 64)}))
    assert f"{LAYER}.experts.0.gate_proj.input_scale" in refusal(folder)


def test_experts_of_a_layer_that_are_not_stored_alike(tmp_path: Path) -> None:
    folder = copy("modelopt-nvfp4", tmp_path)

    def widen(tensors: dict[str, Tensor]) -> None:
        for key in ("weight", "weight_scale", "weight_scale_2", "input_scale"):
            del tensors[f"{MODELOPT}.{key}"]
        tensors[f"{MODELOPT}.weight"] = torch.zeros(32, 64, dtype=torch.bfloat16)

    change(folder, widen)
    first = f"{LAYER}.experts.0.gate_proj"
    expected = f"The experts of a layer must be stored alike, but {first} is nvfp4 and {MODELOPT} is plain."
    assert refusal(folder) == expected


def _byte(value: int) -> Callable[[Tensor], Tensor]:
    def put(scales: Tensor) -> Tensor:
        scales = scales.clone()
        scales.view(torch.uint8)[3, 1] = value
        return scales

    return put


NVIDIA, REDHAT, FP8 = "modelopt-nvfp4", "compressed-nvfp4", "compressed-fp8"


@pytest.mark.parametrize(
    ("layout", "name", "value", "expected"),
    [
        (NVIDIA, "weight_scale", _byte(0x7F), "a scale that is NaN or negative"),
        (NVIDIA, "weight_scale", _byte(0xFF), "a scale that is NaN or negative"),
        (NVIDIA, "weight_scale", _byte(0x81), "a scale that is NaN or negative"),
        (NVIDIA, "weight_scale", torch.zeros_like, "nothing but zeros"),
        (NVIDIA, "weight_scale_2", lambda old: old * 0, "NaN, infinite, negative or zero"),
        (NVIDIA, "weight_scale_2", lambda old: old * torch.nan, "NaN, infinite, negative or zero"),
        (NVIDIA, "weight_scale_2", lambda old: old * torch.inf, "NaN, infinite, negative or zero"),
        (NVIDIA, "weight_scale_2", lambda old: -old, "NaN, infinite, negative or zero"),
        (NVIDIA, "weight_scale_2", lambda old: old.double(), "stored as F64; it must be F32"),
        (NVIDIA, "weight_scale_2", lambda old: old.repeat(2), "the shape [2]"),
        (NVIDIA, "weight_scale", lambda old: old.view(torch.uint8), "stored as U8; it must be F8_E4M3"),
        (NVIDIA, "weight_scale", lambda old: old[:, :2].clone(), "asks for [32, 4]"),
        (NVIDIA, "weight", lambda old: old[:, :16].clone(), "asks for [32, 32]"),
        (NVIDIA, "weight", lambda old: old.view(torch.int8), "stored alike"),
        (NVIDIA, "input_scale", lambda old: old.half(), "stored as F16; it must be F32"),
        (REDHAT, "weight_global_scale", lambda old: old * 0, "NaN, infinite, negative or zero"),
        (REDHAT, "weight_global_scale", lambda old: old * torch.inf, "NaN, infinite, negative or zero"),
        (REDHAT, "weight_packed", lambda old: old.view(torch.int8), "stored as I8; it must be U8"),
        (REDHAT, "weight_scale", _byte(0x7F), "a scale that is NaN or negative"),
        (FP8, "weight_scale", lambda old: old * 0, "NaN, infinite, negative or zero"),
        (FP8, "weight_scale", lambda old: old * torch.nan, "NaN, infinite, negative or zero"),
        (FP8, "weight_scale", lambda old: -old, "NaN, infinite, negative or zero"),
        (FP8, "weight_scale", lambda old: old[:1].clone(), "asks for [32, 1]"),
        (FP8, "weight_scale", lambda old: old.int(), "stored as I32"),
        (FP8, "weight", lambda old: old.view(torch.float8_e5m2), "stored alike"),
    ],
)
def test_a_bad_tensor_is_named(
    layout: Layout, name: str, value: Callable[[Tensor], Tensor], expected: str, tmp_path: Path
) -> None:
    folder = copy(layout, tmp_path)
    full = f"{MODELOPT}.{name}"
    change(folder, lambda tensors: tensors.update({full: value(tensors[full])}))
    message = refusal(folder)
    assert expected in message and MODELOPT in message


def test_single_zero_scales_are_dead_blocks(tmp_path: Path) -> None:
    folder = copy("modelopt-nvfp4", tmp_path)
    full = f"{MODELOPT}.weight_scale"
    change(folder, lambda tensors: tensors.update({full: _byte(0)(tensors[full])}))
    assert not expert_stack(load_model(folder))[5].dense(torch.float32)[32 + 3, 16:32].any()


def test_rows_that_blocks_do_not_divide(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, TinySpec(hidden_size=40))
    name = "model.decoder.layers.0.mlp.up_proj.weight"
    change(folder, lambda tensors: tensors.update({name: torch.zeros(48, 20, dtype=torch.uint8)}))
    assert "no multiple of NVFP4's block of 16" in refusal(folder)
