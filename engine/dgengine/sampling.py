"""How an answer is drawn: `Sampling` as asked for, `ResolvedSampling` with nothing left open."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from dgengine.errors import CheckpointError, SamplingError

OnLimit: TypeAlias = Literal["commit", "ask"]
GenerationConfig: TypeAlias = Mapping[str, Any]
"""The contents of a checkpoint's generation_config.json; any field may be absent or null."""

# What the reference falls back to where generation_config.json is silent
# (DiffusionGemmaGenerationConfig._get_default_generation_params).
REFERENCE_DEFAULTS: Mapping[str, float] = {
    "max_new_tokens": 256,
    "max_denoising_steps": 48,
    "t_min": 0.4,
    "t_max": 0.8,
    "entropy_bound": 0.1,
    "confidence_threshold": 0.005,
    "stability_threshold": 1,
}
_MAX_SEED = 2**63 - 1
_MAX_TOP_K = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a caller asks of the sampler. A field left None is the checkpoint's own.

    Attributes:
        max_new_tokens: longest answer, at least 1. With `reference` it is rounded up to whole canvases.
        max_denoising_steps: steps a block may take, at least 1. Changing it changes the temperature ramp.
        t_min: temperature that the ramp ends at, 0 or more.
        t_max: temperature of the first step, above 0 and not below t_min.
        entropy_bound: how much entropy (nats) the positions accepted in one step may share, above 0.
        confidence_threshold: mean entropy (nats) below which a stable canvas is finished, above 0.
        stability_threshold: for how many steps the draft must have stood still; 0 turns the condition off.
        seed: 0 to 2**63 - 1; None draws a fresh one, which `Stats.seed` reports.
        trace_top_k: alternatives per position that a `Step` carries, 0 to 64.
        reference: draw random numbers exactly as transformers does. Slower; for comparing token by token.
        on_limit: what a block does at its step limit: "commit" it as it is, or "ask" the `Control`.

    Raises:
        SamplingError: a value out of its range or of the wrong type.
    """

    max_new_tokens: int | None = None
    max_denoising_steps: int | None = None
    t_min: float | None = None
    t_max: float | None = None
    entropy_bound: float | None = None
    confidence_threshold: float | None = None
    stability_threshold: int | None = None
    seed: int | None = None
    trace_top_k: int = 0
    reference: bool = False
    on_limit: OnLimit = "commit"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name in _NEVER_NONE:
                _check(field.name, value)
        if self.t_min is not None and self.t_max is not None:
            _check_ramp(self.t_min, self.t_max)

    def resolve(self, generation_config: GenerationConfig | None = None) -> ResolvedSampling:
        """Fills every None from the checkpoint's generation_config.json, and what that leaves from the
        reference.

        Raises:
            SamplingError: the values do not go together (t_max below t_min).
            CheckpointError: generation_config.json itself holds a value that cannot be used.
        """
        values = {name: self._pick(name, generation_config or {}) for name in REFERENCE_DEFAULTS}
        _check_ramp(values["t_min"], values["t_max"])
        seed = secrets.randbits(48) if self.seed is None else self.seed
        return ResolvedSampling(
            **values,
            seed=seed,
            trace_top_k=self.trace_top_k,
            reference=self.reference,
            on_limit=self.on_limit,
        )

    def _pick(self, name: str, config: GenerationConfig) -> Any:
        own = getattr(self, name)
        if own is not None:
            return own
        value = _configured(name, config)
        if value is None:
            return REFERENCE_DEFAULTS[name]
        try:
            _check(name, value)
        except SamplingError as error:
            raise CheckpointError(f"generation_config.json cannot be used: {error}") from error
        return value


@dataclass(frozen=True, slots=True)
class ResolvedSampling:
    """`Sampling` with nothing left open; the fields mean the same."""

    max_new_tokens: int
    max_denoising_steps: int
    t_min: float
    t_max: float
    entropy_bound: float
    confidence_threshold: float
    stability_threshold: int
    seed: int
    trace_top_k: int = 0
    reference: bool = False
    on_limit: OnLimit = "commit"

    def blocks(self, canvas_length: int) -> int:
        """Canvases that `max_new_tokens` comes to, rounded up."""
        return math.ceil(self.max_new_tokens / canvas_length)

    def room(self, block: int, canvas_length: int) -> int:
        """Tokens that the answer may still take from a block, which count from 1. The reference takes all of it."""
        left = self.max_new_tokens - (block - 1) * canvas_length
        return canvas_length if self.reference else min(canvas_length, left)


def eos_ids(generation_config: GenerationConfig) -> frozenset[int]:
    """The ids that end an answer. They stand in generation_config.json; config.json's differ and are not
    used.

    Raises:
        CheckpointError: the field is neither an id, nor a list of ids, nor null.
    """
    value = generation_config.get("eos_token_id")
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(_is_int(i) and i >= 0 for i in ids):
        raise CheckpointError(
            f"generation_config.json: eos_token_id must be a token id or a list of them, not {value!r}."
        )
    return frozenset(ids)


def _configured(name: str, config: GenerationConfig) -> Any:
    if name != "entropy_bound":
        return config.get(name)
    sampler = config.get("sampler_config") or {}
    if not isinstance(sampler, Mapping) or sampler.get("_cls_name", "EntropyBoundSamplerConfig") != (
        "EntropyBoundSamplerConfig"
    ):
        raise CheckpointError(
            f"generation_config.json asks for a sampler that is not supported: {sampler!r}. "
            "Only EntropyBoundSamplerConfig is."
        )
    return sampler.get("entropy_bound")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


# What each field must be: a test, and its name for the message.
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_new_tokens": (lambda v: _is_int(v) and v >= 1, "a whole number of at least 1"),
    "max_denoising_steps": (lambda v: _is_int(v) and v >= 1, "a whole number of at least 1"),
    "t_min": (lambda v: _is_number(v) and v >= 0, "a number of at least 0"),
    "t_max": (lambda v: _is_number(v) and v > 0, "a number above 0"),
    "entropy_bound": (lambda v: _is_number(v) and v > 0, "a number above 0"),
    "confidence_threshold": (lambda v: _is_number(v) and v > 0, "a number above 0"),
    "stability_threshold": (lambda v: _is_int(v) and v >= 0, "a whole number of at least 0"),
    "seed": (lambda v: _is_int(v) and 0 <= v <= _MAX_SEED, "a whole number from 0 to 2**63 - 1"),
    "trace_top_k": (lambda v: _is_int(v) and 0 <= v <= _MAX_TOP_K, f"a whole number from 0 to {_MAX_TOP_K}"),
    "reference": (lambda v: isinstance(v, bool), "True or False"),
    "on_limit": (lambda v: v in ("commit", "ask"), "'commit' or 'ask'"),
}
_NEVER_NONE = frozenset({"trace_top_k", "reference", "on_limit"})


def _check(name: str, value: Any) -> None:
    test, wanted = _RULES[name]
    if not test(value):
        raise SamplingError(f"{name} must be {wanted}, not {value!r}.")


def _check_ramp(t_min: float, t_max: float) -> None:
    if t_max < t_min:
        raise SamplingError(f"t_max ({t_max}) must not be below t_min ({t_min}).")
