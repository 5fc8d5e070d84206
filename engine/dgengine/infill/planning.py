"""Which spans of a request are rewritten together, how much of the text around them is read, and the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dgengine.errors import InfillError
from dgengine.infill.layout import kept_before, most_open
from dgengine.infill.lengths import pool
from dgengine.infill.passage import Passage, cut_out
from dgengine.infill.prompt import marked, only_marked, prompt
from dgengine.infill.request import InfillRequest, Range

if TYPE_CHECKING:
    from dgengine.chat import ChatTokenizer

NO_LIMIT: Final = 2**31  # of tokens
_BUDGET: Final = 16  # canvases that prompt, text and canvas may come to


@dataclass(frozen=True, slots=True)
class Group:
    """Spans that are rewritten on one canvas, in the text as it stands when their turn comes.

    Attributes:
        numbers: of the spans in the request.
        passage: what is cut out of the text around them.
        prompt: the ids up to where the canvas begins.
        text: as it stands.
    """

    numbers: tuple[int, ...]
    passage: Passage
    prompt: list[int]
    text: str


class Planner:
    """Plans one request."""

    def __init__(self, codec: ChatTokenizer, request: InfillRequest, context: int, canvas: int) -> None:
        """`context`: the most tokens that the model reads; `canvas`: the positions of a canvas."""
        self._codec = codec
        self._request = request
        self._context = context
        self._canvas = canvas

    def groups(self) -> list[tuple[int, ...]]:
        """The spans' numbers, those together that fit one canvas."""
        groups: list[tuple[int, ...]] = []
        for number in range(len(self._request.spans)):
            joined = (*groups[-1], number) if groups else (number,)
            if len(joined) > 1 and self._request.method != "splice" and self._fit_together(joined):
                groups[-1] = joined
            else:
                groups.append((number,))
        return groups

    def _fit_together(self, numbers: tuple[int, ...]) -> bool:
        spans = [self._request.spans[number] for number in numbers]
        if spans[-1][1] - spans[0][0] > 8 * self._canvas:
            return False
        passage = self._cut(self._request.text, spans, numbers, self._request.keep)
        lengths = pool([opening.length for opening in passage.openings], self._request.length, 1, NO_LIMIT)[0]
        return bool(lengths) and sum(lengths) <= most_open(passage, self._canvas)

    def prepared(self, numbers: tuple[int, ...], text: str, spans: Sequence[Range], keep: Sequence[Range]) -> Group:
        """The passage of some spans, and the prompt up to where the canvas begins.

        Args:
            numbers: of the spans in the request.
            text: as it stands.
            spans: where they are in it.
            keep: what of it stays as it is.

        Raises:
            InfillError: nothing is left to rewrite, or the model has no room for a span.
        """
        passage = self._cut(text, spans, numbers, keep)
        if not passage.openings:
            raise InfillError("All of the span is to be kept: there is nothing left to rewrite.")
        shown = marked(passage.text, passage.spans)
        if not self._request.show_sides:
            shown = only_marked(passage.text, passage.spans)
        # as ids, so that what looks like a control token in the document is none
        turn = {"role": "user", "ids": self._codec.tokens(prompt(shown, self._request.instruction))}
        ids = list(self._codec.encode_chat([turn]))
        before = passage.before
        ids += before[: len(before) - kept_before(passage, self._canvas)]
        self._check_room(passage, len(ids))
        return Group(numbers, passage, ids, text)

    def _cut(self, text: str, spans: Sequence[Range], numbers: Sequence[int], keep: Sequence[Range]) -> Passage:
        inside = [r for r in keep if any(start <= r[0] and r[1] <= stop for start, stop in spans)]
        return cut_out(self._codec, text, spans, inside, numbers, self._room(text, spans))

    def _room(self, text: str, spans: Sequence[Range]) -> tuple[int, int]:
        """The most tokens of the document before the spans, and behind them: those before are read twice."""
        limit = min(self._context, _BUDGET * self._canvas)
        head = len(self._codec.encode_chat([{"role": "user", "content": prompt("", self._request.instruction)}]))
        span = len(self._codec.tokens(text[spans[0][0] : spans[-1][1]]))
        room = limit - head - 3 * span - 2 * self._canvas
        least = self._canvas // 2
        return max(least, room * 3 // 8), max(least, room // 4)

    def _check_room(self, passage: Passage, prompt_length: int) -> None:
        longest = max((2 * opening.length for opening in passage.openings), default=0)
        if isinstance(self._request.length, int):
            longest = self._request.length
        if prompt_length + longest + 2 * self._canvas > self._context:
            raise InfillError(
                "The span is too long: with the text around it, it exceeds the model's context of "
                f"{self._context:,} tokens. Select less."
            )
