"""A stream to a terminal that may be slower than what is drawn on it."""

from __future__ import annotations

import io


class Outlet(io.TextIOWrapper):
    """Knows whether the other end has taken everything. One thread may announce text that another one writes."""

    _announced = _written = _gone = 0  # characters

    def announce(self, text: str) -> None:
        """So much will be written."""
        self._announced += len(text)

    @property
    def behind(self) -> bool:
        """Whether some of what has been announced has not gone out yet."""
        return self._gone < self._announced

    def write(self, text: str) -> int:
        """Takes text, and perhaps keeps it until `flush`."""
        count = super().write(text)
        self._written += count
        return count

    def flush(self) -> None:
        """Returns when the other end has taken everything that has been written."""
        written = self._written
        super().flush()
        self._gone = written
