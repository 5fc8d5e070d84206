"""dgchat: chat with a block-diffusion language model in the terminal, and watch its answers resolve out of noise."""

from __future__ import annotations

__version__ = "0.1.0"
