"""The stages' results as a short Markdown page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench.records import DONE, Record, Result

_MICRO, _MILLI = 1e6, 1e3
_GIB = 2**30


def table(records: Mapping[str, Record]) -> str:
    """All of it; a stage that did not end as it should has a line that says so."""
    blocks = list(_blocks(records))
    return "\n\n".join(blocks) + "\n"


def _blocks(records: Mapping[str, Record]) -> Iterator[str]:
    found = {name: record.result for name, record in records.items()}
    yield _head(records)
    if notes := [f"* {name}: {record.state}" for name, record in records.items() if record.state != DONE]:
        yield "\n".join(notes)
    if "variants" in found.get("step", {}):
        head = f"The model with random weights, batch 1, canvas of {found['step']['canvas']}:"
        yield f"{head}\n\n{_steps(found['step'], found.get('rival', {}))}"
        yield f"Time to the first step, and the most memory that was held:\n\n{_first_steps(found['step'])}"
    if "ways" in found.get("graph", {}):
        context, steps = found["graph"]["context"], found["graph"]["steps"]
        head = f"A step as one CUDA graph, {context:,} tokens of context, {steps} steps and a commit a canvas:"
        yield f"{head}\n\n{_ways(found['graph'])}"
    if rival := _rival_note(found.get("rival", {})):
        yield rival
    if "kernels" in found.get("kernels", {}):
        yield f"Kernels, {found['kernels']['tokens']} tokens, cold cache:\n\n{_kernels(found['kernels']['kernels'])}"
        yield f"Others, for the same:\n\n{_rivals(found['kernels']['kernels'])}"
    if "checks" in found.get("correctness", {}):
        yield f"Against the torch reference, the worst of all cases:\n\n{_checks(found['correctness'])}"


def _head(records: Mapping[str, Record]) -> str:
    record = records.get("machine")
    if record is None or "device" not in record.result:
        return "### A GPU (the stage `machine` was not run)"
    own = record.result
    parts = [f"{name} {version}" for name, version in own.get("versions", {}).items()]
    parts += [f"{name} {own[name]}" for name in ("cuda", "driver", "capability", "python") if own.get(name)]
    lines = [f"### {own['device']}, {record.date}", ", ".join(parts)]
    if "copy_bytes_per_second" in own:
        copied, rate = own["copy_bytes_per_second"] / 1e12, own["bf16_flops_per_second"] / 1e12
        lines.append(f"Measured there: copying {copied:.3g} TB/s (read and written), bf16 products {rate:.3g} TFLOP/s.")
    return "\n\n".join(lines)


# the model


def _steps(step: Result, rival: Result) -> str:
    rows = [("weights", "by", "context", "ms a step", "floor, ms", "share", "tokens/s")]
    for own in step["variants"]:
        by = "kernels" if own["kernels"] else "torch alone"
        if "step_seconds" not in own:
            rows.append((own["precision"], by, "", own.get("refused", ""), "", "", ""))
            continue
        seconds, floor = own["step_seconds"], own["floor_seconds"]
        speed = f"{own['tokens_per_second']:.0f}" if "tokens_per_second" in own else ""
        rows.append((
            own["precision"], by, f"{own['context']:,}", _ms(seconds), _ms(floor), f"{floor / seconds:.0%}", speed,
        ))  # fmt: skip
    for name in ("eager", "compiled"):
        if "step_seconds" in rival.get(name, {}):
            milliseconds = _ms(rival[name]["step_seconds"])
            rows.append(("bfloat16", f"transformers, {name}", f"{rival['context']:,}", milliseconds, "", "", ""))
    return _markdown(rows)


def _ways(graph: Result) -> str:
    rows = [("launched", "ms a step", "tokens/s", "GPU idle", "first answer, s")]
    for own in graph["ways"]:
        speed = f"{own['tokens_per_second']:.0f}" if "tokens_per_second" in own else ""
        idle = f"{own['idle_share']:.0%}" if "idle_share" in own else ""
        rows.append((own["way"], _ms(own["step_seconds"]), speed, idle, f"{own['first_answer_seconds']:.1f}"))
    if "same_tokens" not in graph:
        return _markdown(rows)
    return f"{_markdown(rows)}\n\n{'The tokens are the same.' if graph['same_tokens'] else 'The tokens differ.'}"


def _first_steps(step: Result) -> str:
    rows = [("weights", "by", "prompt", "first step, ms", "peak, GiB", "planned, GiB")]
    for own in step["variants"]:
        by = "kernels" if own["kernels"] else "torch alone"
        for first in own.get("first_steps", []):
            peak = f"{first['peak_bytes'] / _GIB:.2f}" if "peak_bytes" in first else ""
            planned = f"{first['planned_bytes'] / _GIB:.2f}"
            rows.append((own["precision"], by, f"{first['tokens']:,}", _ms(first["seconds"]), peak, planned))
    return _markdown(rows)


def _rival_note(rival: Result) -> str | None:
    """Why transformers' model has no figures."""
    parts = [("", rival), (", eager", rival.get("eager", {})), (", compiled", rival.get("compiled", {}))]
    notes = [f"* transformers{name}: {part['skipped']}" for name, part in parts if "skipped" in part]
    return "\n".join(notes) or None


# the kernels


def _kernels(rows: Sequence[Result]) -> str:
    shown = [("kernel", "weights", "µs", "floor, µs", "share", "of the bandwidth", "reference, µs")]
    shown += [
        (
            own["kernel"], own["form"], _us(own["seconds"]), _us(own["floor_seconds"]), f"{own['share_of_floor']:.0%}",
            f"{own['share_of_bandwidth']:.0%}", _us(own["reference_seconds"]),
        )
        for own in rows
    ]  # fmt: skip
    return _markdown(shown)


def _rivals(rows: Sequence[Result]) -> str:
    shown = [("kernel", "weights", "rival", "µs", "times ours")]
    for own in rows:
        for name, rival in own.get("rivals", {}).items():
            seconds = rival.get("seconds")
            figures = (_us(seconds), f"{seconds / own['seconds']:.1f}") if seconds else ("", rival["missing"])
            shown.append((own["kernel"], own["form"], name, *figures))
    return _markdown(shown)


def _checks(correctness: Result) -> str:
    rows = [("kernel", "weights", "largest", "allowed", "rms", "allowed", "holds")]
    groups: dict[tuple[str, str], list[Result]] = {}
    for check in correctness["checks"]:
        groups.setdefault((check["kernel"], check["form"]), []).append(check)
    for (kernel, form), checks in groups.items():
        bad = [check["case"] for check in checks if not check["ok"]]
        holds = f"no: {', '.join(bad)}" if bad else f"yes, {len(checks)} cases"
        rows.append((kernel, form, *_worst(checks, correctness["tolerances"].get(kernel)), holds))
    pocket = correctness.get("pocket", {})
    if "relative_error" in pocket:
        error, allowed = f"{pocket['relative_error']:.4f}", f"{pocket['tolerance']}"
        holds = "yes" if pocket["ok"] else "no"
        if "worst" in pocket:
            holds += (
                f", the furthest position {pocket['worst']:.4f}, {pocket['same_argmax']:.0%} with the same word first"
            )
        rows.append(("built-in model's logits", "nvfp4", "", "", error, allowed, holds))
    return _markdown(rows)


def _worst(checks: Sequence[Result], tolerance: Mapping[str, float] | None) -> tuple[str, str, str, str]:
    measured = [check for check in checks if "max_relative_error" in check]
    if tolerance is None or not measured:
        return ("exact", "", "exact", "")
    largest = max(check["max_relative_error"] for check in measured)
    usual = max(check["rms_relative_error"] for check in measured)
    return f"{largest:.4f}", f"{tolerance['largest']}", f"{usual:.5f}", f"{tolerance['usual']}"


def _ms(seconds: float) -> str:
    return f"{seconds * _MILLI:.2f}"


def _us(seconds: float) -> str:
    return f"{seconds * _MICRO:.1f}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
