"""The benchmark of the full size writes what was published, in all but its numbers, and runs from end to end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import full_size
from bench.full_size import AnonymousMemory, Layout, checkpoint_forms, config_json, load_and_drop, main
from bench.sparse import write_sparse
from dgengine.checkpoint import load_model
from dgengine.config import LayerConfig, ModelConfig
from dgengine.full_model import FULL, VISION, VisionConfig
from dgengine.tensor_writer import tensor_bytes

TINY = replace(
    FULL,
    vocab_size=96,
    hidden_size=64,
    intermediate_size=48,
    num_attention_heads=4,
    layers=(LayerConfig("sliding", 16, 2), LayerConfig("sliding", 16, 2), LayerConfig("full", 32, 1)),
    sliding_window=8,
    num_experts=8,
    top_k_experts=3,
    moe_intermediate_size=32,
    canvas_length=8,
)
TINY_VISION = VisionConfig(16, 16, num_hidden_layers=2, num_attention_heads=2, head_dim=8, position_embedding_size=8)


def figures(capsys: pytest.CaptureFixture[str], out: Path, *options: str) -> dict[str, Any]:
    main(["--out", str(out), *options], TINY, TINY_VISION)
    printed = capsys.readouterr()
    assert "loading" in printed.err and "\x1b" not in printed.err
    result: dict[str, Any] = json.loads(printed.out)
    return result


@pytest.mark.parametrize(("layout", "tensors", "gigabytes"), [("nvfp4", 47_067, 18.82), ("bf16", 1047, 51.65)])
def test_the_full_size_is_the_published_one(layout: Layout, tensors: int, gigabytes: float) -> None:
    forms = checkpoint_forms(FULL, VISION, layout)
    assert len(forms) == tensors
    assert sum(tensor_bytes(*form) for form in forms.values()) / 1e9 == pytest.approx(gigabytes, abs=0.005)


@pytest.mark.parametrize("config", [FULL, TINY])
def test_a_configuration_comes_back(config: ModelConfig) -> None:
    assert ModelConfig.from_dict(json.loads(json.dumps(config_json(config)))) == config


def test_nvfp4_from_end_to_end(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = figures(capsys, tmp_path)
    loading = result["loading"]
    assert loading["tensors"] == len(checkpoint_forms(TINY, TINY_VISION, "nvfp4"))
    assert loading["weight_bytes"] == loading["weight_bytes_foretold"] > 0
    assert loading["file_bytes"] > loading["weight_bytes"] * 0.9
    assert "converting" not in result
    assert not list(tmp_path.iterdir())


def test_bf16_is_converted_to_what_loads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = figures(capsys, tmp_path, "--layout", "bf16", "--layers", "2", "--keep")
    assert result["layers"] == 2
    assert result["loading"]["weight_bytes"] == result["loading"]["weight_bytes_foretold"]
    assert result["converting"]["converted_bytes"] < result["loading"]["file_bytes"]
    converted = load_model(tmp_path / "converted", dtype=torch.bfloat16)
    assert converted.expert_form == "nvfp4"
    assert load_and_drop(tmp_path / "converted").bytes == converted.weight_bytes()


def test_what_is_dropped_is_what_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(full_size, "_SHARD", 20_000)
    full_size.write_checkpoint(tmp_path / "model", TINY, checkpoint_forms(TINY, TINY_VISION, "nvfp4"))
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    progress: list[float] = []
    loaded = load_and_drop(tmp_path / "model", report=progress.append)
    assert loaded.bytes == load_model(tmp_path / "model", dtype=torch.bfloat16).weight_bytes()
    assert progress == sorted(progress) and progress[-1] == 1.0
    assert 0 <= loaded.open_seconds <= loaded.seconds


def test_files_are_sparse(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    write_sparse(file, {"large.weight": ((4096, 4096), "BF16"), "large.weight_scale": ((4096, 256), "F8_E4M3")})
    assert file.stat().st_size > 2**25
    if hasattr(file.stat(), "st_blocks"):
        assert file.stat().st_blocks * 512 < 2**20
    with pytest.raises(FileExistsError):
        write_sparse(file, {})


def test_anonymous_memory_is_seen() -> None:
    with AnonymousMemory() as memory:
        held = torch.ones(2**24)  # 64 MiB, all of it touched
    assert held.nbytes == 2**26
    assert math.isnan(memory.peak) or memory.peak > 2**25


def test_plans_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--plans"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("| free | bfloat16 | fp8 | nvfp4 | nvfp4+fp8 |")
    assert len(rows) == len(full_size.CARDS)
    assert all(row.count("|") == head.count("|") for row in rows)
    with pytest.raises(SystemExit):
        main([])
