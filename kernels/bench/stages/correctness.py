"""Every kernel against its torch reference, on the device; then the built-in model with kernels and without."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from bench.head_case import HeadCase, draw_head
from bench.layer_case import draw_parts, joined
from bench.moe_case import Case, Routing, Weights, draw_case, draw_routing, draw_weights
from bench.records import Record, Result
from bench.setting import Setup
from bench.sizes import MoeSize
from dgkernels.moe.layout import Form

_SKEW: Final = 20.0
_OTHER_CHOICE: Final = 0.05  # of tokens: of scores that are equal in bfloat16 either may be chosen
_SAME_LOGITS: Final = 0.05
_SAME_WORDS: Final = 0.8  # of positions: with the same word first
_SHORT: Final = 0.3  # nats: of two words that are alike in bfloat16 either may be the likeliest


class WrongResult(Exception):
    """Kernels whose results differ from their references' by more than is allowed."""


@dataclass(frozen=True)
class Tolerance:
    """What bfloat16 makes of exact arithmetic, and a little room.

    Attributes:
        largest: of |error| / (|wanted| + its root mean square).
        usual: of the root mean square error, as a share of the wanted's.
    """

    largest: float
    usual: float


TOLERANCES: Final = {
    "route": Tolerance(0.02, 0.004),
    "gate_up": Tolerance(0.03, 0.004),
    "down": Tolerance(0.03, 0.003),
    "combine": Tolerance(0.01, 0.003),
    "experts": Tolerance(0.04, 0.006),
    # of activations that lie between two codes, either may be taken for the nearer
    "experts, FP4": Tolerance(0.3, 0.03),
    "head": Tolerance(0.04, 0.004),
    "head, FP8": Tolerance(0.04, 0.004),
    "conditioned": Tolerance(0.06, 0.01),
    "norm": Tolerance(0.01, 0.003),
    "add_norm": Tolerance(0.02, 0.004),
    "join_branches": Tolerance(0.02, 0.004),
    "embed": Tolerance(0.01, 0.003),
    "gate": Tolerance(0.01, 0.003),
    "rotate": Tolerance(0.01, 0.003),
    "attend": Tolerance(0.03, 0.005),
}


def run(setup: Setup, record: Record) -> None:
    """Runs case by case, the full size first, until time is up.

    Raises:
        WrongResult: a kernel is wrong somewhere; every case was run first.
    """
    checks: list[Result] = []
    record.put(tolerances={name: vars(own) for name, own in TOLERANCES.items()})
    for check in _all_checks(setup):
        checks.append(check)
        record.put(checks=checks)
    record.put(pocket=check_pocket(setup) if not setup.deadline.passed else {"skipped": "no time was left"})
    wrong = [f"{check['kernel']} ({check['form']}, {check['case']})" for check in checks if not check["ok"]]
    if not record.result["pocket"].get("ok", True):
        wrong.append("the built-in model")
    if wrong:
        raise WrongResult(", ".join(wrong))


def _all_checks(setup: Setup) -> Iterator[Result]:
    generator = torch.Generator(setup.device).manual_seed(1)
    for name, routing in _routings(setup, generator):
        yield {"case": name, "form": "bf16", **check_route(routing)}
    yield from _head_checks(setup, generator)
    yield from _layer_checks(setup, generator)
    forms: tuple[Form, ...] = ("nvfp4", "nf4")
    for form in forms:
        for size in (setup.sizes.moe, setup.sizes.odd[form]):
            weights = draw_weights(size, form, generator)
            for name, case in _cases(setup, weights, generator):
                if setup.deadline.passed:
                    return
                for check in check_experts(case):
                    yield {"case": name, "form": form, **check}
            del weights, case
            _release(setup.device)


def _head_checks(setup: Setup, generator: torch.Generator) -> Iterator[Result]:
    config, tokens = setup.sizes.config, setup.sizes.tokens
    case = draw_head(config, tokens, generator)
    if case is None:
        return
    for check in check_head(case):
        yield {"case": f"{tokens} positions, {config.vocab_size} words", "form": "bf16", **check}
    del case
    _release(setup.device)


def _layer_checks(setup: Setup, generator: torch.Generator) -> Iterator[Result]:
    """Of the canvas, and of a single token after no context."""
    config, sizes = setup.sizes.config, ((setup.sizes.tokens, setup.sizes.context), (1, 0))
    for tokens, context in sizes:
        for part in draw_parts(config, tokens, context, generator):
            kernel, _, kind = part.kernel.partition(", ")
            case = ", ".join(filter(None, (f"{tokens} after {context}", kind)))
            yield {"case": case, "form": "bf16", **_compared(kernel, joined(part.call()), joined(part.exact()))}
    _release(setup.device)


def _routings(setup: Setup, generator: torch.Generator) -> Iterator[tuple[str, Routing]]:
    tokens = setup.sizes.tokens
    yield _named(setup.sizes.moe, tokens), draw_routing(setup.sizes.moe, tokens, generator)
    yield _named(setup.sizes.moe, 1), draw_routing(setup.sizes.moe, 1, generator)
    odd = setup.sizes.odd["nvfp4"]
    yield _named(odd, tokens - 1), draw_routing(odd, tokens - 1, generator)


def _cases(setup: Setup, weights: Weights, generator: torch.Generator) -> Iterator[tuple[str, Case]]:
    """Of the model's size those that routing makes; of another one, its size is the case."""
    size, tokens, at_once = weights.size, setup.sizes.tokens, setup.sizes.reference_tokens
    if size != setup.sizes.moe:
        yield _named(size, tokens - 1), draw_case(weights, tokens - 1, generator, at_once)
        return
    yield _named(size, tokens), draw_case(weights, tokens, generator, at_once)
    yield "one token", draw_case(weights, 1, generator, at_once)
    if weights.form == "nf4":
        return  # who takes which token is nothing to the form
    yield "all tokens take one expert", draw_case(weights, tokens, generator, at_once, skew=_SKEW)
    yield "most experts have no token", draw_case(weights, tokens, generator, at_once, among=size.top_k + 1)


def _named(size: MoeSize, tokens: int) -> str:
    count = "1 token" if tokens == 1 else f"{tokens} tokens"
    return f"{count}, {size.hidden} x {size.width}, {size.top_k} of {size.experts}"


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


# each kernel


def check_route(routing: Routing) -> Result:
    """Weights where both choose the same experts, in whatever order, and how often they do."""
    weights, chosen = _by_expert(*routing.route())
    wanted, expected = _by_expert(*routing.reference_route())
    same = (chosen == expected).all(dim=1)
    share = float(same.float().mean())
    result = _compared("route", weights[same], wanted[same]) if same.any() else {"kernel": "route", "ok": False}
    return {**result, "same_choice": share, "ok": result["ok"] and 1 - share <= _OTHER_CHOICE}


def _by_expert(weights: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    ordered, order = chosen.sort(dim=1)
    return weights.gather(1, order), ordered


def check_experts(case: Case) -> Iterator[Result]:
    """Each kernel on what the reference gave the ones before, and all together."""
    yield _check_align(case)
    pairs: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "gate_up": (case.gate_up, case.reference_gate_up),
        "down": (case.down, case.reference_down),
        "combine": (case.combine, case.reference_combine),
        "experts": (case.experts, case.reference_experts),
    }
    if case.weights.native_tiles is not None:
        pairs["experts, FP4"] = case.native, case.reference_native
    for name, (kernel, reference) in pairs.items():
        yield _compared(name, kernel(), reference())


def _check_align(case: Case) -> Result:
    found, (rows, owners, used) = case.align(), case.reference_align()
    ok = (
        int(found.used) == used
        and torch.equal(found.experts[:used].cpu(), owners.cpu())
        and torch.equal(found.rows[: used * found.block].cpu(), rows.cpu())
    )
    return {"kernel": "align", "exact": ok, "ok": ok}


def _compared(kernel: str, found: Tensor, wanted: Tensor) -> Result:
    largest, usual = relative_errors(found, wanted)
    tolerance = TOLERANCES[kernel]
    ok = largest <= tolerance.largest and usual <= tolerance.usual  # False of NaN
    return {"kernel": kernel, "max_relative_error": largest, "rms_relative_error": usual, "ok": ok}


def relative_errors(found: Tensor, wanted: Tensor) -> tuple[float, float]:
    """The largest and the root mean square one, as `Tolerance` has them."""
    error, size = found.float() - wanted, wanted.square().mean().sqrt()
    largest = (error.abs() / (wanted.abs() + size)).max()
    return float(largest), float(error.square().mean().sqrt() / size)


def check_head(case: HeadCase) -> Iterator[Result]:
    """Entropy and the likeliest word; then the mean embedding under the softmax."""
    found, logits = case.head(), case.exact_logits()
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    best = logits.gather(1, found.argmax.long().unsqueeze(1)).squeeze(1)
    result = _compared("head", found.entropy, entropy)
    short = float((logits.amax(-1) - best).max())
    yield {**result, "nats_below_the_best": short, "ok": result["ok"] and short <= _SHORT}
    wanted = logits.softmax(-1) @ case.embedding.float()
    if case.fp8 is not None:
        logits = case.exact_logits_in_fp8()
        entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
        yield _compared("head, FP8", case.head_in_fp8().entropy, entropy)
    del logits
    yield _compared("conditioned", case.conditioned(), wanted)


# the built-in model


def check_pocket(setup: Setup) -> Result:
    """Its logits in NVFP4, by kernels and by torch, both in bfloat16 after the same prompt and canvas.

    The relative errors are those of positions: their median, which is judged, and the largest.
    """
    from dgengine.checkpoint import load_model
    from dgengine.engine import built_in_path
    from dgengine.quantized.forms import Recipe

    logits = []
    for kernels in (True, False):
        model = load_model(built_in_path(), setup.device, torch.bfloat16, Recipe("nvfp4"), kernels=kernels)
        if kernels and not model.uses_kernels:
            return {"ok": False, "refused": model.kernel_note}
        generator = torch.Generator().manual_seed(3)
        ids = torch.randint(8, model.config.vocab_size, (2, setup.sizes.pocket_tokens), generator=generator)
        cache = model.new_cache()
        model.encode(ids[0], cache)
        logits.append(model.decode(ids[1].to(setup.device), cache))
    found, wanted = logits
    errors = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    error = float(errors.median())  # where two experts are all but equal, the other may be chosen: a few may be far off
    same = float((found.argmax(-1) == wanted.argmax(-1)).float().mean())
    worst = float(errors.max())
    return {
        "relative_error": error,
        "worst": worst,
        "same_argmax": same,
        "tolerance": _SAME_LOGITS,
        "ok": error <= _SAME_LOGITS and same >= _SAME_WORDS,
    }
