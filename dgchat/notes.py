"""What dgchat says about an answer: short notes on stderr, which --quiet turns off."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from dgchat.sanitize import clean_line

if TYPE_CHECKING:
    from dgengine import Block, Done


class Notes:
    """Notes on a stream; on a terminal also a line that tells what is being waited for, and goes again."""

    def __init__(self, stream: TextIO, quiet: bool, transient: bool | None = None) -> None:
        """`transient`: whether lines may come and go; by default on a terminal."""
        self._stream = stream
        self._quiet = quiet
        self._transient = stream.isatty() if transient is None else transient
        self._waiting = False

    @property
    def stream(self) -> TextIO:
        """Where the notes go."""
        return self._stream

    def say(self, text: str) -> None:
        """One sentence for the reader."""
        if not self._quiet:
            self.clear()
            self._write(f"dgchat: {clean_line(text)}\n")

    def wait(self, text: str, done: float = 0.0) -> None:
        """Shows what is being waited for, until the next note or `clear`; with a bar while `done` is within 0 and 1."""
        if self._transient and not self._quiet:
            how_far = f" {bar(done)} {done:.0%}" if 0 < done < 1 else " ..."
            self._write(f"\r\x1b[2K\x1b[2m{clean_line(text)}{how_far}\x1b[22m")
            self._waiting = True

    def clear(self) -> None:
        """Takes away what `wait` shows."""
        if self._waiting:
            self._write("\r\x1b[2K")
            self._waiting = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._quiet = True  # Nobody reads stderr any more; the answer itself may still be wanted.


def bar(done: float, width: int = 24) -> str:
    """A share from 0 to 1 as a line that fills."""
    full = round(min(max(done, 0.0), 1.0) * width)
    return "━" * full + "─" * (width - full)


def default_model_note() -> str:
    """How to get the full model, for those who run the built-in one without having chosen it."""
    return "pocket answers; full model: dgchat doctor says what fits, dgchat pull fetches it, --model nvfp4 runs it"


def block_note(block: Block) -> str | None:
    """What to say of a block that did not settle."""
    if block.converged:
        return None
    return f"block {block.block} did not settle in {block.steps} steps; --steps {2 * block.steps} gives it more"


def done_note(done: Done) -> str | None:
    """What to say of an answer that was cut off."""
    if done.reason != "length":
        return None
    return f"the answer was cut at {done.stats.tokens} tokens; --max-tokens {2 * done.stats.tokens} gives it more"


def summary(done: Done) -> str:
    """One line about how an answer came about."""
    stats = done.stats
    steps = sum(stats.steps_per_block)
    if not steps:  # an engine that tells no steps
        blocks = plural(stats.blocks, "block")
        return f"{plural(stats.tokens, 'token')} in {blocks}, {stats.tokens_per_second:,.0f} a second"
    return (
        f"{plural(stats.tokens, 'token')} in {plural(steps, 'step')}, {plural(stats.blocks, 'block')}: "
        f"{stats.tokens_per_forward:.1f} tokens per forward, {stats.ms_per_step:.1f} ms per step"
    )


def plural(count: int, noun: str) -> str:
    """ "1 step", "2 steps" """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
