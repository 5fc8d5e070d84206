"""How much a trace may be. A file that claims more is refused, and a longer answer is traced up to here.

An answer of 4,000 tokens, 16 canvases of 256 positions at 48 steps each, has 768 steps and 196,608 cells.
"""

from __future__ import annotations

from typing import Final

MOST_FILE_BYTES: Final = 128 * 2**20  # of an archive
MOST_BYTES: Final = 256 * 2**20  # of all its arrays together, unpacked
MOST_ENTRIES: Final = 1 << 15  # arrays in it
MOST_BLOCKS: Final = 1 << 10
MOST_LENGTH: Final = 1 << 14  # positions of a canvas
MOST_STEPS: Final = 1 << 16  # of all blocks together
MOST_CELLS: Final = 1 << 21  # positions times steps, of all blocks together
MOST_CANDIDATES: Final = 64  # for a position
MOST_TOKENS: Final = 1 << 20  # that are spelled
MOST_SPELLED: Final = 512  # bytes of one token
MOST_ABOUT: Final = 1 << 20  # bytes of what it says of itself
MOST_SETTLED: Final = 1 << 22  # bytes of the answer's text
MOST_TEXT: Final = 1 << 25  # bytes of the text of all steps together, each with the line that its canvas goes on
