"""The library is built anew for these tests, whatever whoever runs them has in the cache, or cannot write to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from dgengine.native import compiling


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platformdirs, "user_cache_path", lambda name: folder / name)
        patch.delenv(compiling.SWITCH, raising=False)
        compiling.library.cache_clear()
        yield folder
    compiling.library.cache_clear()
