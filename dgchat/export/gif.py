"""The film as an animated GIF, through Pillow."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from dgchat.exits import Exit, Failure
from dgchat.export.options import Options
from dgchat.export.scene import BACK, Line, Scene, colors, film, placed
from dgchat.themes import Theme
from dgchat.trace.steps import StepTrace

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

# Fonts with the shades of blocks that noise is drawn with: of Linux, macOS and Windows. Pillow knows their folders.
_FONTS: Final = (
    "DejaVuSansMono.ttf",
    "Menlo.ttc",
    "consola.ttf",
    "LiberationMono-Regular.ttf",
    "NotoSansMono-Regular.ttf",
    "UbuntuMono-R.ttf",
    "FreeMono.ttf",
    "Courier New.ttf",
    "cour.ttf",
)
_SIZE, _MARGIN, _LEAD = 20, 28, 1.4
_COLORS = 64
_TICK = 10  # milliseconds: a GIF counts in hundredths of a second
_SHORTEST = 20  # milliseconds: shorter frames are slowed down by those who show them


def export(trace: StepTrace, options: Options) -> bytes:
    """The film.

    Raises:
        Failure: there is no font for it (exit code 2).
    """
    scene = film(trace, options)
    images = _images(scene, options.dark, _font())
    out = io.BytesIO()
    images[0].save(
        out, "GIF", save_all=True, append_images=images[1:], duration=_durations(scene), loop=0, disposal=1,
    )  # fmt: skip
    return out.getvalue()


def _durations(scene: Scene) -> list[int]:
    """Milliseconds for each shot, rounded so that the errors do not add up."""
    ends = [0, *(round(1000 * (shot.start + shot.duration) / _TICK) * _TICK for shot in scene.shots)]
    return [max(_SHORTEST, end - start) for start, end in pairwise(ends)]


def _font() -> FreeTypeFont:
    from PIL import ImageFont

    for name in _FONTS:
        try:
            return ImageFont.truetype(name, _SIZE)
        except OSError:
            continue
    raise Failure("A GIF needs a monospace font, such as DejaVu Sans Mono; choose svg or anim instead.", Exit.USAGE)


def _images(scene: Scene, theme: Theme, font: FreeTypeFont) -> list[Image]:
    """A picture of each shot, all of one palette."""
    from PIL.Image import Dither

    drawn = [_image(scene, shot.lines, theme, font) for shot in scene.shots]
    middle = drawn[len(drawn) // 2].quantize(_COLORS)
    return [image.quantize(palette=middle, dither=Dither.NONE) for image in drawn]


def _image(scene: Scene, lines: tuple[Line, ...], theme: Theme, font: FreeTypeFont) -> Image:
    from PIL import Image, ImageDraw

    inks = colors(theme)
    cell, height = font.getlength("0"), round(_SIZE * _LEAD)
    size = (round(scene.width * cell) + 2 * _MARGIN, scene.height * height + 2 * _MARGIN)
    image = Image.new("RGB", size, theme.colors["background"])
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        top = _MARGIN + row * height
        for column, cells, run in placed(line):
            left = _MARGIN + column * cell
            draw.text((left, top), run.text, font=font, fill=inks[run.ink])
            if run.ink == BACK:
                under = top + _SIZE + 3
                draw.line((left, under, left + cells * cell, under), fill=inks[BACK], width=1)
    return image
