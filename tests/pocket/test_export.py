"""The training network, exported, is the model that transformers and the engine load: the same logits in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from pocket import export
from pocket.corpus import TASKS
from pocket.network import Network, Shape

SHAPE = Shape(
    vocab_size=320, hidden=64, dense=64, expert_width=64, heads=2, kv_heads=1, head_dim=32, global_head_dim=64,
    window=16, canvas=24, max_positions=512, layer_types=("sliding_attention", "full_attention"),
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(3)
    network = Network(SHAPE).eval()
    for parameter in network.parameters():  # what bf16 cannot hold would be a difference of its own
        parameter.data = parameter.data.add_(0.1 * torch.randn_like(parameter)).bfloat16().float()
    return network


@pytest.fixture(scope="module")
def directory(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target: Path = tmp_path_factory.mktemp("exported")
    export.write_weights(network, target)
    return target


@pytest.fixture(scope="module")
def prompt_and_canvas() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, SHAPE.vocab_size, (1, 40), generator=generator)  # longer than the window
    canvas = torch.randint(0, SHAPE.vocab_size, (1, SHAPE.canvas), generator=generator)
    previous = torch.randn(1, SHAPE.canvas, SHAPE.vocab_size, generator=generator) * 3
    return ids, canvas, previous


def training_logits(network: Network, ids: Tensor, canvas: Tensor, previous: Tensor | None) -> Tensor:
    documents = torch.zeros_like(ids)
    with torch.no_grad():
        encoded = network.encode(ids, documents)
        rows, starts = torch.tensor([0]), torch.tensor([ids.shape[1]])
        return network.denoise(canvas, rows, starts, documents, encoded, previous)[0]


@pytest.mark.parametrize("conditioned", [False, True])
def test_transformers_agrees_with_the_training_network(
    network: Network, directory: Path, prompt_and_canvas: tuple[Tensor, Tensor, Tensor], conditioned: bool
) -> None:
    from transformers import DiffusionGemmaForBlockDiffusion

    ids, canvas, previous = prompt_and_canvas
    given = previous if conditioned else None
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = model(input_ids=ids, decoder_input_ids=canvas, self_conditioning_logits=given).logits
    ours = training_logits(network, ids, canvas, given)
    assert (ours - theirs).abs().max() < 1e-4


def test_the_engine_agrees_with_the_training_network(
    network: Network, directory: Path, prompt_and_canvas: tuple[Tensor, Tensor, Tensor]
) -> None:
    from dgengine.checkpoint import load_model

    ids, canvas, previous = prompt_and_canvas
    model = load_model(directory, dtype=torch.float32)
    cache = model.new_cache()
    model.encode(ids[0], cache)
    engine = model.decode(canvas[0], cache, previous[0])
    assert (training_logits(network, ids, canvas, previous)[0] - engine).abs().max() < 1e-4


def test_training_goes_on_from_an_exported_directory(network: Network, directory: Path) -> None:
    about = {"guide_sha256": "a", "steps": 7, "resumed_from": {"steps": 3}}
    export.write_provenance(directory, about)
    other = Network(SHAPE)
    assert export.read_weights(other, directory) == about
    for (name, ours), theirs in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_canvas_sees_nothing_of_other_conversations_and_nothing_behind_its_start(network: Network) -> None:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, SHAPE.vocab_size, (1, 60), generator=generator)
    documents = (torch.arange(60) >= 20).long()[None]
    canvas = torch.randint(0, SHAPE.vocab_size, (1, SHAPE.canvas), generator=generator)
    rows, starts = torch.tensor([0]), torch.tensor([45])
    changed = ids.clone()
    changed[0, :20] = 7
    changed[0, 45:] = 9
    with torch.no_grad():
        packed = network.denoise(canvas, rows, starts, documents, network.encode(ids, documents), None)[0]
        other = network.denoise(canvas, rows, starts, documents, network.encode(changed, documents), None)[0]
        alone = training_logits(network, ids[:, 20:45], canvas, None)
    assert torch.equal(packed, other)
    assert (packed - alone).abs().max() < 1e-4


def test_every_widths_of_the_built_in_shape_fits_the_kernels() -> None:
    shape = Shape()
    assert not [width for width in (shape.hidden, shape.dense, shape.expert_width, shape.head_dim) if width % 64]
    assert shape.vocab_size % 64 == 0 and shape.canvas == 64 and shape.window == 128


def test_every_task_has_a_checker_that_is_named_as_its_turns_are() -> None:
    import random

    rng = random.Random(5)
    for name, task in TASKS.items():
        if task.weight:
            turn = task.sample(rng, True)
            assert turn.task == name
            assert task.check(turn, turn.answer) is None
