"""The names of the precisions that weights can be loaded in, as one chooses them. The engine knows a few more pairs."""

from __future__ import annotations

from typing import Final

PLAIN: Final = ("auto", "float32", "bfloat16")
"""What is stored quantised stays so; the rest is in this."""
QUANTISED: Final = (
    "nvfp4", "nvfp4+fp8", "nvfp4+int8", "nvfp4+nf4",
    "fp8",
    "nf4", "nf4+fp8", "nf4+int8", "nf4+nf4",
)  # fmt: skip
"""The form of the experts, and after a plus that of the dense projections; see `dgengine.quantized.forms.recipe_of`."""
BITSANDBYTES: Final = ("int8",)
"""Of linear layers alone: `--backend transformers` has it (and nf4), and no other engine."""
PRECISIONS: Final = (*PLAIN, *QUANTISED, *BITSANDBYTES)
