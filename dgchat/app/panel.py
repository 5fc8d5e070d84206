"""The panel beside the transcript: how the answer is coming about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Sparkline, Static

from dgchat import notes
from dgchat.app.draft import Draft
from dgchat.canvas.layout import Look, Span
from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Mode
from dgchat.sanitize import clean_line
from dgchat.themes import SHADES

if TYPE_CHECKING:
    from dgengine import Done, Step


class Panel(Vertical):
    """Figures and curves of the answer that is being written, or of the last one."""

    _outcome = ""  # what stands there

    def compose(self) -> ComposeResult:
        yield Static("denoising", classes="panel-title", markup=False)
        yield Static("", id="figures", markup=False)
        yield Static("accepted", classes="panel-name", markup=False)
        yield Sparkline([0.0, 0.0], id="accepted-curve", summary_function=lambda values: sum(values) / len(values))
        yield Static("mean entropy", classes="panel-name", markup=False)
        yield Sparkline([0.0, 0.0], id="entropy-curve", summary_function=lambda values: sum(values) / len(values))
        yield Static("", id="outcome", markup=False)
        yield Static("", id="space")
        yield Static("", id="legend", markup=False)

    def show(self, draft: Draft, step: Step, steps: int, taken_back: int, accepted: int) -> None:
        """The figures of a step; `steps` is the most that a block may take."""
        lines = [
            f"block {step.block}",
            f"step {step.step} of {steps}",
            f"T {step.temperature:.2f}",
            f"{accepted} of {len(step.draft)} accepted",
            f"{draft.tokens_per_forward:.1f} tokens a forward",
            f"{draft.tokens_per_second:,.0f} tokens/s",
            f"taken back {taken_back}",
        ]
        self.query_one("#figures", Static).update("\n".join(lines), layout=draft.steps <= 1)
        self.query_one("#accepted-curve", Sparkline).data = [0.0, *draft.accepted.values]
        self.query_one("#entropy-curve", Sparkline).data = [0.0, *draft.entropy.values]
        if self._outcome:
            self.outcome("")

    def finish(self, draft: Draft) -> None:
        """The figures of a whole answer."""
        lines = [
            notes.plural(len(draft.blocks), "block"),
            notes.plural(draft.steps, "step"),
            f"{draft.tokens_per_forward:.1f} tokens a forward",
            f"{draft.tokens_per_second:,.0f} tokens/s",
        ]
        self.query_one("#figures", Static).update("\n".join(lines))

    def explain(self, why_no_steps: str | None) -> None:
        """In the place of figures and curves, why there are none; None where there are."""
        for widget in self.query("Sparkline, .panel-name, #legend"):
            widget.display = why_no_steps is None
        self.query_one("#figures", Static).update(clean_line(why_no_steps or ""))

    def outcome(self, text: str) -> None:
        """Why it stopped, in plain words."""
        self._outcome = text
        self.query_one("#outcome", Static).update(text)

    def legend(self, styles: Styles, mode: Mode, marks: bool) -> None:
        """What the colours of the canvas tell."""
        self.query_one("#legend", Static).update(legend(styles, mode, marks))


def legend(styles: Styles, mode: Mode, marks: bool) -> Text:
    """The colours of a mode, each with what it means."""
    text = Text(f"colours: {mode.value}\n")
    if mode is Mode.STATE:
        rows = [
            (Span("░▒░·", Look.NOISE), "noise"),
            (Span("·text·" if marks else "text", Look.PROVISIONAL, SHADES // 3), "not sure yet"),
            (Span("text", Look.ACCEPTED), "accepted"),
            (Span("~text~" if marks else "text", Look.BACK), "taken back"),
            (Span("[text]" if marks else "text", Look.PINNED), "pinned"),
        ]
        for span, meaning in rows:
            text.append(span.text.ljust(7), styles.of(span)).append(f" {meaning}\n")
        return text
    few, many = {
        Mode.ENTROPY: ("unsure", "sure"),
        Mode.AGE: ("new", "long there"),
        Mode.CHANGE: ("often", "never"),
    }[mode]
    text.append(f"{few} ")
    for shade in range(0, SHADES, 3):
        text.append("█", styles.of(Span("", Look.PROVISIONAL, shade)))
    return text.append(f" {many}")


def why_it_stopped(done: Done, draft: Draft) -> str:
    """The end of an answer in plain words."""
    if done.reason == "cancelled":
        return "stopped by you"
    count = sum(done.stats.steps_per_block)
    steps = notes.plural(count, "step") if count else notes.plural(done.stats.blocks, "block")
    if done.reason == "length":
        return f"cut at {notes.plural(done.stats.tokens, 'token')}, after {steps}"
    return f"converged in {steps}" if count else f"finished in {steps}"
