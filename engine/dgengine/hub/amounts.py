"""Bytes and seconds as people read them."""

from __future__ import annotations


def amount(size: float) -> str:
    """ "18.8 GB", "3 MB", "812 bytes": decimal, as the hub itself counts."""
    for unit, scale, digits in (("GB", 1e9, 1), ("MB", 1e6, 0), ("kB", 1e3, 0)):
        if size >= scale * 0.9995:  # not 1000 MB
            return f"{size / scale:.{digits}f} {unit}"
    return f"{size:.0f} bytes"


def share(done: int, total: int) -> str:
    """ "7.1 of 18.8 GB": the unit once where it is the same."""
    whole, part = amount(total), amount(done)
    number, _, unit = part.partition(" ")
    return f"{number if whole.endswith(f' {unit}') else part} of {whole}"


def duration(seconds: float) -> str:
    """ "40 s", "3 min", "1 h 5 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
