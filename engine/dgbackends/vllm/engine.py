"""A model that a vLLM server has, as a back end of dgchat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dgbackends.errors import ServerRefusedError, ServerUnusableError
from dgbackends.vllm.address import Server
from dgbackends.vllm.chat import ServerChat, fitted, sent, without_images
from dgbackends.vllm.link import Link
from dgbackends.vllm.session import ServerSession
from dgbackends.vllm.tokens import MARK, Tokens
from dgengine import spelling
from dgengine.capabilities import Capabilities
from dgengine.chat import Message
from dgengine.engine import EngineInfo, Progress
from dgengine.errors import ModelNotFoundError, PromptTooLongError
from dgengine.sampling import Sampling
from dgengine.thinking import ThoughtMarks, ThoughtParser

_CANVAS: Final = 256  # of the released model, where a server does not tell
_CONTEXT: Final = 32768  # where a server does not tell
_NOT_THERE: Final = {
    "drafts": "A vLLM server sends whole blocks, so there are no single steps to watch.",
    "acceptance": "A vLLM server does not say how sure it is of a token.",
    "pins": "A vLLM server takes no tokens to hold while it writes.",
    "limits": "A vLLM server ends each block by itself.",
    "seeds": "A vLLM server draws its own random numbers, so a seed cannot repeat an answer: leave the seed out.",
}
_OLD: Final = "This vLLM server does not take a canvas to begin with (vllm_xargs), so {what}."


class ServerEngine:
    """A model on a server. Make one with `dgbackends.vllm.load`.

    Attributes:
        link: the server.
        model: the name that it serves the model under.
        tokens: what is known of its vocabulary.
        vocab_size: token ids go from 0 to one below, as far as is known.
    """

    def __init__(self, link: Link, model: str, context: int | None) -> None:
        """Finds out what the server can do; `context` is what it says of the model's context."""
        self.link, self.model = link, model
        self.tokens = Tokens(link, model)
        canvas, vocabulary = _canvas_of(link, model)
        self.takes_canvas = canvas is not None
        self.vocab_size = vocabulary or self.tokens.largest + 1
        self.info = EngineInfo(
            name=f"{model} at {link.server.host}",
            path=Path(),
            parameters=0,
            canvas_length=canvas or _CANVAS,
            vocab_size=self.vocab_size,
            context_length=context or self.tokens.context or _CONTEXT,
            device="vLLM",
            precision="",
            weight_bytes=0,
        )
        self.capabilities = self._found_capabilities()

    def _found_capabilities(self) -> Capabilities:
        infill = self.takes_canvas and self.tokens.usable and self.tokens.closing is not None
        why_not = dict(_NOT_THERE)
        if not self.takes_canvas:
            why_not["steps"] = _OLD.format(what="the number of steps is its own")
            why_not["infill"] = _OLD.format(what="it cannot rewrite in place")
        elif not infill:
            why_not["infill"] = "This server does not tell its tokens (/tokenize), so it cannot rewrite in place."
        thinking = self._thinks()
        if not thinking:
            why_not["thinking"] = f"The model {self.model} was not made to think before it answers."
        return Capabilities(
            drafts=False, acceptance=False, pins=False, limits=False, seeds=False, steps=self.takes_canvas,
            infill=infill, images=True, thinking=thinking, why_not=why_not,
        )  # fmt: skip

    def _thinks(self) -> bool:
        """Whether the template asks for thoughts; where that cannot be found out, a server leaves the wish unheard."""
        if not self.tokens.usable:
            return True
        turns = [{"role": "user", "content": MARK}]
        return self.tokens.chat(turns, True) != self.tokens.chat(turns, False)

    @property
    def eos_ids(self) -> frozenset[int]:
        """The ids that end an answer, as far as they are known."""
        return self.tokens.ends

    @property
    def generation_config(self) -> Mapping[str, Any]:
        """Nothing: the server has its own."""
        return {}

    @property
    def thought_marks(self) -> ThoughtMarks | None:
        """The ids that thoughts stand between."""
        return self.tokens.marks

    def encode_chat(
        self, messages: Sequence[Message], thinking: bool = False, max_new_tokens: int | None = None
    ) -> ServerChat:
        """A chat as the server takes it, and its tokens, which tell how much of it fits.

        Raises:
            EmptyPromptError, ChatTemplateError, ImageError, PromptTooLongError, ServerError.
        """
        chat = sent(messages, lambda ids: self.split_thinking(ids)[1])
        if not self.tokens.usable:
            return ServerChat((), chat, thinking)
        longest = Sampling(max_new_tokens=max_new_tokens).resolve().max_new_tokens
        room = self.info.context_length - longest
        if room <= 0:
            raise PromptTooLongError(
                f"The context of {self.info.context_length:,} tokens has no room for a prompt and an answer of "
                f"{longest:,} tokens: lower the longest answer."
            )
        ids, kept, dropped = fitted(chat, lambda part: self.tokens.chat(without_images(part), thinking), room)
        return ServerChat(ids, kept, thinking, dropped)

    def encode(self, text: str) -> list[int]:
        """Raw text to token ids, by the server."""
        return self.tokens.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Token ids to text, without control tokens."""
        return "".join(spelling.pieces(self.spell(ids), end=True))

    def split_thinking(self, ids: Iterable[int]) -> tuple[str, str]:
        """What the model thought, and what it answered."""
        parser = ThoughtParser(self.spell, self.thought_marks)
        parser.feed(ids)
        parser.close()
        return parser.thought, parser.answer

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text that each token id adds."""
        return spelling.pieces(self.spell(ids))

    def spell(self, ids: Iterable[int]) -> list[bytes]:
        """The UTF-8 bytes of each token id, of those that the server has sent or was asked about."""
        return self.tokens.spell(ids)

    def session(self) -> ServerSession:
        """A new conversation. The server keeps nothing of it but what its cache may hold."""
        return ServerSession(self)


def load(name: str | None, server: Server, progress: Progress | None = None) -> ServerEngine:
    """Asks a server for a model.

    Args:
        name: as the server serves it; None for the only one.
        server: where it is.
        progress: told when it begins and ends.

    Raises:
        ServerError: it does not answer, or is no vLLM server. ModelNotFoundError: it has no such model.
    """
    report = progress or (lambda stage, done: None)
    report("load", 0.0)
    link = Link(server)
    served = _served(link)
    model = _chosen(name, list(served), server)
    engine = ServerEngine(link, model, served[model])
    report("load", 1.0)
    return engine


def _served(link: Link) -> dict[str, int | None]:
    """The models of a server, each with its context."""
    listed = link.get("/v1/models").get("data")
    if not isinstance(listed, list) or not all(isinstance(m, dict) and isinstance(m.get("id"), str) for m in listed):
        raise ServerUnusableError(
            f"What answers at {link.server.url} is no vLLM server: /v1/models does not list its models."
        )
    lengths = {model["id"]: model.get("max_model_len") for model in listed}
    return {name: length if type(length) is int and length > 0 else None for name, length in lengths.items()}


def _chosen(name: str | None, served: Sequence[str], server: Server) -> str:
    if not served:
        raise ModelNotFoundError(f"The server {server.url} serves no model.")
    listed = ", ".join(served)
    if name is None and len(served) == 1:
        return served[0]
    if name is None:
        raise ModelNotFoundError(f"The server {server.url} has several models; choose one with --model: {listed}.")
    if name not in served:
        raise ModelNotFoundError(f"The server {server.url} has no model {name!r}; it has: {listed}.")
    return name


def _canvas_of(link: Link, model: str) -> tuple[int | None, int | None]:
    """Tokens of a canvas, and the size of the vocabulary, as a server tells them; None where it does not.

    It is asked to begin with canvases that cannot be: a server that takes canvases refuses, and says what it wants,
    before it generates anything. Only one that has refused a canvas for its length is asked about ids.
    """
    words = _refused(link, model, [0])
    if words is None or "diffusion_seed_canvas" not in words:
        return None, None
    vocabulary = _number_in(_refused(link, model, [2**30]), r"\[0, (\d+)\)")
    return _number_in(words, r"exactly (\d+)") or _CANVAS, vocabulary


def _refused(link: Link, model: str, canvas: list[int]) -> str | None:
    body = {
        "model": model, "prompt": "a", "max_tokens": 1, "vllm_xargs": {"diffusion_seed_canvas": canvas},
    }  # fmt: skip
    try:
        link.post("/v1/completions", body)
    except ServerRefusedError as error:
        return error.words
    except ServerUnusableError:  # it has no such page
        return None
    return None


def _number_in(words: str | None, pattern: str) -> int | None:
    found = re.search(pattern, words or "")
    number = int(found[1]) if found is not None and len(found[1]) < 10 else 0
    return number if number > 0 else None
