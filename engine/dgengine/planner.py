"""Which precision and which context a model gets in the memory that is free, or why none.

    found = planner.plan(FULL, free_bytes=23 * planner.GIB, total_bytes=24 * planner.GIB)
    found.fits, found.precision.name, found.context, found.parts.total

Pure arithmetic, without torch. Of the precisions whose context can reach 32,768 tokens the most exact is taken; where
none can, the one with the longest context. Where not even 8,192 tokens have room, the experts of some layers, or of
all, stay in the host's memory and are copied to the GPU in every step, which takes the time that `Offload` tells. Where
the host has no room for them either, any context from 2,048 tokens on is made do with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final

from dgengine import footprint
from dgengine.config import ModelConfig
from dgengine.footprint import Device, Precision, precision_of
from dgengine.full_model import VisionConfig

GIB: Final = 2**30
MIB: Final = 2**20

COMFORTABLE: Final = 32_768  # tokens; beyond them, more exact weights come before a longer context
ENOUGH: Final = 8192  # tokens that a model wholly on the GPU should hold
LEAST: Final = 2048  # tokens below which a chat is no use
_ROUND = 256  # contexts are multiples of this

# What a process takes on a GPU before its first tensor: driver state, torch's kernels, cuBLAS' workspace (32 MiB on
# Hopper, 8 elsewhere). Commonly 300 to 500 MiB; not measured here.
CUDA_CONTEXT: Final = 512 * MIB
# torch's allocator gives out blocks of whole segments and keeps what is freed: a share of what changes in size. An
# assumption, on the safe side of what is usual.
FRAGMENTATION: Final = 0.05
_SEGMENTS = 64 * MIB
_BUFFERED = 2  # layers of experts on the GPU while they are streamed: one in use, the next on its way
_HOST_SHARE = 0.8  # of the host's free memory that may be pinned

# Bytes a second from pinned host memory over PCIe 4.0 x16: 31.5 GB/s on paper, 24 to 26 usually reached.
PCIE: Final = 25_000_000_000

AUTOMATIC: Final[dict[Device, tuple[str, ...]]] = {
    "cuda": ("bfloat16", "fp8", "nvfp4", "nvfp4+fp8"),
    "cpu": ("float32", "bfloat16", "fp8", "nvfp4", "nvfp4+fp8"),
}
"""Precisions that are chosen unasked, the most exact first, which also are ever smaller."""


@dataclass(frozen=True, slots=True)
class Parts(footprint.WeightBytes):
    """Where the bytes go, weights and all else. On the device all of them; `Offload.host_bytes` come besides.

    Attributes:
        keys_and_values: of the context, see `footprint.cache_bytes`.
        workspace: of a step or of encoding, whichever takes more; or of an infill.
        cuda_context: reserve for what a process takes before its first tensor.
        fragmentation: reserve for what torch's allocator cannot use.
    """

    keys_and_values: int
    workspace: int
    cuda_context: int
    fragmentation: int

    @property
    def weights(self) -> int:
        """The weights alone."""
        return self.total - self.keys_and_values - self.workspace - self.cuda_context - self.fragmentation


@dataclass(frozen=True, slots=True)
class Offload:
    """Experts that stay in pinned host memory, and what that costs.

    Attributes:
        layers: of how many layers.
        host_bytes: memory of the host that they take.
        bytes_per_step: what is copied in a denoising step; nearly every expert is in use in every step.
        seconds_per_step: at least, by the speed of the link.
    """

    layers: int
    host_bytes: int
    bytes_per_step: int
    seconds_per_step: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the memory there is.

    Attributes:
        precision: of the weights.
        context: tokens of prompt and answer together that have room.
        offload: None where all weights are on the device.
        parts: what it takes on the device, by part.
        fits: whether that is free. If not, this is the plan that takes least.
        reasons: why this and nothing better, in sentences with numbers.
    """

    precision: Precision
    context: int
    offload: Offload | None
    parts: Parts
    fits: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """ "fits", "tight" (experts in host memory, or less than 16,384 tokens of context), or "no"."""
        if not self.fits:
            return "no"
        return "tight" if self.offload or self.context < 2 * ENOUGH else "fits"


@dataclass(frozen=True, slots=True)
class _Task:
    """The question, with its defaults filled in."""

    config: ModelConfig
    free: int
    total: int
    device: Device
    host: int | None
    link: float
    vision: VisionConfig | None
    infill: bool
    wanted: int | None  # context

    def need(self, precision: Precision, context: int, streamed: int = 0) -> int:
        return self.parts(precision, context, streamed).total

    def parts(self, precision: Precision, context: int, streamed: int = 0) -> Parts:
        return _parts(self, precision, context, streamed)

    def fits(self, precision: Precision, context: int, streamed: int = 0) -> bool:
        in_host = streamed * footprint.expert_bytes(self.config, precision)
        roomy = self.host is None or in_host <= self.host * _HOST_SHARE
        return roomy and self.need(precision, context, streamed) <= self.free

    def limit(self, tokens: int) -> int:
        """So many tokens, or what the model allows."""
        return min(tokens, self.config.max_position_embeddings)


def plan(
    config: ModelConfig,
    free_bytes: int,
    total_bytes: int,
    wanted_precision: str | None = None,
    wanted_context: int | None = None,
    *,
    device: Device = "cuda",
    host_bytes: int | None = None,
    link: float = PCIE,
    vision: VisionConfig | None = None,
    infill: bool = False,
) -> Plan:
    """Chooses precision and context.

    Args:
        config: the model's dimensions, for instance `full_model.FULL`.
        free_bytes: memory of the device that nobody uses yet, this process's own CUDA context included.
        total_bytes: all of it; only to tell whether other programs are in the way.
        wanted_precision: one of `footprint.PRECISIONS` by name; None chooses.
        wanted_context: tokens that must have room; None takes as many as there is room for.
        device: "cpu" has neither a CUDA context nor a host to stream from.
        host_bytes: free memory of the host, for experts; None does not ask.
        link: bytes a second from there.
        vision: a vision tower that is loaded as well.
        infill: leave room for rewriting in place, with all candidates' logits.

    Raises:
        ValueError: no such precision, or a context that is not positive or beyond the model's.
    """
    longest = config.max_position_embeddings
    if wanted_context is not None and not 0 < wanted_context <= longest:
        raise ValueError(f"a context of {wanted_context} is not within 1 and the model's {longest}")
    names = (wanted_precision,) if wanted_precision else AUTOMATIC[device]
    choices = [precision_on(device, name) for name in names]
    task = _Task(config, free_bytes, total_bytes, device, host_bytes, link, vision, infill, wanted_context)
    return (
        _resident(task, choices, ENOUGH)
        or _streamed(task, choices)
        or _resident(task, choices, LEAST)
        or _refused(task, choices)
    )


def precision_on(device: Device, name: str) -> Precision:
    """A precision as the engine holds it there: on a CPU, what is not coded is in float32 unless bfloat16 is asked for.

    Raises:
        ValueError: there is none of this name.
    """
    found = precision_of(name)
    return replace(found, width=4) if device == "cpu" and found.experts is not None else found


# the three outcomes


def _resident(task: _Task, choices: Sequence[Precision], least: int) -> Plan | None:
    """All weights on the device, with a context of `least` tokens or of what is wanted."""
    contexts = {each: _longest(task, partial(task.fits, each)) for each in choices}
    goal = task.limit(task.wanted or COMFORTABLE)
    chosen = next((each for each in choices if contexts[each] >= goal), None)
    if chosen is None and task.wanted is None:
        chosen = max(choices, key=lambda each: contexts[each])
        if contexts[chosen] < task.limit(least):
            return None
    if chosen is None:
        return None
    context = task.wanted or contexts[chosen]
    reasons = [_too_large(task, each, goal) for each in choices[: choices.index(chosen)]]
    return _made(task, chosen, context, 0, [*reasons, *_spare(task, chosen, context)])


def _streamed(task: _Task, choices: Sequence[Precision]) -> Plan | None:
    """The experts of as few layers as possible in the host's memory; the smallest precision, for what it copies."""
    if task.device == "cpu":
        return None
    precision, layers = choices[-1], len(task.config.layers)
    most = _longest(task, lambda tokens: _least_streamed(task, precision, tokens) is not None)
    context = task.wanted or min(most, task.limit(ENOUGH))
    if most < (task.wanted or task.limit(LEAST)):
        return None
    count = _least_streamed(task, precision, context)
    assert count is not None
    made = _made(task, precision, context, count, [_too_large(task, precision, context)])
    assert made.offload is not None
    cost = (
        f"The experts of {count} of {layers} layers stay in host memory ({gib(made.offload.host_bytes)}): each step "
        f"copies {made.offload.bytes_per_step / 1e9:.1f} GB, which takes {made.offload.seconds_per_step:.2f} s at "
        f"{task.link / 1e9:.0f} GB/s (PCIe)."
    )
    return _made(task, precision, context, count, [*made.reasons, cost])


def _least_streamed(task: _Task, precision: Precision, tokens: int) -> int | None:
    """The experts of how many layers must stay in the host's memory; None where that does not help."""
    counts = range(_BUFFERED + 1, len(task.config.layers) + 1)
    return next((count for count in counts if task.fits(precision, tokens, count)), None)


def _refused(task: _Task, choices: Sequence[Precision]) -> Plan:
    """The plan that takes least, and by how much that is too much."""
    context = task.wanted or task.limit(LEAST)
    streamed = 0 if task.device == "cpu" else len(task.config.layers)
    precision = min(choices, key=lambda each: task.need(each, context, streamed))
    need = task.need(precision, context, streamed)
    how = f" even with all experts in host memory ({gib(_in_host(task, precision, streamed))})" if streamed else ""
    reasons = [
        f"{_about(precision)} with a context of {context:,} tokens needs {gib(need)}{how}; {gib(task.free)} are free."
    ]
    if task.free < need <= task.total:
        reasons.append(f"The device has {gib(task.total)}: other programs hold the rest.")
    in_host = _in_host(task, precision, streamed)
    if task.host is not None and in_host > task.host * _HOST_SHARE:
        reasons.append(f"The host has {gib(task.host)} of memory free, of which {_HOST_SHARE:.0%} may be pinned.")
    return _made(task, precision, context, streamed, reasons, fits=False)


def _made(
    task: _Task, precision: Precision, context: int, streamed: int, reasons: Sequence[str], fits: bool = True
) -> Plan:
    offload = None
    if streamed:
        moved = _in_host(task, precision, streamed)
        offload = Offload(streamed, moved, moved, moved / task.link)
    return Plan(precision, context, offload, task.parts(precision, context, streamed), fits, tuple(reasons))


def _in_host(task: _Task, precision: Precision, layers: int) -> int:
    return layers * footprint.expert_bytes(task.config, precision)


# bytes


def _parts(task: _Task, precision: Precision, context: int, streamed: int) -> Parts:
    config, device = task.config, task.device
    weights = footprint.weight_bytes(config, precision, device, task.vision)
    one = footprint.expert_bytes(config, precision)
    kept = len(config.layers) - streamed + (min(_BUFFERED, streamed) if streamed else 0)
    cached = footprint.cache_bytes(config, context, precision.width, device).total
    work = footprint.workspace(config, precision, context, device).peak
    if task.infill:
        work = max(work, footprint.infill_workspace(config, precision, device=device))
    return Parts(
        **(asdict(weights) | {"experts": kept * one}),
        keys_and_values=cached,
        workspace=work,
        cuda_context=CUDA_CONTEXT if device == "cuda" else 0,
        fragmentation=int(FRAGMENTATION * (cached + work)) + (_SEGMENTS if device == "cuda" else 0),
    )


def _longest(task: _Task, fits: Callable[[int], bool]) -> int:
    """The longest context that fits, a multiple of 256 or the model's own; 0 where none does."""
    longest = task.config.max_position_embeddings
    if task.wanted is not None:
        return task.wanted if fits(task.wanted) else 0
    if fits(longest):
        return longest
    low, high = 0, -(-longest // _ROUND)  # low fits (or is 0), high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _ROUND) else (low, middle)
    return low * _ROUND


# sentences


def _too_large(task: _Task, precision: Precision, context: int) -> str:
    need = task.need(precision, context)
    return f"{_about(precision)} needs {gib(need)} for {context:,} tokens; {gib(task.free)} are free."


def _spare(task: _Task, precision: Precision, context: int) -> list[str]:
    """What rewriting in place would take, where the context that is planned leaves no room for it."""
    if task.infill:
        return []
    extra = footprint.infill_workspace(task.config, precision, device=task.device)
    extra -= footprint.workspace(task.config, precision, context, task.device).peak
    if extra <= task.free - task.need(precision, context):
        return []
    return [f"Rewriting in place takes {gib(extra)} more, at the cost of context."]


def _about(precision: Precision) -> str:
    """ "nvfp4+fp8": "NVFP4 experts, the dense part in FP8"."""
    names = {
        "float32": "float32",
        "bfloat16": "bfloat16",
        "fp8": "FP8",
        "nvfp4": "NVFP4 experts with the rest in bfloat16",
        "nvfp4-mlp": "NVFP4 experts and MLPs with the rest in bfloat16",
        "nvfp4+fp8": "NVFP4 experts with the dense part in FP8",
        "nf4": "NF4 experts with the rest in bfloat16",
    }
    return names[precision.name]


def gib(amount: float) -> str:
    """ "17.2 GiB"."""
    return f"{amount / GIB:.1f} GiB"
