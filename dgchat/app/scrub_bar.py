"""The line under a canvas that tells where one is among its steps, and takes one elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import Static

_SLIDER = 18  # cells


@dataclass(frozen=True)
class Place:
    """What the bar shows.

    Attributes:
        index, count: the step that is shown, from 0, and how many there are in all blocks.
        step, steps: the same within its block, from 1.
        block, blocks: its block, from 1.
        playing, live, frozen: whether steps go by; whether the answer is still being written; whether it is held.
        speed: of the playing, as a factor.
        mode: what the colours tell.
        pins: how many tokens are held.
    """

    index: int
    count: int
    step: int
    steps: int
    block: int
    blocks: int
    playing: bool = False
    live: bool = False
    frozen: bool = False
    speed: float = 1.0
    mode: str = "state"
    pins: int = 0


class ScrubBar(Static):
    """`◂ step 7/14 ▸ ▶ 1× ━━━●──── state`; each part can be clicked, the slider dragged."""

    @dataclass
    class Pressed(Message):
        """A part was clicked: "back", "on", "play", "slower", "faster", "mode", "export", "close"."""

        part: str

    @dataclass
    class Dragged(Message):
        """The slider was put to this step, from 0."""

        index: int

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._parts: list[tuple[int, int, str]] = []  # columns from, to, and the name
        self._count = 1
        self._dragging = False

    def show(self, place: Place) -> None:
        """Where one is."""
        self._count = place.count
        state = "frozen" if place.frozen else "● live" if place.live and place.index == place.count - 1 else ""
        step = f"step {place.step}/{place.steps}"
        block = f" block {place.block}/{place.blocks}" if place.blocks > 1 else ""
        pins = f"{place.pins} pinned" if place.pins else ""
        pieces = [
            ("◂", "back"), (f" {step}{block} ", ""), ("▸", "on"), ("  ", ""),
            ("⏸" if place.playing else "▶", "play"), (f" {place.speed:g}×", "faster"), ("  ", ""),
            (_slider(place.index, place.count), "slider"), (_joined(state, pins), ""), ("  ", ""),
            (place.mode, "mode"), ("  ", ""), ("export", "export"), ("  ", ""), ("close", "close"),
        ]  # fmt: skip
        self._parts, column = [], 0
        for text, name in pieces:
            if name:
                self._parts.append((column, column + len(text), name))
            column += len(text)
        self.update(Text("".join(text for text, _ in pieces), no_wrap=True, overflow="crop"))

    def _at(self, column: int) -> tuple[str, float]:
        """The part there, and how far into it."""
        for start, end, name in self._parts:
            if start <= column < end:
                return name, (column - start) / max(1, end - start - 1)
        return "", 0.0

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Takes hold of the slider, or presses a part."""
        event.stop()
        name, share = self._at(event.x)
        if name == "slider":
            self._dragging = True
            self.capture_mouse()
            self._drag(share)
        elif name:
            self.post_message(self.Pressed(name))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drags the slider."""
        if self._dragging:
            start, end = next((start, end) for start, end, name in self._parts if name == "slider")
            self._drag(min(max((event.x - start) / (end - start - 1), 0.0), 1.0))

    def on_mouse_up(self) -> None:
        """Lets go of it."""
        self._dragging = False
        self.release_mouse()

    def _drag(self, share: float) -> None:
        self.post_message(self.Dragged(round(share * (self._count - 1))))


def _joined(*parts: str) -> str:
    return "".join(f"  {part}" for part in parts if part)


def _slider(index: int, count: int) -> str:
    knob = round(index / max(1, count - 1) * (_SLIDER - 1))
    return "━" * knob + "●" + "─" * (_SLIDER - 1 - knob)
