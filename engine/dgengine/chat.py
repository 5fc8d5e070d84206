"""Text to token ids with the checkpoint's tokenizer and chat template, and back to text, piece by piece."""

from __future__ import annotations

import bisect
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from dgengine import spelling
from dgengine.errors import ChatTemplateError, CheckpointError, EmptyPromptError, PromptTooLongError
from dgengine.thinking import ThoughtMarks, ThoughtParser
from dgengine.vision.prompt import ImageWriter, for_template, pictures_of
from dgengine.vision.spans import ImageSpan, ImageTokens, has_images

Message: TypeAlias = Mapping[str, Any]
"""One turn: `role` ("system", "user", "assistant"), `content`, for a past answer its `ids`.

The content is text, or a list of parts: `{"type": "text", "text": ...}` and `{"type": "image", "path": ...}`.
"""

# A stand-in for a past answer while the template is rendered: private-use characters, which no template or
# text uses.
_MARK = "\ue0f0answer-{}\ue0f1"
_NO_IMAGES = ImageTokens(-1, -1, -1, "\ue0f0image\ue0f1")  # a text that is in no chat
_THOUGHT_OPEN, _THOUGHT_CLOSE = "<|channel>", "<channel|>"


class EncodedChat(list[int]):
    """Token ids of a chat, with what was left out of it.

    Attributes:
        dropped: how many of the oldest messages did not fit the context and were left out.
        images: where the images are, in order.
    """

    def __init__(self, ids: Iterable[int] = (), dropped: int = 0, images: Iterable[ImageSpan] = ()) -> None:
        super().__init__(ids)
        self.dropped = dropped
        self.images = tuple(images)


class ChatTokenizer:
    """The tokenizer of a checkpoint, with its chat template.

    Attributes:
        image_tokens: what images are written with; None where the model sees none.
    """

    image_tokens: ImageTokens | None = None

    def __init__(self, tokenizer: Any, eos: Iterable[int] = ()) -> None:
        """Wraps a `PreTrainedTokenizerFast` of transformers; `eos` are the ids that end an answer."""
        self._tokenizer = tokenizer
        self._eos = frozenset(eos)
        self._added: dict[int, Any] = dict(tokenizer.added_tokens_decoder)
        declared = {number for number, token in self._added.items() if token.special}
        self._special = frozenset(declared.union(tokenizer.all_special_ids))
        self._bytes: dict[int, bytes] = {}

    @classmethod
    def load(cls, path: str | Path, eos: Iterable[int] = ()) -> ChatTokenizer:
        """Reads the tokenizer of a model directory.

        Raises:
            ChatTemplateError: the directory has no tokenizer.
            CheckpointError: its tokenizer cannot be read.
        """
        folder = Path(path)
        if not (folder / "tokenizer.json").is_file():
            raise ChatTemplateError(
                f"{folder} has no tokenizer.json, so text cannot be encoded: it belongs to the files of the model."
            )
        from transformers import PreTrainedTokenizerFast

        logger = logging.getLogger("transformers.tokenization_utils_base")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns that the class differs, which is as intended
        try:
            return cls(PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True), eos)
        except Exception as error:  # tokenizers raises plain Exception for a broken file
            raise CheckpointError(f"{folder}/tokenizer.json cannot be read: {error}") from error
        finally:
            logger.setLevel(level)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of control tokens, which are no text."""
        return self._special

    def encode(self, text: str) -> list[int]:
        """Raw text to ids, with whatever the tokenizer puts around a text, and without a chat template."""
        return [int(i) for i in self._tokenizer.encode(text)]

    def tokens(self, text: str) -> list[int]:
        """Raw text to ids and nothing else: what looks like a control token in it is spelled out as text."""
        if not text:
            return []
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)]

    def encode_chat(self, messages: Sequence[Message], thinking: bool = False, room: int | None = None) -> EncodedChat:
        """A chat to ids, through the checkpoint's own template, ready for the model's turn.

        A past answer that carries its `ids` enters as these ids: the template is rendered with a mark in
        its place, and the ids are put where the mark was, so that they are never tokenised again
        (end-of-sequence ids at their end give way to what the template puts there). Where the template
        strips thoughts from past answers, they are cut out of the ids too.

        Args:
            messages: the turns, oldest first.
            thinking: whether the model is to think first, for templates that know `enable_thinking`.
            room: the most tokens that the chat may take. The oldest turns are left out where it is longer,
                whole exchanges at a time; system messages at the head and the last user turn stay.

        Raises:
            EmptyPromptError: no messages. ChatTemplateError: no template, or one that refuses the messages.
            PromptTooLongError: too long even without all the older turns.
        """
        if not messages:
            raise EmptyPromptError("The chat is empty: give at least one message.")
        ids = self._render(messages, thinking)
        if room is None or len(ids) <= room:
            return ids
        return self._shortened(messages, thinking, room, len(ids))

    def _shortened(self, messages: Sequence[Message], thinking: bool, room: int, whole: int) -> EncodedChat:
        """The chat of `whole` tokens without its oldest turns.

        What is left out comes in steps of an eighth of the room, so that the cut stands still for some turns, and the
        cache of what comes after it can be used again.
        """
        others = (i for i, message in enumerate(messages) if message.get("role") not in ("system", "developer"))
        head = next(others, len(messages))
        starts = [i for i in range(head + 1, len(messages)) if messages[i].get("role") == "user"]

        def kept(start: int) -> EncodedChat:
            return self._render([*messages[:head], *messages[start:]], thinking)

        step = max(room // 8, 1)
        goal = whole - math.ceil((whole - room) / step) * step
        first = bisect.bisect_left(starts, -goal, key=lambda start: -len(kept(start)))
        start = starts[min(first, len(starts) - 1)] if starts else head
        ids = kept(start)
        if len(ids) > room:
            images = sum(image.count for image in ids.images)
            raise PromptTooLongError(
                f"The message of {len(ids):,} tokens does not fit the {room:,} that the context has for it: "
                + (f"{images:,} of them are images; give fewer" if images else "shorten it")
                + ", or ask for fewer tokens."
            )
        ids.dropped = start - head
        return ids

    def _render(self, messages: Sequence[Message], thinking: bool) -> EncodedChat:
        """The whole of `messages` as ids, answers and images spliced in."""
        tokens = self._known_image_tokens() if has_images(messages) else None
        text = self._apply(_marked(messages, tokens), thinking)
        pictures = pictures_of(messages)
        writer = ImageWriter(tokens or _NO_IMAGES, pictures, self._tokens, self.tokens)
        for number, message in enumerate(messages):
            if message.get("ids") is None:
                continue
            before, mark, text = text.partition(_MARK.format(number))
            if not mark:
                raise ChatTemplateError("The chat template leaves a past answer out, so its ids cannot be kept.")
            writer.text(before)
            writer.ids += self._answer(message["ids"])
        writer.text(text)
        writer.close()
        return EncodedChat(writer.ids, images=writer.spans)

    def _known_image_tokens(self) -> ImageTokens:
        """What images are written with, with the text of their token."""
        if self.image_tokens is None:
            raise ChatTemplateError("This engine cannot see images: ask without them.")
        text = self._tokenizer.convert_ids_to_tokens(self.image_tokens.image)
        if not text:
            raise ChatTemplateError("The tokenizer has no token for images.")
        return self.image_tokens._replace(text=str(text))

    def _apply(self, messages: list[dict[str, Any]], thinking: bool, prompt: bool = True) -> str:
        if not self._tokenizer.chat_template:
            raise ChatTemplateError(
                "The model has no chat template, so a chat cannot be encoded: its folder needs a chat_template.jinja."
            )
        try:
            rendered = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=prompt, enable_thinking=thinking
            )
        except Exception as error:  # a template may raise whatever it likes
            raise ChatTemplateError(f"The chat template refuses these messages: {error}") from error
        return str(rendered)

    def _tokens(self, text: str) -> list[int]:
        if not text:
            return []
        return [int(i) for i in self._tokenizer.encode(text, add_special_tokens=False)]

    def _answer(self, ids: Iterable[int]) -> list[int]:
        """The ids of a past answer as its turn holds them: without what ends them, and without thoughts."""
        kept = [int(i) for i in ids]
        while kept and kept[-1] in self._eos:
            kept.pop()
        if self.thought_marks is None or not self._strips_thoughts:
            return kept
        return _without_spans(kept, *self.thought_marks)

    @cached_property
    def closing(self) -> tuple[int, int]:
        """The id that ends an answer in this template, and the one that fills what is left of a canvas behind it."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK.format("end")}]
        behind = self._tokens(self._apply(turns, thinking=False, prompt=False).partition(_MARK.format("end"))[2])
        ends = [i for i in behind[:1] if i in self._eos] or sorted(self._eos)
        if not ends:
            raise ChatTemplateError("The checkpoint names no end-of-sequence id, so nothing ends an answer.")
        fill = self._tokenizer.eos_token_id
        return ends[0], int(fill) if fill is not None else ends[0]

    def split_thinking(self, ids: Iterable[int]) -> tuple[str, str]:
        """What the model thought, and what it answered, as text; no thought where the checkpoint knows of none.

        The thought stands between `<|channel>thought` and `<channel|>`; while it has no end, all of it is thought. Of
        an answer that is still being written, see `ThoughtParser`.
        """
        parser = ThoughtParser(self.spell, self.thought_marks)
        parser.feed(ids)
        parser.close()
        return parser.thought, parser.answer

    @cached_property
    def thought_marks(self) -> ThoughtMarks | None:
        """The ids that a thought stands between; None where the checkpoint has none."""
        vocabulary = self._tokenizer.get_vocab()
        if not {_THOUGHT_OPEN, _THOUGHT_CLOSE} <= vocabulary.keys():
            return None
        return ThoughtMarks(vocabulary[_THOUGHT_OPEN], vocabulary[_THOUGHT_CLOSE])

    @cached_property
    def can_think(self) -> bool:
        """Whether the template asks for thoughts when it is told to: found out by trying it."""
        if not self._tokenizer.chat_template:
            return False
        turns = [{"role": "user", "content": "a"}]
        return self._apply(turns, thinking=True) != self._apply(turns, thinking=False)

    @cached_property
    def _strips_thoughts(self) -> bool:
        """Whether the template drops the thought channel of past answers: found out by trying it."""
        if self.thought_marks is None:
            return False
        mark = _MARK.format("thought")
        answer = f"{_THOUGHT_OPEN}thought\n{mark}{_THOUGHT_CLOSE}yes"
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
        return mark not in self._apply([*turns, {"role": "user", "content": "b"}], thinking=False)

    def decode(self, ids: Iterable[int]) -> str:
        """Ids to text, without special tokens; bytes that are no UTF-8 become U+FFFD."""
        return "".join(self.pieces(ids, end=True))

    def pieces(self, ids: Iterable[int], end: bool = False) -> list[str]:
        """The text that each id adds: one piece an id, "" for special tokens; see `spelling.pieces`."""
        return spelling.pieces(self.spell(ids), end)

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The UTF-8 bytes of each id, which may be part of a character; b"" for special tokens."""
        return [self._bytes_of(int(i)) for i in ids]

    def _bytes_of(self, token: int) -> bytes:
        found = self._bytes.get(token)
        if found is None:
            found = self._bytes[token] = self._spell(token)
        return found

    def _spell(self, token: int) -> bytes:
        if token in self._special:
            return b""
        if token in self._added:
            return str(self._added[token].content).encode()
        written = self._tokenizer.convert_ids_to_tokens(token)
        if written is None:  # the model's vocabulary may be padded beyond the tokenizer's
            return b""
        if self._is_byte_level:
            return spelling.from_byte_alphabet(written)
        if len(written) == 6 and written.startswith("<0x") and written.endswith(">"):
            return bytes([int(written[3:5], 16)])
        return str(written).replace("\u2581", " ").encode()

    @cached_property
    def _is_byte_level(self) -> bool:
        """Whether tokens are written in GPT-2's alphabet for bytes, and not SentencePiece's."""
        return "ByteLevel" in str(self._tokenizer.backend_tokenizer.decoder)


def _marked(messages: Sequence[Message], tokens: ImageTokens | None = None) -> list[dict[str, Any]]:
    """The messages as the template may see them: no `ids`, and a mark for each answer that has them; no pictures."""
    plain = []
    for number, message in enumerate(messages):
        shown = {key: value for key, value in message.items() if key != "ids"}
        if message.get("ids") is not None:
            shown["content"] = _MARK.format(number)
        if "role" not in shown or "content" not in shown:
            raise ChatTemplateError(f"Message {number + 1} needs a role and a content.")
        if tokens is not None:
            shown["content"] = for_template(shown["content"], tokens)
        plain.append(shown)
    return plain


def _without_spans(ids: list[int], opening: int, closing: int) -> list[int]:
    """`ids` without what lies between each `opening` and the next `closing`, both included."""
    kept: list[int] = []
    inside = False
    for i in ids:
        inside = inside or i == opening
        if not inside:
            kept.append(i)
        inside = inside and i != closing
    return kept
