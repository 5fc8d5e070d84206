"""What the trace of a long answer takes: 4,096 tokens in 16 canvases of 256 positions, at 48 steps each."""

from __future__ import annotations

from dgchat.trace.codec import pack, unpack
from tests.tui.trace.made import realistic


def test_an_answer_of_4000_tokens() -> None:
    trace = realistic()
    assert sum(len(block.tokens) for block in trace.blocks) == 4096 and len(trace) == 768
    data = pack(trace)
    assert trace.bytes_held() < 2 * 2**20 and len(data) < 2**20
    again = unpack(data)
    assert again.bytes_held() == trace.bytes_held() and again.spelling == trace.spelling
    for mine, other in zip(again.blocks, trace.blocks, strict=True):
        assert all((a == b).all() for a, b in zip(mine.drafts, other.drafts, strict=True))
        assert all((a == b).all() for a, b in zip(mine.entropy, other.entropy, strict=True))
