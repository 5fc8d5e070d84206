"""The tokens of a server's model, as far as its answers have told of them.

**Where token ids come from.** dgchat works with token ids, and has no tokenizer of the server's model. vLLM sends the
ids of what it generates (`return_token_ids`), `/tokenize` gives those of a text with their spelling, and `/detokenize`
tells what others read. These real ids are used wherever they come to exactly the text that the server sent beside them:
so token counts, the ends of blocks, and the places of a rewrite are right. Where they do not (a reasoning parser has
taken the thoughts out, a character lies across two blocks), or where a server or a proxy sends no ids, the *text* is
what counts: its pieces get ids of their own, from 2**30 up, where no vocabulary reaches. What is shown is always what
the server sent. Such ids mean something only here: past answers are sent again as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeGuard

from dgbackends.errors import ServerRefusedError, ServerUnusableError
from dgbackends.vllm.link import Link
from dgbackends.vllm.problems import nonsense
from dgengine import spelling
from dgengine.thinking import HEADER, ThoughtMarks

_OWN: Final = 2**30  # ids from here on are pieces of text
_EMPTY: Final = _OWN  # a token of a block whose text another one holds
_OPENS, _CLOSES = _OWN + 1, _OWN + 2
_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CONTROL: Final = re.compile(r"<\|?[A-Za-z_][\w-]*\|?>")
_LOST: Final = "\ufffd"
_THOUGHT: Final = "<|channel>", "<channel|>"
MARK: Final = "\U0010fffd"  # stands for a message in a chat template: no text and no template has it
_SAMPLE: Final = f"A fox,\n naïve 狐狸 {MARK}"

Style = Literal["pieces", "bytes"]
"""How tokens are written: SentencePiece's way, or in GPT-2's alphabet for bytes."""


class Tokens:
    """A vocabulary that is learned word by word. `spell` never asks the server: what comes from it is learned before.

    Attributes:
        marks: the ids that thoughts stand between.
        largest: the largest id that has been seen.
        context: tokens of prompt and answer, as the server tells; 0 where it does not.
        closing: the id that ends an answer, and the one that fills the canvas behind it; None where not known.
        usable: whether the server tokenises at all.
    """

    def __init__(self, link: Link, model: str) -> None:
        """Learns what ends an answer, and how tokens are written; a server without /tokenize is fine."""
        self._link, self._model = link, model
        self._bytes: dict[int, bytes] = {_EMPTY: b"", _OPENS: b"", _CLOSES: b""}
        self._own: dict[str, int] = {}
        self._controls: dict[int, str] = {}
        self._style: Style | None = None
        self._between: tuple[int, str] | None = None  # an id to stand between others, and what it reads
        self.marks = ThoughtMarks(_OPENS, _CLOSES)
        self.largest = 0
        self.context = 0
        self.closing: tuple[int, int] | None = None
        try:
            self._style = self._style_of(_SAMPLE, *self._asked({"prompt": _SAMPLE, "add_special_tokens": False}))
            self.usable = True
        except (ServerRefusedError, ServerUnusableError):
            self.usable = False
            return
        self._learn_controls()

    # ---- asking

    def encode(self, text: str) -> list[int]:
        """The ids of a text, which are learned.

        Raises:
            ServerError: the server does not tokenise it.
        """
        if not text:
            return []
        if not self.usable:
            return self.own(text, 1)
        ids, strings = self._asked({"prompt": text, "add_special_tokens": False})
        self._learn_strings(text, ids, strings)
        return ids

    def tokens(self, text: str) -> list[int]:
        """The same, where what looks like a control token is text: for a document that is to be rewritten."""
        ids = self.encode(text)
        controls = {written for token, written in self._controls.items() if token in ids and written in text}
        if not controls:
            return ids
        parts = re.split("|".join(f"(?<={re.escape(c[0])})(?={re.escape(c[1:])})" for c in controls), text)
        return [token for part in parts for token in self.encode(part)]

    def chat(self, messages: Sequence[Mapping[str, Any]], thinking: bool = False, prompt: bool = True) -> list[int]:
        """The ids of a chat in the server's own template, ready for an answer where it is a `prompt`."""
        ids, strings = self._asked(
            {
                "messages": list(messages),
                "add_generation_prompt": prompt,
                "chat_template_kwargs": {"enable_thinking": thinking},
            }
        )
        self._learn_strings(None, ids, strings)
        return ids

    def _asked(self, body: dict[str, Any]) -> tuple[list[int], list[str]]:
        answer = self._link.post("/tokenize", {"model": self._model, "return_token_strs": True, **body})
        ids, strings = answer.get("tokens"), answer.get("token_strs")
        if not _are_ids(ids):
            raise nonsense(self._link.server, "tokens that are no numbers")
        if isinstance(length := answer.get("max_model_len"), int) and length > 0:
            self.context = length
        self.largest = max([self.largest, *ids])
        told = isinstance(strings, list) and len(strings) == len(ids) and all(isinstance(s, str) for s in strings)
        return ids, strings if told and isinstance(strings, list) else []

    # ---- learning

    def _style_of(self, text: str, ids: list[int], strings: list[str]) -> Style | None:
        styles: tuple[Style, ...] = ("pieces", "bytes")
        return next((s for s in styles if ids and b"".join(_written(w, s) for w in strings) == text.encode()), None)

    def _learn_strings(self, text: str | None, ids: Sequence[int], strings: Sequence[str]) -> None:
        """Takes over how tokens are written; where they do not come to the text, what the server reads in them."""
        style = self._style
        if style is None or not strings:
            self.learn([token for token in ids if token not in self._controls], text or "")
            return
        for token, written in zip(ids, strings, strict=False):
            self._bytes.setdefault(token, b"" if token in self._controls else _written(written, style))

    def _learn_controls(self) -> None:
        """What stands in a chat that is no text of it: the ids between turns, and those around thoughts."""
        wanted = " ".join([*_THOUGHT, "<eos>"])
        ids, strings = self._asked({"prompt": wanted, "add_special_tokens": False})
        named = {written: token for token, written in zip(ids, strings, strict=False) if written in wanted.split()}
        turns = [{"role": "user", "content": MARK}, {"role": "assistant", "content": MARK}]
        ids, strings = self._asked({"messages": turns, "add_generation_prompt": False})
        found = {i: w for i, w in zip(ids, strings, strict=False) if _CONTROL.fullmatch(w) and not _BYTE.fullmatch(w)}
        self._controls = {**found, **{token: written for written, token in named.items()}}
        self._bytes |= dict.fromkeys(self._controls, b"")
        if set(_THOUGHT) <= named.keys():
            self.marks = ThoughtMarks(named[_THOUGHT[0]], named[_THOUGHT[1]])
        ends = [token for token in ids if token in found]
        if ends:
            self.closing = ends[-1], named.get("<eos>", ends[-1])
            self._between = ends[-1], found[ends[-1]]

    def learn(self, ids: Iterable[int], shown: str) -> None:
        """Asks what unknown ids read, all at once.

        Args:
            ids: that the server has sent.
            shown: their text, as the server sent it: what looks like a control token and is not in it, is one.
        """
        new = list(dict.fromkeys(token for token in ids if token not in self._bytes))
        if not new:
            return
        self.largest = max([self.largest, *new])
        for token, text in zip(new, self._read_apart(new), strict=True):
            if text is None:
                continue
            control = _CONTROL.fullmatch(text) is not None and text not in shown
            if control:
                self._controls = {**self._controls, token: text}
            self._bytes[token] = b"" if control else text.encode()

    def _read_apart(self, ids: Sequence[int]) -> list[str | None]:
        """What each id reads by itself: an id that reads as something else stands between them."""
        unknown: list[str | None] = [None] * len(ids)
        if self._between is None or not self.usable:
            return unknown
        mark, written = self._between
        tokens = [mark, *(token for pair in zip(ids, [mark] * len(ids), strict=True) for token in pair)]
        text = self.read(tokens)
        parts = text.split(written)[1:-1] if text is not None else []
        return list(parts) if len(parts) == len(ids) else unknown

    def read(self, ids: Sequence[int]) -> str | None:
        """What ids read together, control tokens included; None where the server does not tell."""
        try:
            text = self._link.post("/detokenize", {"model": self._model, "tokens": list(ids)}).get("prompt")
        except (ServerRefusedError, ServerUnusableError):
            return None
        return text if isinstance(text, str) else None

    # ---- what is known

    def is_control(self, token: int) -> bool:
        """Whether it is no text."""
        return token in self._controls

    def knows(self, ids: Iterable[int]) -> bool:
        """Whether the bytes of all of them are known."""
        return all(_LOST.encode() not in self._bytes.get(token, _LOST.encode()) for token in ids)

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The UTF-8 bytes of each id; U+FFFD for one that nothing is known of."""
        return [self._bytes.get(int(token), _LOST.encode()) for token in ids]

    # ---- pieces of text as tokens

    def own(self, text: str, count: int = 1) -> list[int]:
        """`count` ids of our own, at least one, that come to `text`."""
        token = self._own.get(text)
        if token is None:
            token = self._own[text] = _CLOSES + 1 + len(self._own)
            self._bytes[token] = text.encode("utf-8", "replace")
        return [token, *[_EMPTY] * (count - 1)]

    def block(self, ids: Sequence[int], text: str, thought: str, state: Thinking, count: int) -> list[int]:
        """The tokens of a piece of an answer.

        Args:
            ids: those that the server sent; none where it sends none.
            text: what it sent beside them.
            thought: the same of what the model thought, where the server tells it apart.
            state: goes along with the answer.
            count: how many tokens it is.
        """
        self.learn(ids, text + thought)
        if ids and not thought and not state.inside:
            spelled = b"".join(self.spell(ids)).decode("utf-8", "replace")
            if spelled == text and self.knows(ids):
                return list(ids)
        found: list[int] = []
        if thought:
            found += [] if state.inside else [self.marks.opening]
            found += self.own(thought if state.inside else HEADER + thought)
            state.inside = True
        if text:
            found += [self.marks.closing] if state.inside else []
            found += self.own(text)
            state.inside = False
        if ids and ids[-1] in self.ends:
            found.append(ids[-1])
        return [*found, *[_EMPTY] * (count - len(found))] if found else list(ids)

    @property
    def ends(self) -> frozenset[int]:
        """The ids that end an answer."""
        return frozenset(self.closing or ())


class Thinking:
    """Whether an answer is in the middle of a thought that a reasoning parser has taken out of it."""

    inside = False


def _written(text: str, style: Style) -> bytes:
    """The bytes of a token as a vocabulary writes it."""
    if style == "bytes":
        return spelling.from_byte_alphabet(text)
    if byte := _BYTE.fullmatch(text):
        return bytes([int(byte[1], 16)])
    return text.replace("\u2581", " ").encode("utf-8", "replace")


def _are_ids(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(i) is int and 0 <= i < _OWN for i in value)
