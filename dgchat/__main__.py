"""`python -m dgchat` is `dgchat`."""

from __future__ import annotations

from dgchat.cli import main

if __name__ == "__main__":
    main()
