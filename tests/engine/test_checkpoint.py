"""Loading: what is read, and that everything else is refused by name, in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dgengine.checkpoint import load_model
from dgengine.config import ModelConfig, RopeConfig
from dgengine.errors import CheckpointError, ConfigError
from dgengine.model import Model
from tests.engine.tiny import SPECS, make_checkpoint, tiny_checkpoint

CONFIGS = Path(__file__).parent / "configs"

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
EMBEDDING = "model.decoder.embed_tokens.weight"
ENCODER_SCALAR = "model.encoder.language_model.layers.1.layer_scalar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to break."""
    return Path(shutil.copytree(tiny_checkpoint("base"), tmp_path / "copy"))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads((folder / "config.json").read_text())
    change(data)
    (folder / "config.json").write_text(json.dumps(data))


def refusal(folder: Path, kind: type[CheckpointError] = CheckpointError) -> str:
    """The message that loading ends in: one sentence, on one line."""
    with pytest.raises(kind) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def logits(model: Model) -> Tensor:
    cache = model.new_cache()
    model.encode(torch.arange(1, 20), cache)
    return model.decode(torch.arange(8), cache)


def test_loads_from_a_string_too() -> None:
    model = load_model(str(tiny_checkpoint("base")))
    assert (model.dtype, model.device.type) == (torch.float32, "cpu")
    assert model.config.canvas_length == 8
    assert torch.equal(logits(model), logits(load_model(tiny_checkpoint("base"))))


def test_shards_and_one_file_hold_the_same_model(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SPECS["base"], max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    assert not (folder / WEIGHTS).exists()
    assert torch.equal(logits(load_model(folder)), logits(load_model(tiny_checkpoint("base"))))


def test_bfloat16_files_are_widened(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SPECS["base"], dtype=torch.bfloat16)
    assert torch.equal(logits(load_model(folder)), logits(load_model(tiny_checkpoint("base"))))


def test_bytes_follow_the_dtype() -> None:
    wide = load_model(tiny_checkpoint("base")).weight_bytes()
    narrow = load_model(tiny_checkpoint("base"), dtype=torch.bfloat16).weight_bytes()
    assert wide / 2 <= narrow < 0.6 * wide


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        load_model(tiny_checkpoint("base"), dtype=torch.float16)


def test_vision_tensors_are_set_aside(folder: Path) -> None:
    whole = load_model(folder)
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "vision" in name])
    assert torch.equal(logits(load_model(folder)), logits(whole))
    assert load_model(folder).weight_bytes() == whole.weight_bytes()


def test_every_single_tensor_is_needed(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    for name in [name for name in tensors if "vision" not in name]:
        rest = {key: tensor for key, tensor in tensors.items() if key != name}
        save_file(rest, folder / WEIGHTS)
        assert name in refusal(folder)


def test_a_missing_encoder_scalar_is_named(folder: Path) -> None:
    change_tensors(folder, lambda tensors: tensors.pop(ENCODER_SCALAR))
    assert refusal(folder) == f"{folder} lacks the tensor {ENCODER_SCALAR}."


def test_many_missing_tensors_are_not_all_listed(folder: Path) -> None:
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "layers.1" in name])
    assert " more." in refusal(folder)


@pytest.mark.parametrize(
    "name", ["model.decoder.layers.3.layer_scalar", "model.decoder.layers.2.self_attn.v_proj.weight"]
)
def test_an_unexpected_tensor_is_named(folder: Path, name: str) -> None:
    change_tensors(folder, lambda tensors: tensors.update({name: torch.zeros(1)}))
    assert refusal(folder) == f"{folder} holds the tensor {name}, which this architecture does not have."


def test_a_misshapen_tensor_is_named_with_both_shapes(folder: Path) -> None:
    name = "model.decoder.layers.0.mlp.up_proj.weight"
    change_tensors(folder, lambda tensors: tensors.update({name: tensors[name].t().contiguous()}))
    assert refusal(folder) == f"The tensor {name} has the shape [32, 48]; the configuration asks for [48, 32]."


def test_quantised_tensors_are_named(folder: Path) -> None:
    name = "model.decoder.layers.0.experts.down_proj"
    change_tensors(folder, lambda tensors: tensors.update({name: tensors[name].to(torch.int8)}))
    assert f"{name} is stored as I8" in refusal(folder)


def test_second_names_of_tied_tensors_are_accepted_if_equal(folder: Path) -> None:
    shared = "layers.0.self_attn.q_proj.weight"
    expected = logits(load_model(folder))

    def tie(tensors: dict[str, Tensor]) -> None:
        tensors["lm_head.weight"] = tensors[EMBEDDING].clone()
        tensors[f"model.encoder.language_model.{shared}"] = tensors[f"model.decoder.{shared}"].clone()

    change_tensors(folder, tie)
    assert torch.equal(logits(load_model(folder)), expected)
    change_tensors(folder, lambda tensors: tensors["lm_head.weight"].add_(1))
    assert refusal(folder) == f"The tensor lm_head.weight differs from {EMBEDDING}, to which it should be tied."


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files(folder: Path, keep: float) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: int(keep * len(data))])
    assert f"{folder / WEIGHTS} is not a whole safetensors file" in refusal(folder)


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\x10" + b"\0" * 7 + b"{not json at all"], ids=["length", "header"])
def test_corrupted_headers(folder: Path, garbage: bytes) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(garbage + data[len(garbage) :])
    assert f"{folder / WEIGHTS} is not a whole safetensors file" in refusal(folder)


def test_an_unreadable_weight_file(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()  # unreadable even to root
    assert str(folder / WEIGHTS) in refusal(folder)


def test_an_unreadable_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert f"{folder / 'config.json'} cannot be read" in refusal(folder)


def test_pickles_are_never_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was opened"))
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "pickle" in refusal(folder)


def test_a_directory_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert refusal(folder) == f"{folder} holds no weights: neither {WEIGHTS} nor {INDEX}."


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SPECS["base"], max_shard_size="40KB")
    shard = sorted(folder.glob("*.safetensors"))[2]
    shard.unlink()
    assert str(shard) in refusal(folder)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, SPECS["base"], max_shard_size="40KB")
    first, second = sorted(folder.glob("*.safetensors"))[:2]
    name, tensor = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: tensor}, second)
    assert f"both hold the tensor {name}" in refusal(folder)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": {}}', '{"weight_map": []}'])
def test_an_index_without_a_map(folder: Path, index: str) -> None:
    (folder / INDEX).write_text(index)
    assert refusal(folder) == f"{folder / INDEX} has no weight_map."


def test_an_index_that_leads_out_of_the_directory(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": {"a": "../../secret.safetensors"}}')
    assert "outside the model directory" in refusal(folder)


def test_no_such_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == f"There is no model directory {tmp_path / 'none'}."


def test_a_file_is_no_directory(folder: Path) -> None:
    assert "is a file" in refusal(folder / WEIGHTS)


def test_gguf_is_refused_as_a_file_and_in_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "model-Q4_K_M.gguf"
    assert "GGUF" in refusal(file)
    file.write_bytes(b"GGUF")
    assert "GGUF" in refusal(file)
    assert "GGUF" in refusal(tmp_path)


def test_a_directory_without_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert refusal(folder) == f"{folder} holds no config.json, so it is not a model directory."


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_a_config_that_is_no_json_object(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert "config.json" in refusal(folder)


def _text(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda data: data["text_config"].update(values)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data.update(model_type="llama"), "'llama'"),
        (lambda data: (data.pop("model_type"), data.update(architectures=["GPT2LMHeadModel"])), "'GPT2LMHeadModel'"),
        (lambda data: data.clear(), "'unnamed'"),
        (_text(use_bidirectional_attention="all"), 'use_bidirectional_attention: "all"'),
        (lambda data: data.update(quantization_config={"quant_method": "gptq"}), "quantised by 'gptq'"),
        (lambda data: data.update(tie_word_embeddings=False), "untied"),
        (lambda data: data.pop("text_config"), "text_config"),
        (lambda data: data.update(canvas_length=0), "canvas_length"),
        (_text(hidden_size="many"), "hidden_size"),
        (_text(hidden_size=-32), "hidden_size"),
        (_text(num_experts=None), "num_experts"),
        (_text(top_k_experts=9), "9 of only 4 experts"),
        (_text(hidden_activation="relu"), "'relu'"),
        (_text(attention_bias=True), "bias"),
        (_text(num_key_value_heads=3), "3 K/V heads"),
        (_text(head_dim=15), "15"),
        (_text(sliding_window=1), "window"),
        (_text(final_logit_softcapping=None), "final_logit_softcapping"),
        (_text(rope_parameters={"sliding_attention": {"rope_type": "yarn", "rope_theta": 1.0}}), "'yarn'"),
        (_text(rope_parameters={}), "sliding_attention"),
        (_text(layer_types=["sliding_attention", "linear_attention", "full_attention"]), "linear_attention"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused(folder: Path, change: Callable[[dict[str, Any]], Any], expected: str) -> None:
    change_config(folder, change)
    assert expected in refusal(folder, ConfigError)


@pytest.mark.parametrize("version", ["5.11.0", "5.15.0", "5.23.0"])
def test_configs_are_read_as_that_release_wrote_them(version: str) -> None:
    """`configs/` holds what `DiffusionGemmaConfig.save_pretrained` of these releases wrote for one model."""
    config = ModelConfig.from_dict(json.loads((CONFIGS / f"{version}.json").read_text()))
    assert [layer.kind for layer in config.layers] == ["sliding", "sliding", "full"]
    assert [(layer.head_dim, layer.num_key_value_heads) for layer in config.layers] == [(32, 2), (32, 2), (64, 1)]
    assert (config.rope_sliding, config.rope_full) == (RopeConfig(10_000.0), RopeConfig(1_000_000.0, 0.25))
    assert (config.hidden_size, config.sliding_window, config.canvas_length, config.top_k_experts) == (64, 16, 24, 2)


def test_configs_in_the_old_spelling_are_read(folder: Path) -> None:
    expected = logits(load_model(folder))

    def spell_as_of_old(data: dict[str, Any]) -> None:
        text = data["text_config"]
        del text["per_layer_config"]
        text.update(global_head_dim=24, num_global_key_value_heads=1)
        data["transformers_version"] = "5.11.0"

    change_config(folder, spell_as_of_old)
    assert torch.equal(logits(load_model(folder)), expected)


def test_omitted_fields_take_the_reference_defaults(folder: Path) -> None:
    expected = logits(load_model(folder))
    fields = ("rope_parameters", "rms_norm_eps", "hidden_activation", "layer_types", "final_logit_softcapping")

    def omit(data: dict[str, Any]) -> None:
        for name in fields:
            data["text_config"].pop(name, None)
        data["text_config"]["layer_types"] = ["sliding_attention"] * 2 + ["full_attention"]

    change_config(folder, omit)
    assert torch.equal(logits(load_model(folder)), expected)


def test_no_tokenizer_and_no_generation_config_are_needed(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", WEIGHTS]
    assert logits(load_model(folder)).isfinite().all()
