"""Steering an answer while it is being written, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dgengine.errors import SamplingError, TokenIdError

# Waits wake up this often (seconds), so that Ctrl-C reaches a waiting main thread on every platform.
_WAKE = 0.25
_NO_PINS: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for the next step of a block, read at one moment.

    Attributes:
        cancelled: stop the answer.
        commit: end the block with its present draft.
        pins: token id by canvas position.
    """

    cancelled: bool = False
    commit: bool = False
    pins: Mapping[int, int] = field(default_factory=lambda: _NO_PINS)


class Control:
    """Thread-safe steering of one `Session.generate` call: make one for each call.

    Every method returns at once and takes effect within one denoising step. `pin` takes positions on the
    canvas of one block; without `block` that is the one being denoised (before the answer starts, the
    first), and the pins of a block end with it. `extend` and `commit` are about the block being denoised
    and are forgotten when it ends.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._cancelled = False
        self._paused = False
        self._commit = False
        self._extension = 0
        self._block = 1
        self._pins: dict[int, dict[int, int]] = {}
        self._canvas_length: int | None = None
        self._vocab_size: int | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    @property
    def paused(self) -> bool:
        """Whether the answer is, or will be before its next step, held up by `pause`."""
        return self._paused

    def cancel(self) -> None:
        """Stops the answer for good: `Done("cancelled")` follows, out of a pause or a wait, too."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Holds what is denoised before its next step, and an answer before the end of a block, until `resume`."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Ends a pause."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def pin(self, position: int, token: int, block: int | None = None) -> None:
        """Holds `token` at `position` of the canvas, from the next step on that has not begun.

        Where steps run ahead, as they do on a GPU, one has begun by the time that the step before it is seen: then the
        pin misses that one, and no other.

        Args:
            position: place on the canvas, from 0.
            token: the token id to hold there; replaces an earlier pin.
            block: number of the block, from 1; None for the one being denoised. A pin for a block that is over is
                dropped: give the number when the click that made the pin may come late.

        Raises:
            SamplingError: no such position. TokenIdError: no such token id. Where the answer has not
            started, and the canvas is not known yet, `generate` raises them instead.
        """
        with self._changed:
            self._check_pin(position, token)
            number = self._block if block is None else block
            if number >= self._block:
                self._pins.setdefault(number, {})[position] = token

    def unpin(self, position: int, block: int | None = None) -> None:
        """Frees `position` again; nothing happens where it was free."""
        with self._changed:
            self._pins.get(self._block if block is None else block, {}).pop(position, None)

    def extend(self, steps: int) -> None:
        """Gives the block `steps` more beyond its limit, at the last temperature.

        Raises:
            SamplingError: fewer than one step.
        """
        if steps < 1:
            raise SamplingError(f"extend needs at least 1 step, not {steps!r}.")
        with self._changed:
            self._extension += steps
            self._changed.notify_all()

    def commit(self) -> None:
        """Ends the block with its present draft, converged or not; the answer goes on after it."""
        with self._changed:
            self._commit = True
            self._changed.notify_all()

    # What follows is the session's side.

    def begin(self, canvas_length: int, vocab_size: int) -> None:
        """Ties the control to an answer; checks the pins that were set before.

        Raises:
            SamplingError, TokenIdError: as `pin`.
        """
        with self._changed:
            self._canvas_length, self._vocab_size = canvas_length, vocab_size
            for pins in self._pins.values():
                for position, token in pins.items():
                    self._check_pin(position, token)

    def orders(self, block: int) -> Orders:
        """Waits while paused; then what holds for the next step of `block`."""
        with self._changed:
            while self._paused and not self._cancelled:
                self._changed.wait(_WAKE)
            return Orders(self._cancelled, self._commit, self.pins(block))

    def pins(self, block: int) -> Mapping[int, int]:
        """The pins of `block` at this moment, token id by position."""
        with self._changed:
            pins = self._pins.get(block)
            return MappingProxyType(dict(pins)) if pins else _NO_PINS

    def take_extension(self) -> int:
        """The steps granted by `extend` since the last call; 0 when none."""
        with self._changed:
            steps, self._extension = self._extension, 0
            return steps

    def wait_for_decision(self) -> int:
        """Waits at a block's step limit. Returns the steps of an extension, or 0 for commit and cancel."""
        with self._changed:
            while not (self._cancelled or self._commit or self._extension):
                self._changed.wait(_WAKE)
            steps, self._extension = self._extension, 0
            return 0 if self._cancelled or self._commit else steps

    def end_block(self, block: int) -> None:
        """Forgets what was meant for `block` alone; the next block begins."""
        with self._changed:
            self._commit, self._extension = False, 0
            self._pins.pop(block, None)
            self._block = block + 1

    def _check_pin(self, position: int, token: int) -> None:
        length, vocabulary = self._canvas_length, self._vocab_size
        if position < 0 or (length is not None and position >= length):
            end = "the canvas's last" if length is None else str(length - 1)
            raise SamplingError(f"There is no canvas position {position}: positions go from 0 to {end}.")
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            end = "the vocabulary's last" if vocabulary is None else str(vocabulary - 1)
            raise TokenIdError(f"Token id {token} cannot be pinned: ids go from 0 to {end}.")
