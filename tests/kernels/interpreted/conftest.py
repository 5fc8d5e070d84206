"""Kernels run in Triton's interpreter here, which a process has for good or not at all.

`tests/kernels/test_interpreted.py` runs this folder in a process that has it; elsewhere nothing is collected. By hand:

TRITON_INTERPRET=1 python -m pytest tests/kernels/interpreted
"""

from __future__ import annotations

import importlib.util
import os

if os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton"):
    from tests.kernels.interpreter.repairs import repair

    repair()
else:
    collect_ignore_glob = ["*"]
