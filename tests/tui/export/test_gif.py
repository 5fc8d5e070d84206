"""GIFs; a sentence where there is no font for them."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from dgchat.exits import Failure
from dgchat.export.gif import export
from dgchat.export.options import Options
from dgchat.export.scene import film
from dgchat.trace.frames import Pace, View
from tests.tui.trace.made import told

_OPTIONS = Options(View(40, pace=Pace(5)))


def test_without_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgchat.export.gif._FONTS", ("no-such-font.ttf",))
    with pytest.raises(Failure, match="needs a monospace font"):
        export(told(), _OPTIONS)


def test_a_film_of_all_shots() -> None:
    try:
        data = export(told(), _OPTIONS)
    except Failure as failure:
        pytest.skip(str(failure))
    scene = film(told(), _OPTIONS)
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, GifImageFile)
        assert image.n_frames == len(scene.shots) and image.info["loop"] == 0
        total = 0
        for number in range(image.n_frames):
            image.seek(number)
            total += image.info["duration"]
            assert len(image.convert("RGB").getcolors(1 << 16) or ()) > 4  # something is drawn
    assert total == pytest.approx(1000 * scene.seconds, abs=20)
