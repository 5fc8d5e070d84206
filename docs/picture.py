"""Draws docs/watch.svg, the picture of the README: `python docs/picture.py [PROMPT] [--seed N]`.

Three frames of one real answer of the built-in model, as `dgchat --watch` draws them.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dgchat.canvas.looks import Styles
from dgchat.canvas.state import Canvas
from dgchat.themes import load
from dgengine import Block, Engine, Sampling, Step

COLUMNS = 78
PROMPT = "Tell me a story about a fox and a lantern."


def frames(engine: Engine, prompt: str, seed: int) -> list[tuple[Step, list[Text]]]:
    """The steps of the first block, each with the rows that are on the screen then."""
    styles = Styles(load("night"), False)
    canvas = Canvas(engine.info.canvas_length, engine.pieces, engine.eos_ids)
    shown: list[tuple[Step, list[Text]]] = []
    ids = engine.encode_chat([{"role": "user", "content": prompt}])
    for event in engine.session().generate(ids, Sampling(seed=seed)):
        if isinstance(event, Block):
            break
        if isinstance(event, Step):
            canvas.take(event)
            rows = canvas.rows(COLUMNS, False)
            shown.append((event, [Text.assemble(*((span.text, styles.of(span)) for span in row)) for row in rows]))
    return shown


def draw(shown: list[tuple[Step, list[Text]]], prompt: str) -> str:
    """The SVG of the first, a middle and the last frame."""
    console = Console(record=True, width=COLUMNS + 2, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(f'$ dgchat --watch "{prompt}"', highlight=False)
    for step, rows in (shown[0], shown[2 * len(shown) // 5], shown[-1]):
        accepted = f"{step.accepted.sum()} of {len(step.draft)}"
        console.print(f"\nstep {step.step} of {len(shown)}, accepted {accepted}", style="dim", highlight=False)
        for row in rows:
            console.print(row)
    return console.export_svg(title="dgchat")


def main() -> None:
    parser = argparse.ArgumentParser(prog="picture")
    parser.add_argument("prompt", nargs="?", default=PROMPT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("watch.svg"))
    options = parser.parse_args()
    shown = frames(Engine.load("pocket"), options.prompt, options.seed)
    options.out.write_text(draw(shown, options.prompt), encoding="utf-8")
    print(f"{options.out}: {len(shown)} steps")


if __name__ == "__main__":
    main()
