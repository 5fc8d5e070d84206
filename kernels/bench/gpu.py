"""Everything that a GPU has to show, in one run of a few minutes: `make gpu`.

    python3 kernels/bench/gpu.py                            # under nine minutes on an H100
    python3 kernels/bench/gpu.py --only kernels --out DIR

It installs nothing and needs no weights: any python3 does that has torch, Triton and transformers. With
`--tiny --device cpu` it runs in Triton's interpreter, for tests (`tests/kernels/bench`). Stages, in this order:

* machine: which GPU, driver and versions; the bandwidth and the bf16 rate that are measured there.
* correctness: every kernel against its torch reference, on the device.
* kernels: how long each takes, beside its floor and what others have for the same.
* step: the full-size model with random weights: ms a denoising step, tokens/s, time to the first step, memory.
* graph: a step of that model as one CUDA graph, beside the same step launched kernel by kernel: ms, tokens/s, and for
  which share of the time the GPU has nothing to do.
* rival: transformers' model of the same size in bfloat16, where it fits; eager, then compiled.

Each stage runs in a process of its own, with a limit of time, and writes `DIR/STAGE.json` part by part: what it had is
kept if it is cut off or fails, and the others go on. What it printed is in `DIR/STAGE.log`. The table comes last, and
lies in `DIR/report.md`.

Exit status: 0 if no stage failed and every kernel is right, 1 if not, 2 if nothing could be run. What there was no time
for is said, and is no failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def find_packages() -> None:
    """Lets this checkout's packages be imported, and nothing by the short names of the files beside this one."""
    here = Path(__file__).resolve().parent
    elsewhere = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    sys.path[:] = [str(ROOT / "engine"), str(ROOT / "kernels"), *elsewhere]


if __name__ == "__main__":
    find_packages()
    from bench.run import main

    sys.exit(main())
