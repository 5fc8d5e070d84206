"""Which engines one can choose, and how a server of one is spoken of."""

from __future__ import annotations

from typing import Final

BACKENDS: Final = ("embedded", "transformers", "vllm", "mlx")  # as dgbackends has them: to import it takes too long
LONGEST: Final = 24 * 60 * 60  # seconds that may be waited for a server


def shown_address(url: str) -> str:
    """The address of a server as it was written, for a screen; nothing of one that may hold a name, password or key."""
    return "(not shown: it holds more than an address)" if any(c in url for c in "@?#") else url
