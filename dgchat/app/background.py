"""Work beside the app."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_background(work: Callable[[], object]) -> None:
    """Does it on a thread that nobody waits for: the app can be quit meanwhile. It speaks by `post_message`."""
    threading.Thread(target=work, daemon=True).start()
