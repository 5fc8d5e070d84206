"""Chats with images: what they become, what is kept of them, and what is refused."""

from __future__ import annotations

import functools
import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dgengine.engine import Engine
from dgengine.errors import ChatTemplateError, CheckpointError, ImageError, PromptTooLongError
from dgengine.full_model import FULL, VISION, vision_shapes
from dgengine.sampling import Sampling
from dgengine.session import Session
from dgengine.vision import opening, sight, tower
from tests.engine.fakes import answer_of
from tests.engine.tiny import tiny_chat_checkpoint
from tests.engine.vision.seeing import IMAGE, asking, picture_file, seeing_checkpoint


@functools.cache
def engine() -> Engine:
    return Engine.load(seeing_checkpoint(), device="cpu")


SHORT = Sampling(seed=1, max_new_tokens=8, max_denoising_steps=3)


def expanded(text: str, *counts: int) -> list[int]:
    """As transformers' processor does: the placeholders are written out, and all is tokenised at once."""
    for count in counts:
        text = text.replace(IMAGE, f"<|image>{'§' * count}<image|>", 1)
    text = text.replace("§", IMAGE)
    ids: list[int] = engine().tokenizer._tokenizer.encode(text, add_special_tokens=False)
    return ids


def test_an_image_is_written_as_transformers_processor_writes_it(tmp_path: Path) -> None:
    first, second = picture_file(tmp_path, "1.png"), picture_file(tmp_path, "2.png", width=50, height=400)
    chat = engine().encode_chat([asking(" Look: ", first), {"role": "assistant", "content": "Yes."},
                                 asking("And now?", second, before="Or this.")])  # fmt: skip
    text = (
        f"<bos><|turn>user\n\n\n{IMAGE}\n\nLook:<turn|>\n<|turn>model\nYes.<turn|>\n"
        f"<|turn>user\nOr this.\n\n{IMAGE}\n\nAnd now?<turn|>\n<|turn>model\n"
    )
    assert list(chat) == expanded(text, *(span.count for span in chat.images))
    token = engine()._sight.tokens.image
    assert [place for place, id_ in enumerate(chat) if id_ == token] == [
        place for span in chat.images for place in range(span.start, span.end)
    ]
    assert [span.count for span in chat.images] == [60, 46]  # 10 by 6 soft tokens, and 2 by 23


def test_ids_of_a_past_answer_stay_and_are_no_image(tmp_path: Path) -> None:
    token = engine()._sight.tokens.image
    question = asking("Look.", picture_file(tmp_path))
    chat = engine().encode_chat(
        [question, {"role": "assistant", "ids": [9, token, 9]}, {"role": "user", "content": "b"}]
    )
    place = next(i for i in range(len(chat)) if chat[i : i + 3] == [9, token, 9])
    assert [span.start <= place < span.end for span in chat.images] == [False]


def test_a_token_that_somebody_has_typed_is_text(tmp_path: Path) -> None:
    asked = asking(f"What does {IMAGE} mean?", picture_file(tmp_path))
    chat = engine().encode_chat([asked, {"role": "assistant", "content": IMAGE}, {"role": "user", "content": IMAGE}])
    assert len(chat.images) == 1
    assert list(chat).count(engine()._sight.tokens.image) == chat.images[0].count
    assert engine().decode(chat).count(IMAGE) == 3


def test_the_same_image_is_decoded_once_and_known_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, copy = picture_file(tmp_path, "a.png", seed=99), picture_file(tmp_path, "b.png", seed=99)
    first = engine().encode_chat([asking("?", one)])
    monkeypatch.setattr(opening, "decode", lambda *_: pytest.fail("decoded again"))
    second = engine().encode_chat([asking("?", copy)])
    assert first.images == second.images


def encoded_pieces(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tells which pieces a session encodes."""
    told: list[str] = []
    whole = session._encode_piece

    def encode(tokens: torch.Tensor, image: Any) -> None:
        told.append("image" if image else "text")
        whole(tokens, image)

    monkeypatch.setattr(session, "_encode_piece", encode)
    return told


def test_two_images_with_the_same_tokens_do_not_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chats = [engine().encode_chat([asking("?", picture_file(tmp_path, seed=seed))]) for seed in (1, 2)]
    assert list(chats[0]) == list(chats[1])
    session = engine().session()
    told = encoded_pieces(session, monkeypatch)
    answers = [answer_of(list(session.generate(chat, SHORT))) for chat in (*chats, chats[1])]
    assert told == ["text", "image", "text"] + ["image", "text"] + ["text"] * told[5:].count("text")
    fresh = [answer_of(list(engine().session().generate(chat, SHORT))) for chat in chats]
    assert answers == [*fresh, fresh[1]]


@pytest.mark.parametrize("failing", [2, 3, 4])
def test_memory_that_runs_out_starts_over_with_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """At the image, at the text after it, or at the canvas that is committed before the next."""
    two_blocks = replace(SHORT, max_new_tokens=16)
    chat = engine().encode_chat([asking("What is this, please?", picture_file(tmp_path))])
    expected = answer_of(list(engine().session().generate(chat, two_blocks)))
    assert len(expected) > 8
    session = engine().session()
    whole = session._encode_piece
    calls: list[Any] = []

    def encode(tokens: torch.Tensor, image: Any) -> None:
        calls.append(image)
        if len(calls) == failing:
            raise MemoryError
        whole(tokens, image)

    monkeypatch.setattr(session, "_encode_piece", encode)
    assert answer_of(list(session.generate(chat, two_blocks))) == expected
    assert sum(image is not None for image in calls) == 2
    assert session._images == list(chat.images)


# ---- what is refused


def test_more_images_than_the_context_holds(tmp_path: Path) -> None:
    paths = [picture_file(tmp_path)] * 60
    with pytest.raises(PromptTooLongError, match=r"3,600 of them are images; give fewer, or ask for fewer tokens\."):
        engine().encode_chat([asking("?", *paths)])


def test_the_oldest_images_are_left_out_with_their_messages(tmp_path: Path) -> None:
    path = picture_file(tmp_path)
    chat = engine().encode_chat(
        [turn for _ in range(60) for turn in (asking("?", path), {"role": "assistant", "content": "a"})][:-1]
    )
    assert chat.dropped > 0
    token = engine()._sight.tokens.image
    assert all(set(chat[span.start : span.end]) == {token} for span in chat.images)
    assert len(chat.images) == (119 - chat.dropped + 1) // 2


def test_an_image_that_is_too_narrow(tmp_path: Path) -> None:
    path = picture_file(tmp_path, width=20_000, height=1)
    chat = engine().encode_chat([asking("?", path)])
    assert chat.images[0].count <= 70


def test_a_part_without_a_path() -> None:
    with pytest.raises(ImageError, match="needs the path"):
        engine().encode_chat([{"role": "user", "content": [{"type": "image"}]}])


def test_a_template_without_a_place_for_images(tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_checkpoint(), tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][-1]['text'] }}")
    blunt = Engine.load(folder, device="cpu")
    with pytest.raises(ChatTemplateError, match="no place for images"):
        blunt.encode_chat([asking("?", picture_file(tmp_path))])


def test_ids_with_images_need_an_engine(tmp_path: Path) -> None:
    chat = engine().encode_chat([asking("?", picture_file(tmp_path))])
    with pytest.raises(ImageError, match="cannot read images"):
        Session(engine().model).generate(chat)


def test_pocket_says_that_it_cannot_see(tmp_path: Path) -> None:
    pocket = Engine.load("pocket", device="cpu")
    assert not pocket.capabilities.images
    assert pocket.capabilities.reason("images") == "pocket cannot see images."
    with pytest.raises(ImageError, match=r"^pocket cannot see images\.$"):
        pocket.encode_chat([asking("?", picture_file(tmp_path))])


def test_a_vocabulary_without_image_tokens_cannot_see() -> None:
    folder = tiny_chat_checkpoint()
    assert sight.why_blind(folder, Engine.load(folder, device="cpu").model.config, "it") == "it cannot see images."


def test_a_seeing_model_says_so() -> None:
    assert engine().capabilities.images
    assert engine().capabilities.reason("images") is None


# ---- damaged checkpoints


def changed(tmp_path: Path, change: Any) -> Engine:
    """A copy of the checkpoint whose tensors `change` has gone over."""
    folder = shutil.copytree(seeing_checkpoint(), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return Engine.load(folder, device="cpu")


BIAS = f"{tower.TOWER}std_bias"
PATCHES = f"{tower.TOWER}patch_embedder.input_proj.weight"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda tensors: tensors.pop(BIAS), f"lacks 1 tensors, such as {BIAS}"),
        (lambda tensors: tensors.update({f"{tower.TOWER}new": torch.ones(1)}), "has besides 1 tensors"),
        (lambda tensors: tensors.update({PATCHES: torch.ones(3, 4)}), "plain floats of"),
        (lambda tensors: tensors.update({PATCHES: tensors[PATCHES].to(torch.int8)}), "plain floats of"),
    ],
)
def test_a_tower_that_is_not_whole(tmp_path: Path, change: Any, sentence: str) -> None:
    broken = changed(tmp_path, change)
    chat = broken.encode_chat([asking("?", picture_file(tmp_path))])
    with pytest.raises(CheckpointError, match=sentence.replace(".", r"\.")):
        list(broken.session().generate(chat, SHORT))
    assert answer_of(list(broken.session().generate(broken.encode_chat([{"role": "user", "content": "a"}]), SHORT)))


def test_a_model_without_a_tower(tmp_path: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith((tower.TOWER, tower.EMBEDDER))]:
            del tensors[name]

    reason = changed(tmp_path, drop).capabilities.reason("images")
    assert reason is not None
    assert reason.endswith("cannot see images: its files hold no vision tower.")


def test_without_a_processor_s_file_the_tower_s_own_dimensions_hold(tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_checkpoint(), tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    chat = Engine.load(folder, device="cpu").encode_chat([asking("?", picture_file(tmp_path))])
    assert chat.images[0].count == 260  # of at most 280: 20 by 13


def test_a_damaged_processor_s_file(tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_checkpoint(), tmp_path / "model")
    (folder / "preprocessor_config.json").write_text(json.dumps({"max_soft_tokens": 3}))
    with pytest.raises(CheckpointError, match="image processor"):
        Engine.load(folder, device="cpu").encode_chat([asking("?", picture_file(tmp_path))])


def test_a_positions_table_that_is_too_short_for_the_image(tmp_path: Path) -> None:
    folder = shutil.copytree(seeing_checkpoint(), tmp_path / "model")
    config = json.loads((folder / "preprocessor_config.json").read_text()) | {"max_soft_tokens": 1120}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    wide = Engine.load(folder, device="cpu")
    chat = wide.encode_chat([asking("?", picture_file(tmp_path, width=3000, height=2))])
    with pytest.raises(CheckpointError, match="more patches on a side"):
        list(wide.session().generate(chat, SHORT))


def test_transparency_is_seen_on_white_as_transformers_does(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (48, 48), (0, 0, 0, 0)).save(file, "PNG")
    (tmp_path / "clear.png").write_bytes(file.getvalue())
    patches = engine()._sight.picture(tmp_path / "clear.png").patches
    assert patches.pixels[patches.positions[..., 0] >= 0].min() == 1.0


def test_weights_that_are_copied_for_the_time_of_one_image_give_the_same(tmp_path: Path) -> None:
    """What happens on a GPU, done on the CPU."""
    patches = engine()._sight.picture(picture_file(tmp_path, seed=77)).patches
    tower, cpu = engine()._sight.tower, torch.device("cpu")
    with torch.inference_mode():
        assert torch.equal(tower._look_on(patches, cpu), tower.look(patches, cpu))
    assert tower.nbytes() > 0


def test_the_tower_s_tensors_are_those_of_the_full_checkpoint() -> None:
    from transformers import DiffusionGemmaConfig

    own = asdict(VISION) | {"num_key_value_heads": VISION.num_attention_heads, "standardize": True}
    config = DiffusionGemmaConfig(
        vision_config={"model_type": "gemma4_vision", **own}, text_config={"hidden_size": FULL.hidden_size}
    )
    tensors = tower._empty(config).state_dict()
    assert {tower._stored_name(name): tuple(tensor.shape) for name, tensor in tensors.items()} == vision_shapes()
