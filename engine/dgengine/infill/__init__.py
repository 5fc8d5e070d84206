"""Rewriting a part of a text in place: both sides are in the prompt, and pinned on the canvas around the hole."""

from __future__ import annotations
