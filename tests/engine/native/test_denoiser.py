"""Passes in C against those of torch, which the parity tests hold to transformers; the specs of panels go there too."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import platformdirs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgengine import Engine
from dgengine.checkpoint import load_model
from dgengine.events import Step
from dgengine.model import Model
from dgengine.native import compiling
from dgengine.native.denoiser import NativeDenoiser
from dgengine.native.openmp import OpenMP, openmp
from dgengine.native.packing import PANEL, panels
from dgengine.sampler import Look, fast_statistics
from dgengine.sampling import Sampling
from dgkernels.outcome import Softmax
from tests.amounts import examples
from tests.engine.native.having import HAS_BF16, needs_bf16, needs_compiler
from tests.engine.tiny import SPECS, tiny_checkpoint

pytestmark = needs_compiler
WORDS = 96


@functools.cache
def model(name: str = "panels", dtype: torch.dtype = torch.float32) -> Model:
    found = load_model(tiny_checkpoint(name), dtype=dtype)
    assert found.native is not None, found.native_note
    return found


@functools.cache
def by_torch(name: str = "panels") -> Model:
    found = load_model(tiny_checkpoint(name), kernels=False)
    assert found.native is None
    return found


def look() -> Look:
    found = model().look
    assert found is not None
    return found


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def drawn(count: int, words: int, seed: int = 0) -> Tensor:
    return torch.randint(words, (count,), generator=torch.Generator().manual_seed(seed))


@examples(40)
@given(
    name=st.sampled_from(["panels", "uneven-panels"]),
    committed=st.lists(st.integers(1, 50), max_size=3),
    count=st.integers(1, 70),
    spread=st.sampled_from([None, 0.5, 30.0]),
    threads=st.integers(1, 3),
)
def test_any_pass_is_that_of_torch(
    name: str, committed: list[int], count: int, spread: float | None, threads: int
) -> None:
    words, before = SPECS[name].vocab_size, torch.get_num_threads()
    logits = None if spread is None else spread * torch.randn(count, words, generator=torch.Generator().manual_seed(1))
    found = []
    try:
        torch.set_num_threads(threads)
        for own in (model(name), by_torch(name)):
            cache = own.new_cache()
            for number, length in enumerate(committed):
                own.encode(drawn(length, words, number), cache)
            found.append(own.decode(drawn(count, words, 9), cache, logits))
    finally:
        torch.set_num_threads(before)
    assert (found[0] - found[1]).abs().max() <= 1e-4


def test_it_is_the_same_with_any_number_of_threads(threads: None) -> None:
    found = []
    for number in (1, 2, 3, 4):
        torch.set_num_threads(number)
        cache = model().new_cache()
        model().encode(drawn(77, 160), cache)
        found.append(model().decode(drawn(41, 160, 1), cache))
    assert all(torch.equal(found[0], own) for own in found)


@pytest.mark.parametrize("processor", ["x86-64-v3", "skylake-avx512"])
def test_other_processors(processor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of half the width, and none of bfloat16."""
    flags = Path("/proc/cpuinfo").read_text()
    if ("avx512vl" if "avx512" in processor else "avx2") not in flags:
        pytest.skip("this processor is a smaller one")
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/bash\nexec {os.environ.get("CC", "cc")} "${{@/-march=native/-march={processor}}}"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    compiling.library.cache_clear()
    try:
        found = load_model(tiny_checkpoint("uneven-panels"))
        rough = load_model(tiny_checkpoint("uneven-panels"), dtype=torch.bfloat16)
    finally:
        compiling.library.cache_clear()
    assert found.native is not None and rough.native_note == "this processor has no products of bfloat16"
    drafts = []
    for own in (found, by_torch("uneven-panels")):
        cache = own.new_cache()
        own.encode(drawn(60, 224), cache)
        drafts.append(own.decode(drawn(37, 224, 1), cache))
    assert (drafts[0] - drafts[1]).abs().max() <= 1e-4


def test_threads_that_do_not_come_are_not_waited_for(threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    there, passes = openmp(), model().native
    assert there is not None and passes is not None
    native = passes._denoiser
    cache, canvas = model().new_cache(), drawn(40, 160)
    torch.set_num_threads(1)
    wanted = model().decode(canvas, cache)
    one = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)
    address = ctypes.cast(one, ctypes.c_void_p).value
    assert address is not None
    monkeypatch.setattr(native, "_openmp", OpenMP(there.parallel, address))
    monkeypatch.setattr(native, "_alone", False)
    torch.set_num_threads(2)
    assert torch.equal(model().decode(canvas, cache), wanted) and native._alone
    assert native._threads(64) == 1


def test_a_softmax_conditions_as_its_logits_do() -> None:
    cache = model().new_cache()
    model().encode(drawn(20, 160), cache)
    logits = model().decode(drawn(24, 160, 1), cache)
    outcome = look()(logits, 0.6, torch.rand(24, dtype=torch.float64))  # divides them
    canvas = drawn(24, 160, 2)
    found, wanted = (model().decode(canvas, cache, given) for given in (outcome.softmax, logits))
    assert (found - wanted).abs().max() <= 1e-4


def test_a_held_position_is_certain() -> None:
    cache = model().new_cache()
    shares = torch.rand(24, 160, generator=torch.Generator().manual_seed(7))
    softmax = Softmax(shares, torch.full((24,), 80.0))
    softmax.set(torch.tensor([3, 7]), torch.tensor([11, 150]))
    logits = (softmax.weights / softmax.totals.unsqueeze(1)).log()
    found, wanted = (own.decode(drawn(24, 160), cache, logits_) for own, logits_ in
                     ((model(), softmax), (model(), logits)))  # fmt: skip
    assert (found - wanted).abs().max() <= 1e-4


def test_a_softmax_of_any_strides_and_width() -> None:
    cache, canvas = model().new_cache(), drawn(24, 160)
    shares = torch.rand(24, 160, generator=torch.Generator().manual_seed(6)).softmax(-1).t().contiguous().t()
    odd = Softmax(shares, torch.ones(48)[::2])
    wanted = model().decode(canvas, cache, Softmax(shares.contiguous(), torch.ones(24)))
    assert not odd.weights.is_contiguous() and torch.equal(model().decode(canvas, cache, odd), wanted)
    rough = Softmax(shares.bfloat16(), torch.ones(24))
    rounded = Softmax(shares.bfloat16().float(), torch.ones(24))
    assert torch.equal(*(model().decode(canvas, cache, own) for own in (rough, rounded)))
    batch = Softmax(shares.repeat(2, 1, 1), torch.ones(2, 24))
    with pytest.raises(ValueError, match="one canvas"):
        model().decode(canvas.repeat(2, 1), cache, batch)


@pytest.mark.parametrize("batch", [(), (2,)])
def test_logits_may_be_changed_in_place_by_the_caller(batch: tuple[int, ...]) -> None:
    cache = model().new_cache()
    model().decode(drawn(24, 160).expand(*batch, 24), cache).div_(2.0)


def test_a_broken_expert_shows() -> None:
    """A score that is NaN is chosen, as torch chooses it, and not passed over."""
    own = load_model(tiny_checkpoint("panels"))
    assert own.native is not None
    packed = own.native._denoiser._packed
    router = packed.model.layer[0].router
    scores = (ctypes.c_float * (router.k * PANEL)).from_address(router.panels)
    for row in range(router.k):
        scores[row * PANEL] = math.nan  # the first expert's
    assert own.decode(drawn(24, 160), own.new_cache()).isnan().all()


def test_two_threads_share_a_model(threads: None) -> None:
    torch.set_num_threads(2)
    caches = [model().new_cache() for _ in range(2)]
    for seed, cache in enumerate(caches):
        model().encode(drawn(30 + seed, 160, seed), cache)
    wanted = [model().decode(drawn(24, 160), cache) for cache in caches]

    def again(number: int) -> bool:
        torch.set_num_threads(2)
        return all(torch.equal(model().decode(drawn(24, 160), caches[number]), wanted[number]) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(again, range(2)))


def test_its_bytes_are_counted() -> None:
    own, config = model(), SPECS["panels"]
    assert own.native is not None
    extra = own.weight_bytes() - by_torch().weight_bytes()
    soft = config.vocab_size * config.hidden_size * 4
    assert extra == own.native.nbytes()
    matrices = sum(w.numel() for w in own._weights.tensors() if w.ndim > 1) * 4
    assert 0.9 * matrices < extra - soft < 1.1 * matrices + 32 * config.hidden_size * 4 * len(config.layer_types)


def test_ids_outside_the_vocabulary_are_refused() -> None:
    cache = model().new_cache()
    for ids in (torch.tensor([160]), torch.tensor([-1])):
        with pytest.raises(IndexError, match="from 0 to 159"):
            model().encode(ids, cache)
        with pytest.raises(IndexError, match="from 0 to 159"):
            model().decode(ids, cache)
    assert cache.length == 0


@examples(60)
@given(
    rows=st.integers(1, 5),
    words=st.sampled_from([32, 96, 160]),
    spread=st.sampled_from([0.01, 1.0, 8.0, 200.0]),
    temperature=st.sampled_from([0.05, 0.6, 1.0, 3.0]),
    seed=st.integers(0, 999),
)
def test_a_look_is_that_of_torch(rows: int, words: int, spread: float, temperature: float, seed: int) -> None:
    logits = spread * torch.randn(rows, words, generator=torch.Generator().manual_seed(seed))
    uniforms = torch.rand(rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    scaled = logits / temperature
    given = logits.clone()
    found = look()(given, temperature, uniforms)
    assert torch.equal(given, scaled)
    wanted = fast_statistics(scaled.clone(), torch.Generator().manual_seed(seed))
    assert torch.equal(found.argmax, wanted.argmax)
    assert (found.entropy - wanted.entropy).abs().max() <= 1e-5
    shares = scaled.softmax(-1)
    assert (found.softmax.weights / found.softmax.totals.unsqueeze(1) - shares).abs().max() <= 1e-6
    # the same draw, unless the uniform number lies on the border of two words as far as float32 can tell
    bounds = shares.double().cumsum(-1)
    near = (bounds - uniforms.unsqueeze(1)).abs().amin(-1) < 1e-6
    assert bool((near | (found.sample == wanted.sample)).all())


def test_draws_follow_the_softmax() -> None:
    count = 20_000
    logits = torch.randn(WORDS, generator=torch.Generator().manual_seed(3)).mul_(1.5)
    uniforms = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = look()(logits.repeat(count, 1), 1.0, uniforms).sample.bincount(minlength=WORDS)
    expected = logits.double().softmax(-1) * count
    chi_squared = float(((found - expected) ** 2 / expected).sum())
    assert chi_squared < 150  # 95 degrees of freedom: beyond it lies one draw in 5,000


def test_no_draw_is_a_word_without_a_share() -> None:
    logits = torch.full((6, WORDS), -100.0)
    logits[:, [5, 40, 90]] = 0.0
    edges = torch.tensor([0.0, 1 / 3, 0.5, 2 / 3, 0.999, 1 - 2**-53], dtype=torch.float64)
    assert set(look()(logits, 1.0, edges).sample.tolist()) == {5, 40, 90}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_shows(value: float) -> None:
    logits = torch.zeros(3, WORDS)
    logits[1, 50] = value
    found = look()(logits, 1.0, torch.rand(3, dtype=torch.float64))
    assert found.entropy.isfinite().tolist() == [True, False, True]
    assert bool(((found.sample >= 0) & (found.sample < WORDS)).all())


def test_answers_of_the_built_in_model_are_the_same_without_it() -> None:
    with_it, without = Engine.load(), Engine.load(kernels=False)
    for seed, prompt in enumerate(("Tell me a story about a fox and a lantern.", "What is 23 + 45?", "Hello!")):
        drafts = []
        for engine in (with_it, without):
            ids = engine.encode_chat([{"role": "user", "content": prompt}])
            events = list(engine.session().generate(ids, Sampling(seed=seed)))
            drafts.append([event.draft.tolist() for event in events if isinstance(event, Step)])
        assert len(drafts[0]) > 1 and drafts[0] == drafts[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_panels(dtype: torch.dtype) -> None:
    weight = torch.arange(40 * 6, dtype=torch.float32).view(40, 6).to(dtype)
    found = panels(weight)
    assert found.shape == ((2, 6, 32) if dtype == torch.float32 else (2, 3, 32, 2))
    back = found.transpose(1, 2).reshape(64, 6)
    assert torch.equal(back[:40], weight) and not back[40:].any()


def test_widths_that_are_no_panels_are_left_to_torch() -> None:
    found = load_model(tiny_checkpoint("base"))
    assert found.native is None and "panels of 32" in (found.native_note or "")


def test_many_experts_are_left_to_torch() -> None:
    assert SPECS["ungrouped"].num_experts > 2 * SPECS["ungrouped"].top_k_experts
    found = load_model(tiny_checkpoint("ungrouped"))
    assert found.native is None and found.native_note is None


def test_what_differs_from_torch_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = NativeDenoiser.logits
    monkeypatch.setattr(NativeDenoiser, "logits", lambda self, *given: right(self, *given) * 1.01)
    found = load_model(tiny_checkpoint("panels"))
    assert found.native is None and "differ from torch's by 1.0%" in (found.native_note or "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("q.window < 0) return;", "1) return;"),  # what comes later, or has left the window, is seen
        ("pass->encoding ? layer->encoder_scalar : layer->decoder_scalar", "layer->decoder_scalar"),
        ("all->argmax[row] = best;", "all->argmax[row] = 0;"),
        ("drawn(shares, words, all->uniforms[row] * sum)", "best"),
        ("else memcpy((float *)buffer + at, row, d * sizeof(float));", "else (void)at;"),
        ("if (m->bf16) all_to_bf16((uint16_t *)buffer + at, row, d);", "if (m->bf16) return;"),
    ],
)
def test_a_library_with_a_mistake_is_not_used(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = shutil.copytree(Path(compiling.__file__).parent, tmp_path / "native")
    text = (sources / "canvas.c").read_text()
    assert text.count(right) == 1
    (sources / "canvas.c").write_text(text.replace(right, wrong))
    monkeypatch.setattr(compiling, "__file__", str(sources / "compiling.py"))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    rough = "bf16" in right
    if rough and not HAS_BF16:
        pytest.skip("this processor has no products of bfloat16")
    compiling.library.cache_clear()
    try:
        found = load_model(tiny_checkpoint("panels"), dtype=torch.bfloat16 if rough else torch.float32)
    finally:
        compiling.library.cache_clear()
    assert found.native is None and "differ from torch's by" in (found.native_note or "")


def test_streamed_experts_are_left_to_torch() -> None:
    found = load_model(tiny_checkpoint("panels"), streamed=2)
    assert found.native is None and found.native_note is None and found.host_bytes() > 0


@needs_bf16
@pytest.mark.parametrize("name", ["panels", "uneven-panels"])
def test_bfloat16_is_computed_too(name: str) -> None:
    assert model(name, torch.bfloat16).native is not None


def test_what_fails_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Tensor:
        raise RuntimeError("no memory")

    monkeypatch.setattr(NativeDenoiser, "logits", fail)
    found = load_model(tiny_checkpoint("panels"))
    assert found.native is None and found.native_note == "passes in C fail here (RuntimeError: no memory)"
