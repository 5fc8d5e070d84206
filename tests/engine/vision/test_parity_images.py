"""Images against transformers' own: its image processor and vision tower, and the masks that its `generate` passes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dgengine.chat import EncodedChat
from dgengine.engine import Engine
from dgengine.sampling import Sampling
from dgengine.session import Session
from tests.engine.fakes import answer_of
from tests.engine.tiny import SPECS
from tests.engine.vision.seeing import asking, picture_file, seeing_checkpoint

TOLERANCE = 1e-4
# Wide, tall, one soft token wide, and so small that it is enlarged. All take more tokens than any window of SPECS.
SIZES = ((96, 64), (50, 400), (1000, 30), (7, 5))
names = pytest.mark.parametrize("name", SPECS)


@dataclass(frozen=True)
class Reference:
    """transformers' model and image processor, of one directory."""

    model: Any
    processor: Any

    def inputs(self, chat: EncodedChat) -> dict[str, Tensor]:
        """What its processor makes of the same chat, of the images' files on."""
        import io

        from PIL import Image

        images = [Image.open(io.BytesIO(span.picture.data)) for span in chat.images]
        kinds = torch.zeros(1, len(chat), dtype=torch.int64)
        for span in chat.images:
            kinds[0, span.start : span.end] = 1
        found = self.processor(images=images, return_tensors="pt")
        return {
            "input_ids": torch.tensor([list(chat)]),
            "pixel_values": found["pixel_values"],
            "image_position_ids": found["image_position_ids"],
            "mm_token_type_ids": kinds,
        }

    @torch.no_grad()
    def logits(self, chat: EncodedChat, canvas: Tensor) -> Tensor:
        """Of a canvas [C] after the chat -> [C, V]: encoded in one piece, with the masks that `generate` makes."""
        from transformers import DynamicCache

        inputs = self.inputs(chat)
        encoder = self.model.model.encoder
        cache = DynamicCache(config=self.model.config.text_config)
        length = len(chat)
        positions = torch.arange(length)[None]
        masks = encoder.create_masks_for_generate(
            config=self.model.config,
            inputs_embeds=torch.empty(1, length, 0, dtype=self.model.dtype),
            attention_mask=torch.ones(1, length, dtype=torch.bool),
            cache=cache,
            position_ids=positions,
            mm_token_type_ids=inputs.pop("mm_token_type_ids"),
        )
        encoder(**inputs, attention_mask=masks, position_ids=positions, cache=cache)
        out = self.model(decoder_input_ids=canvas[None], past_key_values=cache)
        logits: Tensor = out.logits[0]
        return logits


@functools.cache
def engine(name: str, both_ways: bool = True) -> Engine:
    return Engine.load(seeing_checkpoint(name, both_ways), device="cpu")


@functools.cache
def reference(name: str, both_ways: bool = True) -> Reference:
    from transformers import DiffusionGemmaForBlockDiffusion, Gemma4ImageProcessorPil

    folder = seeing_checkpoint(name, both_ways)
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(folder, dtype=torch.float32).eval()
    return Reference(model, Gemma4ImageProcessorPil.from_pretrained(folder))


def chat_about(folder: Path, name: str, sizes: tuple[tuple[int, int], ...], both_ways: bool = True) -> EncodedChat:
    """Text, an image after the other, and text."""
    paths = [
        picture_file(folder, f"{number}.png", width=width, height=height, seed=number)
        for number, (width, height) in enumerate(sizes)
    ]
    asked = asking("What is seven plus five?", *paths, before="Tell me a story about a fox, please.")
    return engine(name, both_ways).encode_chat([asked])


def canvas_of(name: str, both_ways: bool = True) -> Tensor:
    config = engine(name, both_ways).model.config
    return torch.randint(config.vocab_size, (config.canvas_length,), generator=torch.Generator().manual_seed(5))


def assert_agrees(session: Session, name: str, chat: EncodedChat, both_ways: bool = True) -> None:
    canvas = canvas_of(name, both_ways)
    expected = reference(name, both_ways).logits(chat, canvas)
    actual = session.model.decode(canvas, session._cache)
    assert (actual - expected).abs().max().item() <= TOLERANCE


@names
@pytest.mark.parametrize("sizes", [SIZES[:1], SIZES], ids=["one image", "four images"])
def test_the_canvas_after_images(name: str, sizes: tuple[tuple[int, int], ...], tmp_path: Path) -> None:
    chat = chat_about(tmp_path, name, sizes)
    assert len(chat.images) == len(sizes)
    session = engine(name).session()
    session.encode(chat, chat.images)
    assert_agrees(session, name, chat)


@names
def test_text_around_images_in_pieces(name: str, tmp_path: Path) -> None:
    chat = chat_about(tmp_path, name, SIZES[:2])
    session = engine(name).session()
    first, second = chat.images
    cuts = [0, 3, first.start - 2, first.end + 1, second.start, second.end, len(chat) - 1, len(chat)]
    for begin, end in pairwise(cuts):
        session.encode(chat[begin:end], chat.images)
    assert_agrees(session, name, chat)


@pytest.mark.parametrize("name", ["base", "deep"])
def test_a_model_whose_images_see_backwards_only(name: str, tmp_path: Path) -> None:
    chat = chat_about(tmp_path, name, SIZES[:2], both_ways=False)
    session = engine(name, False).session()
    session.encode(chat, chat.images)
    assert_agrees(session, name, chat, both_ways=False)


def test_the_reference_sees_both_ways_and_not_both_ways_apart(tmp_path: Path) -> None:
    """Else the tests above would say nothing about the mask."""
    chat = chat_about(tmp_path, "base", SIZES[:1])
    canvas = canvas_of("base")
    both, backwards = (reference("base", way).logits(chat, canvas) for way in (True, False))
    assert (both - backwards).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["base", "odd"])
def test_an_answer_is_that_of_generate(name: str, tmp_path: Path) -> None:
    """Token for token, through the whole of `Engine` and the whole of transformers' `generate`."""
    chat = chat_about(tmp_path, name, SIZES[:2])
    settings: dict[str, Any] = {"max_new_tokens": 2 * SPECS[name].canvas_length, "max_denoising_steps": 5}
    torch.manual_seed(3)
    out = reference(name).model.generate(**reference(name).inputs(chat), **settings)
    expected = out.sequences[0, len(chat) :].tolist()
    events = list(engine(name).session().generate(chat, Sampling(seed=3, reference=True, **settings)))
    answer = answer_of(events)
    assert answer == expected[: len(answer)]
    assert len(answer) > 1


def test_a_second_question_reuses_the_images(tmp_path: Path) -> None:
    name = "base"
    path = picture_file(tmp_path)
    first = [asking("What is this?", path)]
    session = engine(name).session()
    sampling = Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3)
    answer = answer_of(list(session.generate(engine(name).encode_chat(first), sampling)))
    more = [*first, {"role": "assistant", "ids": answer}, {"role": "user", "content": "And what else?"}]
    chat = engine(name).encode_chat(more)
    reused = session.rewind(chat, chat.images)
    assert reused > chat.images[0].end
    session.encode(chat[reused:], chat.images)
    assert_agrees(session, name, chat)
