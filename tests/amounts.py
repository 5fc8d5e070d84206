"""How many examples a property test draws."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

_SAMPLE = settings.get_profile("sample").max_examples


def examples(count: int, **more: Any) -> settings:
    """`count` examples; in `make soak`, as many times more as its profile has.

    Args:
        count: for a test whose examples are quicker, or rarer, than the profile's number is made for.
        more: other settings.
    """
    return settings(max_examples=count * settings().max_examples // _SAMPLE, **more)
