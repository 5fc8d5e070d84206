"""The answer that is being written: its events, on the transcript, the panel and the line below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dgchat import notes
from dgchat.app.draft import Draft
from dgchat.app.drawing import Drawing
from dgchat.app.messages import Answer
from dgchat.app.panel import Panel, why_it_stopped
from dgchat.history.records import NewAnswer
from dgchat.offered import why_not

if TYPE_CHECKING:
    from dgbackends.protocol import Backend
    from dgchat.trace.steps import StepTrace
    from dgengine import Block, Done, Step

MORE_STEPS = 16  # that are offered to a block that has not settled


class Answering:
    """One answer, from the question to the end.

    Attributes:
        turn: its number at the host.
        draft: what has come of it.
        widget: the place in the transcript; None before anything has come.
    """

    def __init__(
        self, turn: int, engine: Backend, most_steps: int, trace: StepTrace, head: Sequence[Sequence[int]] = (),
        thinking: bool = False,
    ) -> None:  # fmt: skip
        """`trace`, `head`, `thinking`: as `Draft` takes them."""
        self.turn = turn
        self.draft = Draft(engine, trace, head, thinking)
        self.widget: Answer | None = None
        self._engine = engine
        self._most_steps = most_steps
        self._taken_back = 0  # in the blocks before this one
        self._back_here = 0

    async def step(self, drawing: Drawing) -> None:
        """Draws the newest step."""
        assert self.widget is not None  # the screen has made it
        steerable = why_not(self._engine, "pins") is None
        self._back_here = await self.widget.step(self.draft.trace, drawing, steerable)

    def tell(self, step: Step, panel: Panel) -> str:
        """Shows the figures of a step; returns what to say of it."""
        accepted = int((step.accepted | step.pinned).sum())
        panel.show(self.draft, step, self._most_steps, self._taken_back + self._back_here, accepted)
        return (
            f"block {step.block}, step {step.step} of {self._most_steps}, T {step.temperature:.2f}: "
            f"{accepted} of {len(step.draft)} accepted"
        )

    async def block(self, block: Block, shown: bool = True) -> str:
        """A block has ended, or waits. Returns what to say of it."""
        self._taken_back, self._back_here = self._taken_back + self._back_here, 0
        if self.widget is not None and shown:
            await self.widget.block(self.draft.text, self.draft.thought)
        if not block.steps:  # an engine that tells no steps
            return f"block {block.block}, {notes.plural(len(block.tokens), 'token')}"
        steps = notes.plural(block.steps, "step")
        return f"block {block.block} {'settled' if block.converged else 'did not settle'} in {steps}"

    @property
    def frozen(self) -> bool:
        """Whether the user holds the answer."""
        player = self.widget.player if self.widget is not None else None
        return player is not None and player.frozen

    def new_answer(self, reason: str) -> NewAnswer | None:
        """What there is to keep; None for nothing."""
        draft = self.draft
        if reason in ("cancelled", "failed"):
            draft.keep_what_stands()
        if not draft.ids:
            return None
        return NewAnswer(draft.text, draft.ids, draft.thought, reason, self._stats(), self._packed())

    def _packed(self) -> bytes | None:
        from dgchat.trace.codec import pack

        trace, done = self.draft.trace, self.draft.done
        if not len(trace):
            return None
        seed = done.stats.seed if done is not None else None
        trace.about = replace(trace.about, seed=seed, steered=self.steered)
        trace.learn(self._engine.spell)
        trace.speller = None
        return pack(trace)

    @property
    def steered(self) -> bool:
        """Whether anybody has held a token."""
        return any(block.steered for block in self.draft.trace.blocks)

    def _stats(self) -> dict[str, Any]:
        done = self.draft.done
        stats: dict[str, Any] = {
            "model": self._engine.info.name, "steps": self.draft.steps, "seconds": round(self.draft.seconds, 3),
        }  # fmt: skip
        if done is not None:
            stats |= done.stats.as_dict()
        return {**stats, "steered": True} if self.steered else stats


def end_note(done: Done | None, draft: Draft, reason: str) -> str:
    """The end of an answer in plain words."""
    if done is None:
        return "stopped by you" if reason == "cancelled" else ""
    if done.reason == "eos" and not draft.text.strip():
        what = "only thought, and gave no answer" if draft.thought else "gave an empty answer"
        return f"the model {what}; ask again for another one"
    figures = f"{draft.tokens_per_forward:.1f} tokens a forward, {draft.tokens_per_second:,.0f} tokens/s"
    if not draft.steps:
        figures = f"{done.stats.tokens_per_second:,.0f} tokens/s"
    said = why_it_stopped(done, draft)
    hint = f"; {notes.done_note(done)}" if done.reason == "length" else ""
    return said if done.reason == "cancelled" else f"{said}{hint} · {figures}"
