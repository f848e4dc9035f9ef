"""Numbers of the compiled parser compared with `float`."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from vmanomaly.reader import scan
from vmanomaly.reader.decimal import (
    LARGEST_EXPONENT,
    SMALLEST_EXPONENT,
    normalised_power_of_ten,
)


@pytest.fixture(autouse=True, scope="module")
def _compiled() -> None:
    parse("1")


def parse(text: str) -> float | None:
    data = text.encode() + b'"' + bytes(scan.PADDING)
    value, end = scan.parse_number(np.frombuffer(bytearray(data), dtype=np.uint8), 0)
    if end < 0 or end != len(text):
        return None
    return value


def same(a: float, b: float) -> bool:
    return struct.pack("<d", a) == struct.pack("<d", b)


@examples(500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_form_of_every_float(value: float) -> None:
    parsed = parse(repr(value))
    assert parsed is not None
    assert same(parsed, value)


@pytest.mark.slow
@examples(500)
@given(st.from_regex(r"\A[+-]?[0-9]{0,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?\Z"))
def test_never_another_number_than_float(text: str) -> None:
    parsed = parse(text)
    if parsed is not None:
        assert same(parsed, float(text))


@examples(500)
@given(st.integers(0, 2**63), st.integers(-360, 320))
def test_mantissa_and_exponent(mantissa: int, exponent: int) -> None:
    text = f"{mantissa}e{exponent}"
    parsed = parse(text)
    assert parsed is not None
    assert same(parsed, float(text))


@given(
    st.floats(min_value=1e-300, max_value=1e300),
    st.integers(0, 25),
    st.sampled_from([-1, 0, 1]),
)
def test_halfway_between_floats(value: float, digits: int, nudge: int) -> None:
    """The exact middle of two floats, and its neighbours, in full and cut decimal form."""
    middle = (Fraction(value) + Fraction(math.nextafter(value, math.inf))) / 2
    exponent = math.floor(math.log10(value)) - 17 - digits
    scaled = middle / Fraction(10) ** exponent
    text = f"{int(scaled) + nudge}e{exponent}"
    parsed = parse(text)
    if parsed is not None:
        assert same(parsed, float(text))


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-0",
        "00012",
        "5.",
        ".5",
        "1e5",
        "1E-5",
        "1e+005",
        "0.0000000000000000000000000000000000000000123456789012345678",
        "123456789012345678901234567890",
        "9007199254740993",
        "18446744073709551615",
        "12345678",
        "1234567812345678",
        "0.12345678",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "0e999999",
        "99999999999999999999999999999999999999e-20",
        "1234567890123456.5",
        "900719925474100.0",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "1e-400",
        "1e400",
        "1.7976931348623159e308",
        "Inf",
        "+Inf",
        "-Inf",
    ],
)
def test_numbers_of_servers_need_no_slow_path(text: str) -> None:
    parsed = parse(text)
    assert parsed is not None
    assert same(parsed, float(text))


def test_nan() -> None:
    parsed = parse("NaN")
    assert parsed is not None
    assert math.isnan(parsed)


@pytest.mark.parametrize(
    "text",
    ["", "-", ".", "e5", "1e", "1e+", "+-1", "1_0", " 1", "0x1", "Infinity", "N", "Na", "I", ".NaN",
     "9007199254740993.0000000000000000000000001", "1e9999999", "--Inf"],
)  # fmt: skip
def test_other_texts_are_left_to_the_slow_path(text: str) -> None:
    assert parse(text) is None


def test_powers_of_ten_are_the_leading_bits() -> None:
    for exponent in range(SMALLEST_EXPONENT, LARGEST_EXPONENT + 1):
        high, low = normalised_power_of_ten(exponent)
        bits = high << 64 | low
        assert bits.bit_length() == 128
        exact = Fraction(10) ** exponent
        scale = Fraction(2) ** (exact.numerator.bit_length() - exact.denominator.bit_length() - 128)
        ratios = [exact / (scale * shift) for shift in (1, 2, Fraction(1, 2))]
        assert any(bits <= ratio < bits + 1 or bits - 1 < ratio <= bits for ratio in ratios)
