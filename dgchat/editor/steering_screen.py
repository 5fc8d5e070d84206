"""The part of the editor's screen that is about the hole: drawing it, and changing what forms in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import on

from dgchat.app.card import quoted
from dgchat.app.stage import lines
from dgchat.app.steering import SteeringError, place_text
from dgchat.canvas.cursor import across, beside, first_undecided
from dgchat.editor.area import Area, Location
from dgchat.editor.desk import Desk
from dgchat.editor.filing_screen import FilingScreen
from dgchat.editor.hole import Need
from dgchat.editor.resolving import Resolving
from dgchat.editor.rewrite import Forming, Rewrite
from dgchat.notes import plural
from dgchat.offered import why_not

if TYPE_CHECKING:
    from dgbackends.protocol import Backend

_MARKED = 1.4  # times as many, where looks are told apart by glyphs
_ENGLISH = 4.0  # cells that a token takes, where nothing tells
_ROOM_AROUND = 6  # rows of the text that stay in sight beside the hole


class SteeringScreen(FilingScreen):
    """A screen with a text in which a hole may form."""

    desk: Desk

    def begin_steering(self) -> None:
        """What there is before anything is rewritten."""
        self._rewrite: Rewrite | None = None
        self._turn = 0  # the rewrite that is awaited; 0 for none
        self._span: tuple[Location, Location] = ((0, 0), (0, 0))
        self.let_go()

    def let_go(self) -> None:
        """Nothing is held, and no token looked at."""
        self.frozen = False
        self._cursor: int | None = None  # the token that is looked at
        self._pins: dict[tuple[int, int], dict[int, int]] = {}  # by candidate and block: token ids by position
        self._pinned_texts: dict[tuple[int, int], dict[int, str]] = {}

    def pieces(self, ids: object) -> list[str]:
        engine = self.desk.host.engine
        assert engine is not None  # tokens come from it
        return engine.pieces(ids)  # type: ignore[arg-type]

    # ---- drawing

    def _open_hole(self, rewrite: Rewrite) -> None:
        """Gives the hole its room, once."""
        self.area.mark([])
        text = self.area.get_text_range(*self._span)
        engine = self.desk.host.engine
        tokens = len(engine.encode(text)) if engine is not None and text else 0
        cells = min(max(cell_len(text.replace("\n", " ")) / tokens, 1.0), 8.0) if tokens else _ENGLISH
        most = max(1, self.area.size.height - _ROOM_AROUND)
        wanted = rewrite.longest * cells * (_MARKED if self.desk.marks else 1)
        self.area.open_hole(self._span, Need(round(wanted), rewrite.breaks, most))
        self.area.show_hole()

    @on(Area.Rearranged)
    def rearranged(self) -> None:
        """The window has another size."""
        self.draw()

    def draw(self) -> None:
        """Draws the candidate that is shown."""
        rewrite = self._rewrite
        if not self._turn or rewrite is None or (forming := rewrite.now) is None or forming.step is None:
            return
        if self.area.room is None and rewrite.ready:
            self._open_hole(rewrite)
        if not self.frozen:
            self.progress(_progress(rewrite, forming))
        room = self.area.room
        if room is None:
            return
        rows = rewrite.rows(forming, room.left, room.layout_width, self.desk.marks)
        self.area.draw_hole(lines(forming.canvas, rows, self._cursor))

    def progress(self, text: str) -> None:
        for panel in self.query(Resolving):
            panel.say(text)

    def forget_pins(self, candidate: int, block: int) -> None:
        for key in [key for key in self._pins if key[0] == candidate and key[1] != block]:
            del self._pins[key]

    # ---- steering

    def freeze(self, frozen: bool) -> None:
        forming = self._rewrite.now if self._rewrite is not None else None
        if forming is None or forming.step is None or why_not(self.desk.host.engine, "pins") is not None:
            return
        assert self._rewrite is not None  # it has a canvas
        self.frozen = self._rewrite.held = frozen
        if not frozen and self._rewrite.steered is not None:
            self._rewrite.held = True  # whoever has changed something wants to see what becomes of it
        self._cursor = first_undecided(forming.step.accepted, forming.step.pinned) if frozen else None
        self.desk.host.hold(frozen)
        self.query_one(Resolving).freeze(frozen)
        self.progress(
            "frozen: arrows choose a token, Enter types another, p pins, x frees, Space goes on"
            if frozen
            else "it goes on"
        )
        self.draw()

    def _steered(self) -> tuple[Forming, int] | None:
        """The candidate that is shown, and the token that is looked at, while the rewrite is held."""
        forming = self._rewrite.now if self._rewrite is not None else None
        if not self.frozen or forming is None or forming.step is None or self._cursor is None:
            return None
        return forming, self._cursor

    def walk(self, by: int) -> None:
        found = self._steered()
        if found is not None:
            forming, place = found
            self._cursor = beside(forming.canvas, place, by, forming.length)
            self.draw()

    def walk_row(self, by: int) -> None:
        found = self._steered()
        if found is not None:
            forming, place = found
            self._cursor = across(forming.canvas, place, by)
            self.draw()

    @on(Area.Pointed)
    def pointed(self, pointed: Area.Pointed) -> None:
        """The mouse chooses a token, and holds the rewrite for that."""
        forming = self._rewrite.now if self._rewrite is not None else None
        if forming is None or forming.step is None:
            return
        place = forming.canvas.place_at(pointed.row, pointed.column)
        if place is None:
            return
        if not self.frozen:
            self.freeze(True)
        self._cursor = place
        self.draw()

    def _piece(self, forming: Forming, place: int) -> str:
        assert forming.step is not None  # asked for only then
        return self.pieces(forming.step.draft.tolist())[place]

    def ask_token(self) -> None:
        found = self._steered()
        if found is not None:
            self.query_one(Resolving).ask(self._piece(*found))

    def retype(self, text: str) -> None:
        found, engine = self._steered(), self.desk.host.engine
        if found is None or engine is None:
            return
        forming, place = found
        try:
            held = place_text(engine, text, self._piece(forming, place), place, forming.length)
        except SteeringError as error:
            self.progress(str(error))
            return
        self._hold(engine, forming, held.tokens, held.texts)
        self.progress(f"{held.sentence}; Space goes on")

    def pin_here(self) -> None:
        found, engine = self._steered(), self.desk.host.engine
        if found is None or engine is None:
            return
        forming, place = found
        key = (forming.number, forming.block)
        assert forming.step is not None  # told by `_steered`
        token = self._pins.get(key, {}).get(place, int(forming.step.draft[place]))
        piece = self._pinned_texts.get(key, {}).get(place) or self._piece(forming, place)
        self._hold(engine, forming, {place: token}, {place: piece})
        self.progress(f"held: {quoted(piece)}; Space goes on")

    def _hold(self, engine: Backend, forming: Forming, tokens: Mapping[int, int], texts: Mapping[int, str]) -> None:
        key = (forming.number, forming.block)
        assert self._rewrite is not None  # it has a canvas
        self._rewrite.steered = forming.number
        for place, token in tokens.items():
            self.desk.host.pin(place + forming.first, token, forming.block)
        self._pins.setdefault(key, {}).update(tokens)
        self._pinned_texts.setdefault(key, {}).update(texts)
        self._show_pins(forming)

    def unpin_here(self) -> None:
        found = self._steered()
        if found is None:
            return
        forming, place = found
        key = (forming.number, forming.block)
        self.desk.host.pin(place + forming.first, None, forming.block)
        self._pins.get(key, {}).pop(place, None)
        self._pinned_texts.get(key, {}).pop(place, None)
        self._show_pins(forming)
        self.progress("free again; Space goes on")

    def _show_pins(self, forming: Forming) -> None:
        """Shows at once what is held; the next step will say so as well."""
        key = (forming.number, forming.block)
        step = forming.step
        assert step is not None  # told by `_steered`
        own = {int(place): int(step.draft[place]) for place in step.pinned.nonzero()[0]}
        pieces = self.pieces(step.draft.tolist())
        pins = {**own, **self._pins.get(key, {})}
        texts = {**{place: pieces[place] for place in own}, **self._pinned_texts.get(key, {})}
        forming.canvas.hold(pins, texts)
        self.draw()


def _progress(rewrite: Rewrite, forming: Forming) -> str:
    step = forming.step
    assert step is not None  # it is drawn
    parts = [f"step {step.step}"]
    count = len(rewrite.active)
    if count > 1:
        parts.append(f"{count} side by side, the most confident is shown")
    decided = int((step.accepted | step.pinned).sum())
    parts += [f"{decided} of {plural(forming.length, 'token')} decided", f"{forming.nats:.2f} nats a token"]
    return " · ".join(parts)
