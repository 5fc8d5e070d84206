"""Rounding to bf16 and fp8, against torch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kernels.interpreter.floats import (
    BF16,
    E4M3,
    E5M2,
    Array,
    Format,
    decode_bf16,
    decode_e2m1,
    decode_e8m0,
    encode_bf16,
    fused_multiply_add,
    truncate_bf16,
)

singles = st.floats(width=32)
halves = st.integers(0, 0xFFFF).map(lambda code: float(decode_bf16(np.array([code], np.uint16))[0]))


def same(found: Array, expected: Array) -> bool:
    """Equal, with NaN equal to NaN and -0.0 not to 0.0."""
    is_nan = np.isnan(expected)
    return bool(
        np.array_equal(np.isnan(found), is_nan)
        and np.array_equal(found[~is_nan], expected[~is_nan])
        and np.array_equal(np.signbit(found[~is_nan]), np.signbit(expected[~is_nan]))
    )


def of_torch(numbers: Array, dtype: torch.dtype) -> Array:
    return torch.from_numpy(numbers).to(dtype).float().numpy()


def test_every_bf16_code_comes_back() -> None:
    codes = np.arange(1 << 16).astype(np.uint16)
    numbers = decode_bf16(codes)
    assert same(numbers, torch.from_numpy(codes).view(torch.bfloat16).float().numpy())
    is_number = ~np.isnan(numbers)
    assert np.array_equal(encode_bf16(numbers)[is_number], codes[is_number])
    assert set(encode_bf16(numbers)[~is_number]) == {0x7FFF}


def test_bf16_rounds_as_torch_around_every_code() -> None:
    bits = np.arange(1 << 16).astype(np.uint32) << np.uint32(16)
    for low in (0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        numbers = (bits | np.uint32(low)).view(np.float32)
        assert same(decode_bf16(encode_bf16(numbers)), of_torch(numbers, torch.bfloat16)), hex(low)


@given(st.lists(singles, min_size=1))
def test_bf16_rounds_as_torch(values: list[float]) -> None:
    numbers = np.array(values, np.float32)
    assert same(decode_bf16(encode_bf16(numbers)), of_torch(numbers, torch.bfloat16))
    truncated = np.abs(decode_bf16(truncate_bf16(numbers)))
    assert np.all((truncated <= np.abs(numbers)) | np.isnan(numbers))


def test_a_double_is_rounded_to_bf16_once() -> None:
    above_the_middle = np.array([1 + 2**-8 + 2**-40, 1 + 2**-8, -(1 + 2**-8 + 2**-40), 1e300, -np.inf])
    assert decode_bf16(encode_bf16(above_the_middle)).tolist() == [1.0078125, 1.0, -1.0078125, np.inf, -np.inf]


@pytest.mark.parametrize(("form", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)])
def test_every_fp8_code(form: Format, dtype: torch.dtype) -> None:
    codes = np.arange(256).astype(np.uint8)
    numbers = form.decode(codes)
    assert same(numbers, torch.from_numpy(codes).view(dtype).float().numpy())
    is_finite = np.isfinite(numbers)
    assert np.array_equal(form.encode(numbers)[is_finite], codes[is_finite])
    assert set(form.encode(numbers)[np.isnan(numbers)]) == {0x7F}


FP8 = [(E4M3, torch.float8_e4m3fn, 448.0), (E5M2, torch.float8_e5m2, 57344.0)]


@pytest.mark.parametrize(("form", "dtype", "largest"), FP8)
@given(values=st.lists(singles | st.floats(-500, 500, width=32) | st.floats(-0.25, 0.25, width=32), min_size=1))
@example([464.0, 465.0, -1e30, float("inf"), float("nan"), 61440.0, 2.0**-10, 2.0**-17])
def test_fp8_rounds_as_torch_and_saturates(
    form: Format, dtype: torch.dtype, largest: float, values: list[float]
) -> None:
    numbers = np.array(values, np.float32)
    assert same(form.decode(form.encode(numbers)), of_torch(np.clip(numbers, -largest, largest), dtype))


@given(halves, halves, halves)
@example(1 + 2.0**-7, 1 - 2.0**-8, 2.0**-60)
@example(1.0, 1 + 2.0**-7, -(2.0**-9))
def test_a_fused_multiplication_rounds_once(x: float, y: float, z: float) -> None:
    found = fused_multiply_add(*(np.array([number], np.float32) for number in (x, y, z)))
    if not np.isfinite([x, y, z]).all():
        with np.errstate(invalid="ignore"):
            assert same(found, np.array([np.float64(x) * np.float64(y) + np.float64(z)]))
        return
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    code = encode_bf16(found)
    assert nearest_is(exact, code[0]), (exact, code)


def nearest_is(exact: Fraction, code: np.uint16) -> bool:
    """Whether no neighbour of a bf16 number is nearer to `exact`, nor as near and even."""
    magnitude = int(code) & 0x7FFF
    if magnitude >= 0x7F80:
        return magnitude == 0x7F80 and abs(exact) >= Fraction(2) ** 127 * Fraction(511, 256)
    here = abs(abs(exact) - number_of(magnitude))
    others = [abs(abs(exact) - number_of(other)) for other in (magnitude - 1, magnitude + 1) if 0 <= other < 0x7F80]
    has_sign = exact == 0 or magnitude == 0 or (exact < 0) == bool(int(code) & 0x8000)
    return has_sign and all(here < other or (here == other and magnitude % 2 == 0) for other in others)


def number_of(code: int) -> Fraction:
    return Fraction(float(decode_bf16(np.array([code], np.uint16))[0]))


def test_formats_without_a_sign_of_their_own() -> None:
    assert decode_e2m1(np.array([[0x10, 0xF7]], np.uint8), axis=1).tolist() == [[0, 0.5, 6, -6]]
    assert decode_e2m1(np.array([[0x10, 0xF7]], np.uint8), axis=0).tolist() == [[0, 6], [0.5, -6]]
    powers = decode_e8m0(np.array([0, 127, 254, 255], np.uint8))
    assert powers[:3].tolist() == [2.0**-127, 1.0, 2.0**127]
    assert np.isnan(powers[3])


def test_shapes_are_kept() -> None:
    numbers = np.ones((2, 3), np.float32)
    for form in (BF16, E4M3, E5M2):
        assert form.decode(form.encode(numbers).T).shape == (3, 2)
        assert form.decode(form.encode(np.array(1.0))).shape == ()
