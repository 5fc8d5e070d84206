"""FP8, int8 and NF4; and stacks of any form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dgengine.quantized import fp8, int8, nf4
from dgengine.quantized.base import Form, Quantized, stacked
from dgengine.quantized.forms import quantize

FORMS: tuple[Form, ...] = ("nvfp4", "fp8", "int8", "nf4")
forms = pytest.mark.parametrize("form", FORMS)
CPU = torch.device("cpu")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 8


@forms
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decodes_in_the_dtype_that_is_asked_for(form: Form, dtype: torch.dtype) -> None:
    matrix = quantize(random(12, 128).to(dtype), form)
    assert (matrix.form, matrix.shape) == (form, (12, 128))
    wide = matrix.dense(torch.float32)
    assert wide.dtype == torch.float32 and wide.shape == (12, 128)
    narrow = matrix.dense(torch.bfloat16)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), wide, rtol=2**-7, atol=0)


@forms
def test_quantising_costs_no_more_than_its_bits(form: Form) -> None:
    weight = random(64, 128)
    matrix = quantize(weight, form)
    error = ((matrix.dense(torch.float32) - weight).norm() / weight.norm()).item()
    assert error < {"nvfp4": 0.12, "nf4": 0.11, "fp8": 0.03, "int8": 0.01}[form]
    bits = 8 * sum(tensor.nbytes for tensor in matrix.tensors()) / weight.numel()
    assert bits == {"nvfp4": 4.5 + 32 / 8192, "nf4": 4.5, "fp8": 8 + 16 / 128, "int8": 8 + 32 / 128}[form]


@forms
def test_a_stack_holds_what_was_given(form: Form) -> None:
    gates, ups = random(3, 8, 64), random(3, 8, 64, seed=1)
    parts = [(quantize(gate, form), quantize(up, form)) for gate, up in zip(gates, ups, strict=True)]
    stack = stacked(iter(parts), 3, CPU)
    assert stack.shape == (16, 64)
    for index, (gate, up) in enumerate(parts):
        expected = torch.cat((gate.dense(torch.float32), up.dense(torch.float32)))
        assert torch.equal(stack[index].dense(torch.float32), expected)
    joined: Quantized = stack[1].to(CPU)
    assert torch.equal(joined.dense(torch.float32), stack[1].dense(torch.float32))


@pytest.mark.gpu
@forms
def test_a_gpu_codes_and_decodes_alike(form: Form) -> None:
    weight = random(32, 128)
    own, other = quantize(weight, form), quantize(weight.cuda(), form)
    torch.testing.assert_close(other.dense(torch.float32).cpu(), own.dense(torch.float32), rtol=1e-5, atol=1e-6)
    moved = own.to(torch.device("cuda")).dense(torch.bfloat16).cpu()
    torch.testing.assert_close(moved, own.dense(torch.bfloat16))


def test_a_stack_of_too_few() -> None:
    for count in (0, 2):
        with pytest.raises(ValueError, match=f"{count} matrices were given, not 3"):
            stacked(((quantize(random(4, 16), "fp8"),) for _ in range(count)), 3, CPU)


@forms
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers_are_quantised(form: Form, bad: float) -> None:
    weight = random(4, 64)
    weight[2, 7] = bad
    with pytest.raises(ValueError, match="not finite"):
        quantize(weight, form)


@forms
def test_zeros_stay_zeros(form: Form) -> None:
    weight = random(4, 64)
    weight[1] = 0
    decoded = quantize(weight, form).dense(torch.float32)
    assert decoded.isfinite().all() and not decoded[1].any()
    assert not quantize(torch.zeros(4, 64), form).dense(torch.float32).any()


def test_fp8_decodes_every_code_under_its_rows_scale() -> None:
    codes = torch.arange(256, dtype=torch.uint8).expand(3, -1).contiguous().view(torch.float8_e4m3fn)
    scales = torch.tensor([[1.0], [0.5], [3.0]], dtype=torch.bfloat16)
    decoded = fp8.Fp8(codes, scales).dense(torch.float32)
    torch.testing.assert_close(decoded, codes.float() * scales.float(), rtol=0, atol=0, equal_nan=True)


def test_fp8_comes_back_to_the_bit() -> None:
    every = torch.tensor([byte for byte in range(256) if byte & 0x7F != 0x7F], dtype=torch.uint8)
    codes = torch.stack([every.roll(shift) for shift in range(5)]).view(torch.float8_e4m3fn)
    scales = torch.tensor([1.0, 0.125, 3.0, 2**-20, 1.0078125], dtype=torch.bfloat16)[:, None]
    first = fp8.Fp8(codes, scales)
    again = fp8.encode(first.dense(torch.float32))
    assert torch.equal(again.codes.view(torch.uint8), codes.view(torch.uint8))
    assert torch.equal(again.scales, scales)


def test_fp8_never_overflows_to_nan() -> None:
    weight = torch.linspace(0.9, 1.1, 4096)[:, None].expand(-1, 4)  # scales round down in about half of them
    assert fp8.encode(weight).dense(torch.float32).isfinite().all()
    torch.testing.assert_close(fp8.encode(weight).dense(torch.float32), weight, rtol=2**-4, atol=0)


def test_nf4_is_what_bitsandbytes_makes_of_the_whole_stack() -> None:
    functional = nf4._bitsandbytes()
    weight = random(3, 8, 128)
    codes, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    expected = functional.dequantize_4bit(codes, state)
    for own, theirs in zip(weight, expected, strict=True):
        assert torch.equal(nf4.encode(own).dense(torch.float32), theirs)


def test_nf4_bytes_by_their_definition() -> None:
    matrix = nf4.encode(random(6, 64))
    numbers = nf4._numbers(CPU)
    pairs = torch.stack((numbers[(matrix.codes >> 4).long()], numbers[(matrix.codes & 15).long()]), dim=-1)
    assert torch.equal(pairs.flatten(1) * matrix.scales, matrix.dense(torch.float32))
    with pytest.raises(ValueError, match="blocks of 64"):
        nf4.encode(torch.ones(2, 96))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_int8_codes_are_those_of_bitsandbytes(dtype: torch.dtype, scale: float) -> None:
    weight = (random(200, 384) * scale).to(dtype)
    codes, peaks, _ = nf4._bitsandbytes().int8_vectorwise_quant(weight.clone())
    own = int8.encode(weight)
    assert torch.equal(own.codes, codes)
    assert torch.equal(own.scales.flatten(), peaks / 127)
    decoded = nf4._bitsandbytes().int8_vectorwise_dequant(codes, peaks)
    torch.testing.assert_close(own.dense(torch.float32), decoded, rtol=2**-22, atol=0)


@pytest.mark.parametrize("peak", [1e-45, 1e-38, 1e-36, 3e38])
def test_int8_at_the_ends_of_float32(peak: float) -> None:
    weight = random(1, 64)
    weight = weight / weight.abs().max() * peak
    decoded = int8.encode(weight).dense(torch.float32)
    assert decoded.isfinite().all()
    torch.testing.assert_close(decoded, weight, rtol=0, atol=max(peak / 127, 1.2e-38))


def test_bitsandbytes_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    nf4._bitsandbytes.cache_clear()
    nf4.encode(random(2, 64)).dense(torch.float32)
    assert capfd.readouterr() == ("", "")
