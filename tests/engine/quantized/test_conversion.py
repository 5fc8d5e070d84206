"""Writing a checkpoint anew with its experts in NVFP4: the layout of NVIDIA's, whole or not at all."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import dgengine
from dgengine import conversion
from dgengine.checkpoint import load_model
from dgengine.config import LayerConfig, ModelConfig, RopeConfig
from dgengine.conversion import Forms, convert, converted_forms
from dgengine.engine import Engine
from dgengine.errors import CheckpointError
from dgengine.layouts import Layout, detect
from dgengine.quantized import nvfp4
from dgengine.quantized.forms import Recipe, quantize, recipe_of
from dgengine.tensor_files import TensorFiles
from dgengine.tensor_writer import TensorWriter, tensor_bytes
from dgengine.weights import expected_shapes
from tests.engine.layouts import SPECS, WEIGHTS, checkpoint
from tests.engine.test_checkpoint import logits
from tests.engine.tiny import make_chat_checkpoint, make_checkpoint

MANIFEST = json.loads((Path(__file__).parent / "nvidia_nvfp4.json").read_text())
FULL = ModelConfig(
    vocab_size=262144,
    hidden_size=2816,
    intermediate_size=2112,
    num_attention_heads=16,
    layers=tuple(
        LayerConfig("full", 512, 2) if index % 6 == 5 else LayerConfig("sliding", 256, 8) for index in range(30)
    ),
    sliding_window=1024,
    rope_sliding=RopeConfig(1e4),
    rope_full=RopeConfig(1e6, 0.25),
    max_position_embeddings=262144,
    num_experts=128,
    top_k_experts=8,
    moe_intermediate_size=704,
    canvas_length=256,
)


class FormsOnly:
    """Stands for open files of which only names, shapes and dtypes are known."""

    def __init__(self, forms: Forms) -> None:
        self.forms = forms

    def __contains__(self, name: object) -> bool:
        return name in self.forms

    def describe(self, name: str) -> Any:
        return self.forms[name]


def layout_of(forms: Forms, config: ModelConfig) -> Layout:
    return detect(expected_shapes(config), cast("TensorFiles", FormsOnly(forms)))


def manifest() -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    """The tensors of NVIDIA's checkpoint but for vision: name, shape, dtype."""
    full = set(MANIFEST["full_layers"])
    yield from _expanded("once", {})
    for layer in range(MANIFEST["layers"]):
        yield from _expanded("every_layer", {"layer": layer})
        yield from _expanded("full_layers_only" if layer in full else "sliding_layers", {"layer": layer})
        for expert in range(MANIFEST["experts"]):
            yield from _expanded("every_expert", {"layer": layer, "expert": expert})


def _expanded(section: str, numbers: dict[str, int]) -> Iterator[tuple[str, tuple[tuple[int, ...], str]]]:
    for tensor in MANIFEST[section]:
        yield tensor["name"].format(**numbers), (tuple(tensor["shape"]), tensor["dtype"])


def vision() -> Forms:
    """As many vision tensors as the checkpoints have; what they are called within the tower does not matter."""
    count = MANIFEST["vision_tensors"]
    names = [f"model.encoder.vision_tower.{index}.weight" for index in range(count - 1)]
    return dict.fromkeys([*names, "model.encoder.embed_vision.embedding_projection.weight"], ((1152,), "BF16"))


@functools.cache
def full_size() -> Forms:
    plain = {name: (shape, "BF16") for name, shape in expected_shapes(FULL).items()} | vision()
    assert len(plain) == 1047
    return converted_forms(plain, layout_of(plain, FULL))


def test_at_full_size_the_tensors_are_those_of_nvidia() -> None:
    expected = dict(manifest()) | vision()
    assert len(expected) == MANIFEST["tensors_in_all"]
    assert full_size() == expected


def test_at_full_size_the_shards_are_as_many_and_as_large() -> None:
    shards = conversion._shards(full_size())
    assert len(shards) == MANIFEST["shards"]
    assert sorted(name for names in shards.values() for name in names) == sorted(full_size())
    # 18.82 GB with vision, of which this stands for 356 small tensors
    assert 17.5e9 < sum(tensor_bytes(*form) for form in full_size().values()) < 18.82e9


def test_at_full_size_nvidias_tensors_are_recognised() -> None:
    forms = dict(manifest()) | vision()
    layout = layout_of(forms, FULL)
    assert layout.tensors().keys() | layout.optional().keys() == dict(manifest()).keys()
    assert {experts.form for experts in layout.experts.values()} == {"nvfp4"}
    assert {matrix.form for matrix in layout.matrices.values()} == {None}
    for name, expected in (layout.tensors() | layout.optional()).items():
        assert forms[name][0] in expected.shapes and forms[name][1] in expected.dtypes, name


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "model"
    make_checkpoint(folder, SPECS["routed"], dtype=torch.bfloat16)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("hello")
    (folder / "LICENSE").write_text("free")
    (folder / "README.md").write_text("about the plain one")
    return folder


def held(folder: Path) -> Forms:
    with safe_open(folder / WEIGHTS, "pt") as file:
        views = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return {name: (tuple(view.get_shape()), view.get_dtype()) for name, view in views.items()}


def test_the_files_of_the_new_directory(plain: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    target = convert(plain, tmp_path / "deep" / "new", report=seen.append)
    assert sorted(path.name for path in target.iterdir()) == [
        "LICENSE", "chat_template.jinja", "config.json", "generation_config.json", "hf_quant_config.json", WEIGHTS,
        "tokenizer.json",
    ]  # fmt: skip
    assert seen == sorted(seen) and (seen[0], seen[-1]) == (0, 1)
    config = json.loads((target / "config.json").read_text())
    assert config.pop("quantization_config")["quant_algo"] == "NVFP4"
    assert config == json.loads((plain / "config.json").read_text())
    assert list(tmp_path.joinpath("deep").iterdir()) == [target]


def test_what_is_written_is_what_was_planned_in_the_layout_of_modelopt(plain: Path, tmp_path: Path) -> None:
    target = convert(plain, tmp_path / "new")
    before = held(plain)
    layout = layout_of(before, ModelConfig.from_directory(plain))
    assert held(target) == converted_forms(before, layout)
    text = {name: form for name, form in held(target).items() if "vision" not in name}
    public = {name for name in held(checkpoint("modelopt-nvfp4").coded) if "vision" not in name}
    assert text.keys() == public
    for name, tensor in load_file(plain / WEIGHTS).items():
        if "experts" not in name.rpartition(".")[0]:
            assert torch.equal(load_file(target / WEIGHTS)[name], tensor)


def test_every_expert_is_quantised_by_itself(plain: Path, tmp_path: Path) -> None:
    new = load_file(convert(plain, tmp_path / "new") / WEIGHTS)
    fused = load_file(plain / WEIGHTS)["model.decoder.layers.2.experts.gate_up_proj"]
    for name, matrix in (("gate_proj", fused[3, :32]), ("up_proj", fused[3, 32:])):
        coded = nvfp4.encode(matrix)
        prefix = f"model.decoder.layers.2.experts.3.{name}"
        assert torch.equal(new[f"{prefix}.weight"], coded.codes)
        assert torch.equal(new[f"{prefix}.weight_scale"].view(torch.uint8), coded.scales.view(torch.uint8))
        assert new[f"{prefix}.weight_scale_2"] == matrix.abs().max() / torch.tensor(2688.0)


def test_loading_it_is_quantising_while_loading(plain: Path, tmp_path: Path) -> None:
    converted = load_model(convert(plain, tmp_path / "new"))
    on_the_fly = load_model(plain, recipe=Recipe("nvfp4"))
    assert torch.equal(logits(converted), logits(on_the_fly))
    assert converted.weight_bytes() == on_the_fly.weight_bytes()


def test_experts_apart_make_the_same_checkpoint(tmp_path: Path) -> None:
    pair = checkpoint("plain-apart")
    one, other = convert(pair.coded, tmp_path / "one"), convert(pair.plain, tmp_path / "other")
    assert torch.equal(logits(load_model(one)), logits(load_model(other)))


def test_in_several_shards(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_LARGEST_SHARD", 100_000)
    target = convert(plain, tmp_path / "new")
    shards = sorted(path.name for path in target.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    index = json.loads((target / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(shards)
    assert index["metadata"]["total_size"] == sum(
        tensor.nbytes for shard in shards for tensor in load_file(target / shard).values()
    )
    assert torch.equal(logits(load_model(target)), logits(load_model(plain, recipe=Recipe("nvfp4"))))


def test_a_converted_model_answers(tmp_path: Path) -> None:
    folder = make_chat_checkpoint(tmp_path / "chat")
    engine = dgengine.Engine.load(dgengine.convert(folder, tmp_path / "new"), device="cpu")
    ids = engine.encode_chat([{"role": "user", "content": "hello"}])
    events = list(engine.session().generate(ids, dgengine.Sampling(max_new_tokens=8)))
    assert isinstance(events[-1], dgengine.Done)
    assert engine.info.precision == "nvfp4"


# whole or not at all


@pytest.mark.parametrize("layout", ["modelopt-nvfp4", "compressed-nvfp4", "compressed-fp8"])
def test_what_is_quantised_is_not_converted(layout: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is quantised already"):
        convert(checkpoint(layout).coded, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    for target in (tmp_path, tmp_path / "mine", plain):
        with pytest.raises(CheckpointError, match="is there already"):
            convert(plain, target)
    assert (tmp_path / "mine").read_text() == "precious"


def test_an_empty_directory_is_taken(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    load_model(convert(plain, tmp_path / "new"))


def test_the_present_directory_and_a_link_to_one(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (tmp_path / "link").symlink_to(there)
    monkeypatch.chdir(here)
    convert(plain, Path())
    assert (here / "config.json").is_file()
    convert(plain, tmp_path / "link")
    assert (there / "config.json").is_file() and (tmp_path / "link").is_symlink()


def test_a_directory_in_use_is_told_of_at_once(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "rmdir", busy)
    monkeypatch.setattr("dgengine.quantized.nvfp4.encode", None)  # nothing is quantised
    (tmp_path / "mounted").mkdir()
    with pytest.raises(CheckpointError, match="in use"):
        convert(plain, tmp_path / "mounted")


def test_a_broken_source_leaves_nothing(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", SPECS["routed"])
    tensors = load_file(folder / WEIGHTS)
    tensors["model.decoder.layers.2.experts.down_proj"][7, 3, 2] = torch.nan
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"layers\.2\.experts\.7\.down_proj .* not finite"):
        convert(folder, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CheckpointError, match=r"has room for 0\.0 GB"):
        convert(plain, tmp_path / "new")
    monkeypatch.undo()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        convert(plain, tmp_path / "new")
    assert not list(tmp_path.iterdir())


_SLOW = """
import sys, time
from pathlib import Path
from dgengine import conversion
quantized = conversion._quantized
def slowly(name, weight):
    print(name, flush=True)
    time.sleep(0.2)
    return quantized(name, weight)
conversion._quantized = slowly
conversion.convert(sys.argv[1], sys.argv[2])
"""


def test_a_killed_conversion_is_not_taken_for_a_model(plain: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(plain), str(tmp_path / "new")], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".new.") and left.name.endswith(".partial")
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        load_model(left)
    load_model(convert(plain, tmp_path / "new"))  # and does not stand in the way


# the writer


def test_the_writer_wants_every_tensor_once_and_as_announced(tmp_path: Path) -> None:
    forms: Forms = {"a": ((2, 3), "F32"), "b": ((), "BF16"), "c": ((0, 4), "U8")}
    values: dict[str, Tensor] = {
        "a": torch.randn(3, 2).t(),
        "b": torch.tensor(1.5, dtype=torch.bfloat16),
        "c": torch.empty(0, 4, dtype=torch.uint8),
    }
    with TensorWriter(tmp_path / "x", forms) as writer:
        for name in ("b", "c", "a"):
            writer.write(name, values[name])
        with pytest.raises(ValueError, match="once"):
            writer.write("a", values["a"])
    for name, tensor in load_file(tmp_path / "x").items():
        assert torch.equal(tensor, values[name])
    with pytest.raises(ValueError, match="never written, c among them"), TensorWriter(tmp_path / "y", forms) as writer:
        writer.write("a", values["a"])
        writer.write("b", values["b"])
    with pytest.raises(ValueError, match=r"was to be \[2, 3\] F32"), TensorWriter(tmp_path / "z", forms) as writer:
        writer.write("a", values["b"])
    with pytest.raises(FileExistsError):
        TensorWriter(tmp_path / "x", forms)
    with pytest.raises(CheckpointError, match="stored as F4"):
        TensorWriter(tmp_path / "w", {"a": ((1,), "F4")})


# quantised while loading


def _coded_and_back(tensors: dict[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """What a recipe leaves of a plain checkpoint."""
    dense = re.compile(r"model\.decoder\..*(self_attn|mlp|self_conditioning)\.\w+_proj\.weight")
    back = {}
    for name, tensor in tensors.items():
        if ".experts." in name and recipe.experts:
            halves = 2 if "gate_up" in name else 1
            parts = [quantize(part, recipe.experts) for matrix in tensor for part in matrix.chunk(halves)]
            tensor = torch.cat([part.dense(torch.float32) for part in parts]).view(tensor.shape)
        elif dense.fullmatch(name) and recipe.dense:
            tensor = quantize(tensor, recipe.dense).dense(torch.float32)
        back[name] = tensor.float()
    return back


@pytest.mark.parametrize("precision", ["nvfp4", "nf4", "fp8", "nvfp4+fp8", "nf4+nf4", "fp8+int8", "nvfp4+nvfp4"])
def test_precisions_that_quantise_while_loading(precision: str, wide_plain: Path, tmp_path: Path) -> None:
    engine = Engine.load(wide_plain, device="cpu", precision=precision)
    recipe = recipe_of(precision)
    assert recipe is not None and engine.info.precision == recipe.experts == precision.partition("+")[0]
    shutil.copy(wide_plain / "config.json", tmp_path)
    save_file(_coded_and_back(load_file(wide_plain / WEIGHTS), recipe), tmp_path / WEIGHTS)
    expected = load_model(tmp_path)
    assert (logits(engine.model) - logits(expected)).norm() <= 1e-5 * logits(expected).norm()
    assert engine.info.weight_bytes < 0.7 * expected.weight_bytes()
    assert engine.info.parameters == expected.parameter_count()


@pytest.fixture(scope="module")
def wide_plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("wide"), SPECS["wide"], dtype=torch.bfloat16)


def test_experts_are_not_coded_twice() -> None:
    coded = checkpoint("modelopt-nvfp4").coded
    assert torch.equal(logits(load_model(coded, recipe=Recipe("nvfp4"))), logits(load_model(coded)))
    with pytest.raises(CheckpointError, match="stored as nvfp4, which is not quantised again to fp8"):
        Engine.load(coded, device="cpu", precision="fp8")
    engine = Engine.load(coded, device="cpu", precision="nvfp4+fp8")  # the dense part was plain
    assert engine.info.weight_bytes < Engine.load(coded, device="cpu").info.weight_bytes


def test_a_width_that_a_form_cannot_cut() -> None:
    with pytest.raises(CheckpointError, match=r"experts\.down_proj cannot be quantised to nf4: .* blocks of 64"):
        Engine.load(checkpoint("plain-apart").plain, device="cpu", precision="nf4")
