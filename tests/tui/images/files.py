"""Image files for tests of what stands around them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def image_file(folder: Path, name: str = "fox.png", size: tuple[int, int] = (48, 32), color: str = "orange") -> Path:
    """A file with an image of one colour."""
    path = folder / name
    Image.new("RGB", size, color).save(path)
    return path
