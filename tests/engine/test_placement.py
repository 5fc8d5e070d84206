"""What a checkpoint is loaded as, by what it stores and by the memory that is free. No GPU is needed for it."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import torch

from dgengine import memory, planner
from dgengine.checkpoint import open_checkpoint
from dgengine.engine import Engine
from dgengine.errors import InsufficientMemoryError, PromptTooLongError
from dgengine.footprint import Precision, precision_of
from dgengine.full_model import FULL
from dgengine.infill.request import InfillRequest
from dgengine.layouts import Layout, ModelOptNvfp4, Stored, StoredExperts, StoredFp8, StoredPlain
from dgengine.placement import Placement, best, held, place, servable
from dgengine.planner import GIB, Offload, Plan
from dgengine.quantized.base import Form
from dgengine.quantized.forms import Recipe, recipe_of
from dgengine.sampling import Sampling
from dgengine.weights import expected_shapes
from tests.engine.layouts import checkpoint
from tests.engine.tiny import tiny_chat_checkpoint, tiny_checkpoint

BF16 = torch.bfloat16
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KINDS: dict[Form | None, type[Stored]] = {None: StoredPlain, "fp8": StoredFp8, "nvfp4": ModelOptNvfp4}


@functools.cache
def layout(
    experts: Form | None = None,
    mlp: Form | None = None,
    attention: Form | None = None,
    conditioning: Form | None = None,
) -> Layout:
    """The full model, stored so."""
    vectors, matrices, stacks = {}, {}, {}
    for name, shape in expected_shapes(FULL).items():
        projection = name.removesuffix(".weight")
        if len(shape) == 3:
            parts = ((KINDS[experts](f"{projection}.0", shape[1:]),),) if experts else ()
            stacks[name] = StoredExperts(name, shape, parts)
        elif projection.endswith("_proj"):
            form = conditioning if "self_conditioning" in name else attention if "self_attn" in name else mlp
            matrices[projection] = KINDS[form](projection, shape)
        else:
            vectors[name] = shape
    return Layout(vectors, matrices, stacks)


PLAIN = layout()
NVIDIA = layout("nvfp4")
RED_HAT = layout("nvfp4", "nvfp4")
RED_HAT_FP8 = layout("fp8", "fp8", "fp8")


@dataclass
class Machine:
    """Free memory, as the tests have it."""

    device: float = 80
    host: float = 128

    def free(self, device: torch.device) -> memory.Memory:
        return memory.Memory(int(self.device * GIB), int((self.device + 1) * GIB))

    def of_host(self) -> memory.Memory:
        return memory.Memory(int(self.host * GIB), int((self.host + 8) * GIB))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine()
    monkeypatch.setattr(memory, "free", found.free)
    monkeypatch.setattr(memory, "host", found.of_host)
    return found


def placed(stored: Layout, recipe: Recipe | None = None, context: int | None = None) -> Placement:
    return place(FULL, stored, CUDA, BF16, recipe, context)


def named(placement: Placement) -> str:
    assert placement.plan is not None
    return placement.plan.precision.name


def test_what_is_to_stay_free_is_not_planned_with(machine: Machine) -> None:
    machine.device, machine.host = 24, 64
    found = place(FULL, NVIDIA, CUDA, BF16, None, besides=2 * GIB)
    machine.device = 22
    assert found.context == placed(NVIDIA).context and named(found) == named(placed(NVIDIA))
    machine.device = 24
    assert found.context < placed(NVIDIA).context


# what a checkpoint can be held in


@pytest.mark.parametrize(
    ("stored", "names"),
    [
        (PLAIN, ["bfloat16", "fp8", "nvfp4", "nvfp4+fp8"]),
        (NVIDIA, ["nvfp4", "nvfp4+fp8"]),
        (RED_HAT, ["nvfp4-mlp", "nvfp4+fp8"]),
        (RED_HAT_FP8, ["fp8"]),
        (layout("nvfp4", "fp8", "fp8", "fp8"), ["nvfp4+fp8"]),
    ],
    ids=["plain", "nvidia", "red hat", "red hat fp8", "all coded"],
)
def test_the_precisions_that_a_checkpoint_can_serve(stored: Layout, names: list[str]) -> None:
    assert [choice.precision.name for choice in servable(FULL, stored, BF16)] == names


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("modelopt-nvfp4", Precision("as loaded", "nvfp4")),
        ("compressed-nvfp4", Precision("as loaded", "nvfp4", "nvfp4")),
        ("compressed-fp8", Precision("as loaded", "fp8", "fp8", "fp8")),
        ("plain-apart", Precision("as loaded")),
    ],
)
def test_the_forms_of_real_files(name: str, precision: Precision) -> None:
    with ExitStack() as stack:
        _, _, stored = open_checkpoint(checkpoint(name).coded, stack)  # type: ignore[arg-type]
    assert held(stored, Recipe(), BF16) == precision


def test_what_a_recipe_makes_of_it() -> None:
    assert held(PLAIN, Recipe("nf4", "int8"), BF16) == Precision("as loaded", "nf4", "fp8", "fp8", "fp8")
    assert held(RED_HAT, Recipe(None, "fp8"), BF16) == Precision("as loaded", "nvfp4", "nvfp4", "fp8", "fp8")
    assert held(NVIDIA, Recipe(), torch.float32).width == 4


@pytest.mark.parametrize(
    ("stored", "recipe", "name"),
    [
        (PLAIN, recipe_of("nf4"), "nf4"),
        (PLAIN, recipe_of("nvfp4+int8"), "nvfp4+fp8"),
        (PLAIN, recipe_of("fp8"), "fp8"),
        (RED_HAT, Recipe(None, "nf4"), "nvfp4+fp8"),  # takes less, but nothing planned is as small
    ],
)
def test_a_recipe_is_planned_as_the_smallest_that_takes_no_less(stored: Layout, recipe: Recipe, name: str) -> None:
    assert [choice.precision.name for choice in servable(FULL, stored, BF16, [recipe])] == [name]


def test_what_cannot_be_planned_is_loaded_as_asked(machine: Machine) -> None:
    """Codes with a float32 rest: for study, on whatever memory there is."""
    machine.device = 1
    found = place(FULL, NVIDIA, CUDA, torch.float32, Recipe())
    assert (found.plan, found.streamed, found.context) == (None, 0, FULL.max_position_embeddings)


# on a GPU


def test_with_room_for_everything_nothing_is_said(machine: Machine) -> None:
    found = placed(NVIDIA)
    assert (found.context, found.streamed, found.notes, named(found)) == (262_144, 0, (), "nvfp4")
    assert found.recipe == Recipe()


@pytest.mark.parametrize(
    ("free", "name", "recipe"),
    [(80, "bfloat16", Recipe()), (48, "fp8", Recipe("fp8", "fp8")), (24, "nvfp4", Recipe("nvfp4"))],
)
def test_a_plain_checkpoint_is_quantised_as_far_as_it_must_be(
    machine: Machine, free: float, name: str, recipe: Recipe
) -> None:
    machine.device = free
    found = placed(PLAIN)
    assert (named(found), found.recipe, found.streamed) == (name, recipe, 0)
    assert found.context >= planner.COMFORTABLE
    assert any("bfloat16 needs" in note for note in found.notes) == (name != "bfloat16")
    assert found.plan is not None and found.plan.parts.total <= free * GIB


def test_the_context_shrinks_to_what_has_room(machine: Machine) -> None:
    machine.device = 24
    found = placed(RED_HAT)
    assert planner.COMFORTABLE <= found.context < 262_144
    assert f"Prompt and answer may come to {found.context:,} of the model's 262,144 tokens." in found.notes


def test_experts_are_streamed_where_nothing_else_helps(machine: Machine) -> None:
    machine.device = 12
    found = placed(NVIDIA)
    assert named(found) == "nvfp4+fp8" and found.recipe.dense == "fp8"
    assert 2 < found.streamed <= 30 and found.context >= planner.ENOUGH
    assert any("stay in host memory" in note and "GB/s" in note for note in found.notes)
    machine.host = 1
    with pytest.raises(InsufficientMemoryError, match=r"needs .* GiB .* 12\.0 GiB are free"):
        placed(NVIDIA)


def test_what_does_not_fit_is_refused_with_numbers(machine: Machine) -> None:
    machine.device = 4
    for stored in (PLAIN, NVIDIA, RED_HAT, RED_HAT_FP8):
        with pytest.raises(InsufficientMemoryError, match=r"4\.0 GiB are free"):
            placed(stored)


def test_a_precision_that_is_asked_for_is_kept(machine: Machine) -> None:
    machine.device = 30
    found = placed(PLAIN, Recipe())  # bfloat16, which takes 50
    assert named(found) == "bfloat16" and found.streamed > 0 and found.recipe == Recipe()
    assert named(placed(NVIDIA, Recipe("nvfp4", "fp8"))) == "nvfp4+fp8"


def test_a_context_that_is_asked_for_has_room(machine: Machine) -> None:
    machine.device = 24
    short, long = placed(PLAIN, context=4096), placed(PLAIN, context=65_536)
    assert (short.context, long.context) == (4096, 65_536)
    assert short.plan is not None and short.plan.context == 4096
    assert placed(NVIDIA, context=10**9).context <= 262_144


def test_a_small_model_has_room_for_its_whole_context(machine: Machine) -> None:
    machine.device = 1
    with ExitStack() as stack:
        config, _, stored = open_checkpoint(tiny_checkpoint(), stack)
    found = place(config, stored, CUDA, BF16, None)
    assert (named(found), found.context, found.streamed, found.notes) == ("bfloat16", 512, 0, ())


# among plans


def plan(precision: str, context: int, streamed: int = 0, fits: bool = True) -> Plan:
    parts = planner.plan(FULL, 80 * GIB, 80 * GIB, precision).parts
    offload = Offload(streamed, streamed, streamed, streamed) if streamed else None
    return Plan(precision_of(precision), context, offload, parts, fits, ("why",))


@pytest.mark.parametrize(
    ("plans", "chosen"),
    [
        ([("bfloat16", 40_000), ("nvfp4", 200_000)], 0),
        ([("bfloat16", 30_000), ("nvfp4", 200_000)], 1),
        ([("bfloat16", 20_000), ("nvfp4", 10_000)], 0),
        ([("bfloat16", 50_000, 9), ("nvfp4", 8192)], 1),
        ([("bfloat16", 8192, 9), ("nvfp4", 8192, 5), ("nvfp4+fp8", 8192, 6)], 1),
        ([("bfloat16", 8192, 9), ("nvfp4", 4096)], 0),
        ([("bfloat16", 2048), ("nvfp4", 4096), ("nvfp4+fp8", 9999, 0, False)], 1),
        ([("bfloat16", 2048, 30, False), ("nvfp4", 2048, 30, False)], 1),
    ],
)
def test_the_best_of_several_plans(plans: list[tuple[str, int]], chosen: int) -> None:
    assert best([plan(*one) for one in plans], FULL.max_position_embeddings) == chosen


def test_a_model_of_a_short_context_has_enough_with_it() -> None:
    assert best([plan("bfloat16", 512), plan("nvfp4", 512)], 512) == 0


# on the CPU, and in the engine


def test_a_cpu_takes_what_it_is_given(machine: Machine) -> None:
    found = place(FULL, NVIDIA, CPU, BF16, None, 5000)
    assert found == Placement(BF16, Recipe(), 5000)
    machine.host = 20
    with pytest.raises(InsufficientMemoryError, match=r"weights take 94\.1 GiB of memory, and 20\.0 GiB are free"):
        place(FULL, PLAIN, CPU, torch.float32, None)


def test_an_engine_refuses_before_it_loads(machine: Machine) -> None:
    machine.host = 1e-6
    with pytest.raises(InsufficientMemoryError, match=r"close other programs"):
        Engine.load(tiny_checkpoint(), device="cpu")


def test_an_engine_keeps_to_the_context(machine: Machine) -> None:
    engine = Engine.load(tiny_chat_checkpoint(), device="cpu", context=48)
    assert (engine.info.context_length, engine.info.host_bytes, engine.info.notes) == (48, 0, ())
    session = engine.session()
    assert list(session.generate([5] * 40, Sampling(max_new_tokens=8, max_denoising_steps=2)))
    with pytest.raises(PromptTooLongError, match="exceed the context of 48"):
        session.generate([5] * 41, Sampling(max_new_tokens=8))
    assert Engine.load(tiny_chat_checkpoint(), device="cpu", context=10**6).info.context_length == 512
    with pytest.raises(ValueError, match="context of 0"):
        Engine.load(tiny_chat_checkpoint(), context=0)


def test_a_load_that_runs_out_of_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("dgengine.reading.Reader.experts", fail)
    with pytest.raises(InsufficientMemoryError, match="while the model was loaded"):
        Engine.load(tiny_checkpoint(), device="cpu")


def test_an_infill_keeps_to_the_context() -> None:
    from dgengine.errors import InfillError

    engine = Engine.load("pocket", device="cpu", context=100)
    with pytest.raises(InfillError, match="exceeds the model's context of 100"):
        engine.session().infill(InfillRequest.around("The fox found", " a kite", " on the hill."))


@pytest.mark.gpu
def test_a_small_model_on_a_gpu_has_room_for_all() -> None:
    engine = Engine.load(tiny_chat_checkpoint(), device="cuda")
    assert engine.info.plan is not None and engine.info.notes == ()
    assert engine.info.context_length == 512
