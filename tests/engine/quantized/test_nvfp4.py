"""NVFP4: every code and scale, against the format's definition written out and against other implementations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dgengine.quantized.fp8 import decode_e4m3
from dgengine.quantized.nvfp4 import Nvfp4, decode_e2m1, encode, encode_e2m1, pack

SCALES = list(range(1, 0x7F))  # every E4M3 above zero


def e2m1(code: int) -> float:
    """One code by its fields: one bit of sign, two of exponent with bias 1, one of fraction."""
    exponent, fraction = (code >> 1) & 3, code & 1
    size = 0.5 * fraction if exponent == 0 else (1 + 0.5 * fraction) * 2.0 ** (exponent - 1)
    return -size if code & 8 else size


def e4m3(byte: int) -> float:
    """One byte by its fields: one bit of sign, four of exponent with bias 7, three of fraction."""
    exponent, fraction = (byte >> 3) & 15, byte & 7
    size = fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -size if byte & 0x80 else size


def nearest(x: float) -> int:
    """The code of the nearest number, ties to the even one, by trying all."""
    codes = range(8, 16) if math.copysign(1, x) < 0 else range(8)
    return min(codes, key=lambda code: (abs(e2m1(code) - x), code & 1))


def matrix(codes: Tensor, scales: list[int], global_scale: float) -> Nvfp4:
    """codes uint8 [O, I], one a byte; scale bytes in reading order."""
    bytes_ = torch.tensor(scales, dtype=torch.uint8).view(codes.shape[0], -1)
    return Nvfp4(pack(codes), bytes_.view(torch.float8_e4m3fn), torch.tensor([global_scale]))


def test_every_byte_is_its_two_numbers_low_bits_first() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    expected = [[e2m1(byte & 15), e2m1(byte >> 4)] for byte in range(256)]
    assert torch.equal(decode_e2m1(every[:, None]), torch.tensor(expected))
    assert torch.equal(decode_e2m1(every[:, None]).signbit(), torch.tensor(expected).signbit())


def test_every_scale() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    numbers = decode_e4m3(every.view(torch.float8_e4m3fn))
    finite = [byte for byte in range(256) if byte & 0x7F != 0x7F]
    assert numbers[finite].tolist() == [e4m3(byte) for byte in finite]
    assert numbers[[0x7F, 0xFF]].isnan().all()


def test_every_code_with_every_scale_decodes_to_the_product() -> None:
    codes = torch.arange(16, dtype=torch.uint8).expand(len(SCALES), 16)
    decoded = matrix(codes, SCALES, 0.25).dense(torch.float32)
    expected = [[e2m1(code) * e4m3(scale) * 0.25 for code in range(16)] for scale in SCALES]
    assert decoded.tolist() == expected
    assert matrix(codes, SCALES, 0.25).dense(torch.bfloat16).float().tolist() == expected  # all of them exact


def test_rounding_at_and_beside_every_midpoint() -> None:
    middles = [(e2m1(code) + e2m1(code + 1)) / 2 for code in range(7)]
    points = torch.tensor([*middles, *map(e2m1, range(8)), 6.5, 1e6, 2**-140, 0.0])
    around = torch.cat((points, points.nextafter(torch.tensor(0.0)), points.nextafter(torch.tensor(1e9))))
    both = torch.cat((around, -around))
    assert encode_e2m1(both).tolist() == [nearest(x) for x in both.tolist()]


@given(st.lists(st.floats(-64.0, 64.0, width=32), min_size=1, max_size=64))
def test_rounding_anywhere(values: list[float]) -> None:
    assert encode_e2m1(torch.tensor(values)).tolist() == [nearest(x) for x in values]


@given(st.data())
def test_what_was_encoded_comes_back_to_the_bit(data: st.DataObject) -> None:
    # A matrix that encode may give: a block's scale makes its largest magnitude 6, the largest scale is 448. A global
    # scale of a few bits leaves no rounding in 2688 times it.
    blocks = data.draw(st.integers(1, 6))
    codes = torch.tensor(data.draw(st.lists(st.integers(0, 15), min_size=16 * blocks, max_size=16 * blocks)))
    codes = codes.to(torch.uint8).view(1, -1)
    codes[:, ::16] = codes[:, ::16] & 8 | 7  # the 6 of each block
    scales = [0x7E, *data.draw(st.lists(st.sampled_from(SCALES), min_size=blocks - 1, max_size=blocks - 1))]
    global_scale = data.draw(st.integers(1, 255)) * 2.0 ** data.draw(st.integers(-40, 10))
    first = matrix(codes, scales, global_scale)
    again = encode(first.dense(torch.float32))
    assert torch.equal(again.codes, first.codes)
    assert torch.equal(again.scales.view(torch.uint8), first.scales.view(torch.uint8))
    assert torch.equal(again.global_scales, first.global_scales)


@given(st.data())
def test_any_global_scale_comes_back_but_for_one_rounding(data: st.DataObject) -> None:
    global_scale = data.draw(st.floats(2.0**-100, 2.0**100, width=32))
    codes = torch.tensor(data.draw(st.lists(st.integers(0, 15), min_size=32, max_size=32))).to(torch.uint8).view(1, -1)
    codes[:, ::16] = 7
    first = matrix(codes, [0x7E, data.draw(st.sampled_from(SCALES))], global_scale)
    again = encode(first.dense(torch.float32))
    assert torch.equal(again.codes, first.codes)
    assert torch.equal(again.scales.view(torch.uint8), first.scales.view(torch.uint8))
    torch.testing.assert_close(again.global_scales, first.global_scales, rtol=2**-22, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantising_random_weights_is_as_near_as_the_format_allows(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = torch.randn(24, 64).to(dtype) * 0.02
    decoded = encode(weight).dense(torch.float32)
    peaks = weight.float().abs().unflatten(1, (-1, 16)).amax(-1, keepdim=True).expand(-1, -1, 16).flatten(1)
    # at most half the largest step, 2 of 6, and what rounding the scale (one part in 16) moves the largest code
    assert ((decoded - weight.float()).abs() <= peaks / 6 * (1 + 1 / 16)).all()
    assert (decoded - weight.float()).norm() / weight.float().norm() < 0.12


def test_zeros_and_dead_blocks() -> None:
    nothing = encode(torch.zeros(2, 32))
    assert nothing.global_scales.item() == 1 and not nothing.dense(torch.float32).any()
    weight = torch.zeros(2, 32)
    weight[0, 0], weight[1, 20] = 6.0, 1e-9  # the last block's scale would underflow
    encoded = encode(weight)
    assert decode_e4m3(encoded.scales).tolist() == [[448, 1], [1, 2**-9]]
    assert encoded.dense(torch.float32)[0, 0] == 6
    assert encode(torch.full((1, 16), 1e-45)).dense(torch.float32).isfinite().all()


def test_what_cannot_be_quantised() -> None:
    with pytest.raises(ValueError, match="blocks of 16"):
        encode(torch.ones(2, 24))
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="not finite"):
            encode(torch.tensor([[bad] + [1.0] * 15]))


def test_compressed_tensors_agrees() -> None:
    helpers = pytest.importorskip("compressed_tensors.compressors.nvfp4.helpers")
    torch.manual_seed(1)
    weight = torch.randn(48, 96)
    own = encode(weight)
    unpacked = helpers.unpack_fp4_from_uint8(own.codes, 48, 96, dtype=torch.float32)
    assert torch.equal(unpacked, decode_e2m1(own.codes))
    assert torch.equal(helpers.pack_fp4_to_uint8(unpacked), own.codes)
    scales = own.scales.float() / (1 / own.global_scales)
    theirs = (unpacked.unflatten(1, (-1, 16)) * scales.unsqueeze(-1)).flatten(1)
    torch.testing.assert_close(own.dense(torch.float32), theirs, rtol=2**-21, atol=0)


def test_ml_dtypes_agrees() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    torch.manual_seed(2)
    values = torch.cat((4 * torch.randn(5000), torch.arange(-7, 7, 0.25)))
    theirs = values.numpy().astype(ml_dtypes.float4_e2m1fn)
    codes = encode_e2m1(values)
    assert (codes.numpy() == theirs.view("uint8") & 15).all()
    assert (decode_e2m1(pack(codes[:5000])).numpy() == theirs[:5000].astype("float32")).all()
