"""The dimensions of a model, read from a checkpoint's config.json.

transformers' own config class resolves what a file leaves out, in the old spelling (`global_head_dim`,
`num_global_key_value_heads`) and the new one (`per_layer_config`) alike. What the engine cannot run is refused here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dgengine.errors import CheckpointError, ConfigError

MODEL_TYPE = "diffusion_gemma"
LayerKind: TypeAlias = Literal["sliding", "full"]

QUANTIZATION_METHODS = ("modelopt", "compressed-tensors")
"""The values of `quantization_config.quant_method` whose checkpoints can be read."""

_MOST = {"num_hidden_layers": 1024, "num_experts": 4096, "canvas_length": 65536}
_MOST_OF_ANYTHING = 2**40
_ACTIVATION = "gelu_pytorch_tanh"
_POSITIVE = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
    "num_experts",
    "top_k_experts",
    "moe_intermediate_size",
    "canvas_length",
    "rms_norm_eps",
    "final_logit_softcapping",
)


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding of one kind of layer.

    Attributes:
        theta: base of the frequencies.
        rotated: the share of the frequencies that turn, from the highest down; the others are zero.
        factor: every frequency is divided by this.
    """

    theta: float
    rotated: float = 1.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.theta < inf and 0 <= self.rotated <= 1 and 0 < self.factor < inf):
            raise ConfigError(f"The rope parameters of the configuration are out of range: {self}.")


@dataclass(frozen=True)
class LayerConfig:
    """The attention of one layer. Full layers have no V projection: V is made from K's.

    Attributes:
        kind: "sliding" sees `ModelConfig.sliding_window` positions, its own included; "full" sees all.
        head_dim: width of a head; even.
        num_key_value_heads: K/V heads; divides the number of query heads.
    """

    kind: LayerKind
    head_dim: int
    num_key_value_heads: int

    def __post_init__(self) -> None:
        if self.head_dim < 2 or self.head_dim % 2:
            raise ConfigError(f"A head width of {self.head_dim} cannot be rotated; it must be even.")


@dataclass(frozen=True)
class ModelConfig:
    """Every dimension that the engine needs; validated.

    The names are those of transformers' `DiffusionGemmaTextConfig`, but for `layers`, `rope_sliding` and `rope_full`,
    which gather what that class spreads over several fields. `canvas_length` is the number of tokens in one block;
    `sliding_window` counts the position itself; `eos_token_id` is config.json's and not what ends an answer.

    Raises:
        ConfigError: dimensions that contradict each other.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    layers: tuple[LayerConfig, ...]
    sliding_window: int
    rope_sliding: RopeConfig
    rope_full: RopeConfig
    max_position_embeddings: int
    num_experts: int
    top_k_experts: int
    moe_intermediate_size: int
    canvas_length: int
    rms_norm_eps: float = 1e-6
    final_logit_softcapping: float = 30.0
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ConfigError(f"The configuration needs a positive number for {name}, but has {value!r}.")
        if not self.layers or self.layers[-1].kind != "full":
            raise ConfigError("The last layer must use full attention.")
        if self.sliding_window < 2:
            raise ConfigError(f"The sliding window must span at least 2 positions, not {self.sliding_window}.")
        if self.top_k_experts > self.num_experts:
            raise ConfigError(f"The configuration routes to {self.top_k_experts} of only {self.num_experts} experts.")
        for layer in self.layers:
            if layer.num_key_value_heads < 1 or self.num_attention_heads % layer.num_key_value_heads:
                raise ConfigError(
                    f"{self.num_attention_heads} query heads cannot share {layer.num_key_value_heads} K/V heads."
                )

    @property
    def computes_all_experts(self) -> bool:
        """Whether experts are so few that computing all of them, at twice the work, beats sorting the tokens."""
        return self.num_experts <= 2 * self.top_k_experts

    @property
    def num_hidden_layers(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def rope(self, kind: LayerKind) -> RopeConfig:
        """The rotary embedding of a kind of layer."""
        return self.rope_sliding if kind == "sliding" else self.rope_full

    @classmethod
    def from_directory(cls, path: str | Path) -> ModelConfig:
        """Reads `path`/config.json.

        Raises:
            CheckpointError: no such file, or not JSON.
            ConfigError: another architecture, or something that the engine does not support.
        """
        return cls.from_dict(read_json(Path(path) / "config.json"))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """Resolves the contents of a config.json, as transformers 5.11 and later write it.

        Raises:
            ConfigError: another architecture, or something that the engine does not support.
        """
        _refuse_unsupported(data)
        reference = _reference_config(data)
        try:
            return _from_reference(reference)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise ConfigError(f"config.json is not a valid {MODEL_TYPE!r} configuration: {_reason(error)}") from error


_LARGEST_JSON = 64 * 2**20  # the index of 47,000 tensors takes 6 MB


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model directory.

    Raises:
        CheckpointError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        _refuse_unreadable(path)
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} holds no {path.name}, so it is not a model directory.") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    return data


def _refuse_unreadable(path: Path) -> None:
    """Raises CheckpointError for a file that would not be read in bounded time and memory."""
    if path.exists() and not path.is_file():  # a pipe would never end
        raise CheckpointError(f"{path} cannot be read: it is no regular file.")
    if path.exists() and path.stat().st_size > _LARGEST_JSON:
        raise CheckpointError(f"{path} is too large to be what its name says.")


def _refuse_unsupported(data: dict[str, Any]) -> None:
    model_type = data.get("model_type")
    if model_type != MODEL_TYPE:
        name = model_type or ", ".join(map(str, data.get("architectures") or ())) or "unnamed"
        raise ConfigError(f"This model's architecture is {name!r}; the engine runs {MODEL_TYPE!r} only.")
    _refuse_other_quantization(data.get("quantization_config"))
    text = data.get("text_config")
    if not isinstance(text, dict):
        raise ConfigError("config.json has no text_config, so the model's dimensions are unknown.")
    _refuse_absurd(data, text)
    if text.get("use_bidirectional_attention") == "all":
        raise ConfigError('A model with use_bidirectional_attention: "all" is not supported.')
    if data.get("tie_word_embeddings") is False or text.get("tie_word_embeddings") is False:
        raise ConfigError("A model with untied word embeddings is not supported.")


def _refuse_other_quantization(quantization: Any) -> None:
    """What is quantised, and how, the tensors tell; but of a method that is not known their names say nothing."""
    if not quantization:
        return
    method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
    if method not in QUANTIZATION_METHODS:
        known = " and ".join(QUANTIZATION_METHODS)
        raise ConfigError(f"This checkpoint is quantised by {method!r}, which is not supported; only {known} are.")


def _refuse_absurd(data: dict[str, Any], text: dict[str, Any]) -> None:
    """Bounds what is built from a number alone, before any file could contradict it."""
    for name, value in (*text.items(), ("canvas_length", data.get("canvas_length"))):
        limit = _MOST.get(name, _MOST_OF_ANYTHING)
        if isinstance(value, int | float) and not abs(value) <= limit:
            raise ConfigError(f"The configuration has {name} = {str(value)[:20]}, which is beyond all measure.")


def _reference_config(data: dict[str, Any]) -> Any:
    """transformers' `DiffusionGemmaConfig` of the file, with its defaults filled in."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import DiffusionGemmaConfig

    try:
        return DiffusionGemmaConfig.from_dict({name: data[name] for name in data if name != "quantization_config"})
    except (StrictDataclassError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ConfigError(f"config.json is not a valid {MODEL_TYPE!r} configuration: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def _from_reference(reference: Any) -> ModelConfig:
    text = reference.text_config
    if text.hidden_activation != _ACTIVATION:
        raise ConfigError(f"The activation {text.hidden_activation!r} is not supported, only {_ACTIVATION!r}.")
    if text.attention_bias:
        raise ConfigError("Attention projections with a bias are not supported.")
    eos = text.eos_token_id
    same_names = {name: getattr(text, name) for name in _POSITIVE if name != "canvas_length"}
    return ModelConfig(
        **same_names,
        layers=tuple(_layer(text, index) for index in range(text.num_hidden_layers)),
        sliding_window=text.sliding_window,
        rope_sliding=_rope(text.rope_parameters, "sliding_attention"),
        rope_full=_rope(text.rope_parameters, "full_attention"),
        canvas_length=reference.canvas_length,
        pad_token_id=text.pad_token_id,
        bos_token_id=text.bos_token_id,
        eos_token_id=tuple(eos) if isinstance(eos, list | tuple) else () if eos is None else (eos,),
    )


def _layer(text: Any, index: int) -> LayerConfig:
    kinds: dict[str, LayerKind] = {"sliding_attention": "sliding", "full_attention": "full"}
    kind = kinds.get(text.layer_types[index])
    if kind is None:
        raise ConfigError(f"Layer {index} has the unknown type {text.layer_types[index]!r}.")
    own = text.per_layer_config[index]
    return LayerConfig(kind, own.head_dim, own.num_key_value_heads)


def _rope(parameters: dict[str, Any], layer_type: str) -> RopeConfig:
    own = parameters.get(layer_type)
    if own is None:
        raise ConfigError(f"The configuration has no rope parameters for {layer_type!r}.")
    if own.get("rope_type") == "default" and own.get("partial_rotary_factor", 1.0) == 1.0:
        return RopeConfig(float(own["rope_theta"]))
    if own.get("rope_type") == "proportional":
        return RopeConfig(float(own["rope_theta"]), own.get("partial_rotary_factor", 1.0), own.get("factor", 1.0))
    raise ConfigError(f"The rope type {own.get('rope_type')!r} of {layer_type!r} is not supported.")
