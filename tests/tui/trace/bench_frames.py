"""What a long answer's trace takes: `python -m tests.tui.trace.bench_frames`.

An answer of 4,096 tokens: 16 canvases of 256 positions at 48 steps each.
"""

from __future__ import annotations

import time

import numpy as np

from dgchat.export.formats import FORMATS
from dgchat.export.options import Options
from dgchat.trace.codec import pack, unpack
from dgchat.trace.frames import View, frame_at, frames
from dgchat.trace.steps import StepTrace
from tests.tui.trace.made import realistic


def main() -> None:
    """Prints sizes and times."""
    trace = realistic()
    data, with_candidates = pack(trace), pack(realistic(candidates=5))
    print(f"in memory {trace.bytes_held() / 2**20:.2f} MiB, on disk {len(data) / 2**20:.2f} MiB,")
    print(f"  with 5 candidates on disk {len(with_candidates) / 2**20:.2f} MiB")
    began = time.perf_counter()
    unpack(data)
    print(f"read in {1000 * (time.perf_counter() - began):.0f} ms")
    for width in (60, 100, 200):
        times = np.array(_frame_times(trace, View(width)))
        low, high = np.percentile(times, [50, 99])
        print(f"a frame at width {width}: median {low:.2f} ms, 99 % {high:.2f} ms, longest {times.max():.2f} ms")
    began = time.perf_counter()
    frame_at(trace, View(100), len(trace))
    print(f"the last step by itself: {1000 * (time.perf_counter() - began):.0f} ms")
    for form in ("npz", "cast", "anim", "html"):
        began = time.perf_counter()
        size = len(FORMATS[form].export(trace, Options()))
        print(f"{form}: {size / 2**20:.2f} MiB in {time.perf_counter() - began:.1f} s")


def _frame_times(trace: StepTrace, view: View) -> list[float]:
    """Milliseconds of processor time for each frame, in order."""
    film = frames(trace, view)
    found: list[float] = []
    while True:
        began = time.process_time()
        if next(film, None) is None:
            return found
        found.append(1000 * (time.process_time() - began))


if __name__ == "__main__":
    main()
