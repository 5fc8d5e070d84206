"""`Sampling`: what is refused, and where its values come from."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dgengine.errors import CheckpointError, EngineError, SamplingError
from dgengine.sampling import REFERENCE_DEFAULTS, Sampling, eos_ids


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_new_tokens", 0),
        ("max_new_tokens", -3),
        ("max_new_tokens", 2.5),
        ("max_new_tokens", True),
        ("max_denoising_steps", 0),
        ("t_min", -0.1),
        ("t_max", 0.0),
        ("t_max", math.nan),
        ("entropy_bound", 0.0),
        ("entropy_bound", "0.1"),
        ("confidence_threshold", -1.0),
        ("confidence_threshold", math.inf),
        ("stability_threshold", -1),
        ("stability_threshold", 1.5),
        ("seed", -1),
        ("seed", 2**63),
        ("trace_top_k", -1),
        ("trace_top_k", None),
        ("reference", 1),
        ("on_limit", "wait"),
    ],
)
def test_bad_values_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(SamplingError, match=field) as caught:
        Sampling(**{field: value})
    assert isinstance(caught.value, EngineError)
    assert str(caught.value).endswith(".")


def test_the_ramp_must_go_down() -> None:
    with pytest.raises(SamplingError, match="t_max"):
        Sampling(t_min=0.8, t_max=0.4)
    with pytest.raises(SamplingError, match="t_max"):
        Sampling(t_min=0.9).resolve({"t_max": 0.8})


def test_without_any_file_the_reference_decides() -> None:
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig

    theirs = DiffusionGemmaGenerationConfig._get_default_generation_params()
    theirs["entropy_bound"] = theirs.pop("sampler_config").entropy_bound
    assert theirs == dict(REFERENCE_DEFAULTS)
    resolved = Sampling().resolve()
    assert {name: getattr(resolved, name) for name in theirs} == theirs


def test_precedence_is_caller_file_reference() -> None:
    config = {
        "t_max": 0.9,
        "t_min": None,
        "max_denoising_steps": 12,
        "sampler_config": {"_cls_name": "EntropyBoundSamplerConfig", "entropy_bound": 0.3},
    }
    resolved = Sampling(max_denoising_steps=7).resolve(config)
    assert (resolved.max_denoising_steps, resolved.t_max, resolved.t_min) == (7, 0.9, 0.4)
    assert resolved.entropy_bound == 0.3
    assert Sampling().resolve({"sampler_config": None}).entropy_bound == 0.1


def test_what_is_wrong_in_the_file_is_the_checkpoints_fault() -> None:
    with pytest.raises(CheckpointError, match="max_denoising_steps"):
        Sampling().resolve({"max_denoising_steps": 0})
    with pytest.raises(CheckpointError, match="sampler"):
        Sampling().resolve({"sampler_config": {"_cls_name": "OtherSamplerConfig"}})


def test_no_seed_draws_a_fresh_one() -> None:
    seeds = {Sampling().resolve().seed for _ in range(8)}
    assert len(seeds) == 8
    assert Sampling(seed=5).resolve().seed == 5


@pytest.mark.parametrize(("tokens", "blocks"), [(1, 1), (8, 1), (9, 2), (24, 3)])
def test_max_new_tokens_rounds_up_to_canvases(tokens: int, blocks: int) -> None:
    assert Sampling(max_new_tokens=tokens).resolve().blocks(8) == blocks


@pytest.mark.parametrize(("value", "ids"), [(None, set()), (1, {1}), ([1, 106, 50], {1, 50, 106})])
def test_eos_ids(value: Any, ids: set[int]) -> None:
    assert eos_ids({"eos_token_id": value}) == ids


def test_bad_eos_ids_are_refused() -> None:
    with pytest.raises(CheckpointError, match="eos_token_id"):
        eos_ids({"eos_token_id": ["<eos>"]})
