"""The compiled inner loop of the scanner: bytes of series to rows of a matrix.

All kernels are in one file, because the cache of compiled code watches only the file of the
kernel that is called.

Every byte is looked at before it is passed, and the buffer ends in zero bytes, which occur
nowhere in the normal shape; so no kernel reads beyond the buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from vmanomaly.kernel import inlined, inner, kernel, spliced
from vmanomaly.reader.decimal import (
    LARGEST_EXPONENT,
    SMALLEST_EXPONENT,
    exact_powers_of_ten,
    powers_of_ten,
)
from vmanomaly.series import FloatArray, IntArray

_make_array: Any = make_array

#: Zero bytes that must follow the answer in its buffer.
PADDING = 16

#: Why `scan_series` stopped.
ARRAY_END, NEEDS_BYTES, NEEDS_ROWS, UNUSUAL, INVALID = range(5)

_POWERS = powers_of_ten()
_EXACT_POWERS = exact_powers_of_ten()
_SHIFTS = np.array([10**count for count in range(9)], dtype=np.uint64)

#: Characters as numbers: `ord` of a literal takes half a second to compile.
_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_OPEN_BRACE, _CLOSE_BRACE, _OPEN_BRACKET, _CLOSE_BRACKET = b"{}[]"
_PLUS, _MINUS, _POINT, _ZERO, _LOWER_E, _UPPER_E = b"+-.0eE"

# ruff: noqa: PLR0911 - a kernel returns as soon as it knows that it cannot continue

_U0, _U1, _U10 = np.uint64(0), np.uint64(1), np.uint64(10)
_LARGEST_EXACT = np.uint64(2**53)
_LOW_9_BITS = np.uint64(0x1FF)


def _instructions(function: Callable[..., Any]) -> Any:
    """Make a function from what generates the instructions of its body."""
    return intrinsic(function)


@_instructions
def _multiply_high(_typing: Any, a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the product of two uint64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        upper = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(upper, ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@_instructions
def _leading_zeros(_typing: Any, a: Any) -> Any:
    """Return the number of leading zero bits of a uint64, as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_instructions
def _trailing_zeros(_typing: Any, a: Any) -> Any:
    """Return the number of trailing zero bits of a uint64, as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@_instructions
def _float_of_bits(_typing: Any, a: Any) -> Any:
    """Return the float64 that has the bits of a uint64."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), generate


@_instructions
def _eight_bytes(_typing: Any, buffer: Any, position: Any) -> Any:
    """Return `buffer[position : position + 8]` as uint64, the first byte lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = _make_array(signature.args[0])(context, builder, args[0])
        address = builder.gep(array.data, [args[1]])
        word = builder.bitcast(address, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(buffer, types.int64), generate


@inlined
def _digits(buffer: Any, position: int, number: np.uint64) -> tuple[np.uint64, int]:
    """Append the decimal digits that stand at `position` to `number`, modulo 2 ** 64.

    Eight at a time and without a branch for each: the length of numbers is not predictable.

    Returns
    -------
    number : uint64
        The number with the digits behind it.
    position : int
        The position behind the digits.
    """
    high_halves = np.uint64(0xF0F0F0F0F0F0F0F0)
    zeros = np.uint64(0x3030303030303030)
    every_fourth = np.uint64(0x000000FF000000FF)
    while True:
        word = _eight_bytes(buffer, position)
        carried = (word + np.uint64(0x0606060606060606)) & high_halves
        halves = (word & high_halves) | (carried >> np.uint64(4))
        others = halves ^ np.uint64(0x3333333333333333)
        count = 8 if others == _U0 else _trailing_zeros(others) >> 3
        if count < 8:
            # Make the digits the last of eight, zeros before them.
            bits = np.uint64(8 * count)
            word = ((word << (np.uint64(56) - bits)) << np.uint64(8)) | (zeros >> bits)
        # Pairs of digits, then fours, then all.
        word = word - zeros
        word = word * _U10 + (word >> np.uint64(8))
        upper = (word & every_fourth) * np.uint64(0x000F424000000064)
        lower = ((word >> np.uint64(16)) & every_fourth) * np.uint64(0x0000271000000001)
        number = number * _SHIFTS[count] + ((upper + lower) >> np.uint64(32))
        position += count
        if count < 8:
            return number, position


@inlined
def _round_decimal(mantissa: np.uint64, exponent: int) -> float:
    """Return `mantissa * 10 ** exponent`, rounded to the nearest float64, ties to even."""
    if mantissa == _U0 or exponent < SMALLEST_EXPONENT:
        return 0.0
    if exponent == 0:
        return float(mantissa)
    if mantissa <= _LARGEST_EXACT and -22 <= exponent <= 22:
        if exponent < 0:
            return float(mantissa / _EXACT_POWERS[-exponent])
        return float(mantissa * _EXACT_POWERS[exponent])
    if exponent > LARGEST_EXPONENT:
        return np.inf
    zeros = _leading_zeros(mantissa)
    normalised = mantissa << np.uint64(zeros)
    power = exponent - SMALLEST_EXPONENT
    high = _multiply_high(normalised, _POWERS[power, 0])
    low = normalised * _POWERS[power, 0]
    if (high & _LOW_9_BITS) == _LOW_9_BITS:
        second = _multiply_high(normalised, _POWERS[power, 1])
        low += second
        high += np.uint64(low < second)
    top = high >> np.uint64(63)
    shift = top + np.uint64(9)
    bits = high >> shift
    # 217706 / 2**16 is log2(10), close enough for every exponent of the table.
    binary: Any = ((217706 * exponent) >> 16) + 63 + np.int64(top) - zeros + 1023
    if binary <= 0:
        if binary < -62:
            return 0.0
        bits >>= np.uint64(1 - binary)
        # A subnormal that rounds up to the smallest normal gets its exponent from the carry.
        return float(_float_of_bits((bits + (bits & _U1)) >> _U1))
    is_tie = low <= _U1 and -4 <= exponent <= 23 and (bits << shift) == high
    if is_tie and (bits & np.uint64(3)) == _U1:
        bits -= _U1
    bits = (bits + (bits & _U1)) >> _U1
    if bits >> np.uint64(53):
        bits >>= _U1
        binary += 1
    if binary >= 2047:
        return np.inf
    fraction = bits & np.uint64((1 << 52) - 1)
    return float(_float_of_bits((np.uint64(binary) << np.uint64(52)) | fraction))


@inner
def _parse_long(buffer: Any, start: int, end: int, exponent: int) -> tuple[float, bool]:
    """Return the number whose digits and point stand in `buffer[start:end]`, and if it is sure.

    For more digits than fit into 64 bits: sure where both the mantissa cut after 19 digits and
    the next one round to the same float.
    """
    mantissa = _U0
    digits = 0
    exact = True
    after_point = False
    for position in range(start, end):
        if buffer[position] == _POINT:
            after_point = True
            continue
        digit = np.uint64(buffer[position]) - np.uint64(48)
        if digits < 19:
            mantissa = mantissa * _U10 + digit
            digits += mantissa != _U0
            exponent -= after_point
        else:
            exact = exact and digit == _U0
            exponent += not after_point
    value = _round_decimal(mantissa, exponent)
    return value, exact or value == _round_decimal(mantissa + _U1, exponent)


@inner
def _parse_word(buffer: Any, position: int) -> tuple[float, int]:
    """Parse `NaN` or `Inf`; return the value and the position behind, negative when neither."""
    if _matches(buffer, position, b"NaN"):
        return np.nan, position + 3
    if _matches(buffer, position, b"Inf"):
        return np.inf, position + 3
    return 0.0, -1


@spliced
def _parse_exponent(buffer: Any, position: int) -> tuple[int, int]:
    """Parse `e`, a sign and digits if they stand here; return the exponent and the end, or -1."""
    if buffer[position] != _LOWER_E and buffer[position] != _UPPER_E:
        return 0, position
    position += 1
    negative = buffer[position] == _MINUS
    if negative or buffer[position] == _PLUS:
        position += 1
    start = position
    number, position = _digits(buffer, position, _U0)
    # Longer exponents, and mantissas that they could still balance, are for the slow path.
    if position == start or position - start > 6:
        return 0, -1
    exponent: Any = np.int64(number)
    return -exponent if negative else exponent, position


@inlined
def parse_number(buffer: Any, position: int) -> tuple[float, int]:
    """Parse the number that starts at `position` of a buffer that holds a zero byte behind it.

    Parameters
    ----------
    buffer : ndarray of uint8
        The text.
    position
        Where the number starts.

    Returns
    -------
    value : float
        The correctly rounded number.
    end : int
        The position behind it, or negative when this is not a number in its usual form or not one
        that can be rounded here.
    """
    sign = -1.0 if buffer[position] == _MINUS else 1.0
    if buffer[position] == _MINUS or buffer[position] == _PLUS:
        position += 1
    start = position
    mantissa, position = _digits(buffer, position, _U0)
    digits = position - start
    exponent = 0
    if buffer[position] == _POINT:
        point = position + 1
        mantissa, position = _digits(buffer, point, mantissa)
        exponent = point - position
        digits -= exponent
    if digits == 0:
        value, end = _parse_word(buffer, position)
        return sign * value, end if position == start else -1
    end = position
    written, position = _parse_exponent(buffer, position)
    if position < 0:
        return 0.0, -1
    if digits <= 19:
        return sign * _round_decimal(mantissa, exponent + written), position
    value, is_sure = _parse_long(buffer, start, end, written)
    return sign * value, position if is_sure else -1


@inlined
def _parse_timestamp(buffer: Any, position: int) -> tuple[int, int]:
    """Parse seconds with at most 12 digits and 3 decimals; return milliseconds and the end.

    The end is negative for every other form.
    """
    number, end = _digits(buffer, position, _U0)
    length = end - position
    if length == 0 or length > 12 or (length > 1 and buffer[position] == _ZERO):
        return 0, -1
    milliseconds: Any = np.int64(number) * 1000
    if buffer[end] == _POINT:
        fraction, position = _digits(buffer, end + 1, _U0)
        length = position - end - 1
        if length == 0 or length > 3:
            return 0, -1
        milliseconds += np.int64(fraction * _SHIFTS[3 - length])
        end = position
    return milliseconds, end


@inlined
def skip_spaces(buffer: Any, position: int) -> int:
    """Return the first position from `position` on that is not white space of JSON."""
    while (
        buffer[position] == 32
        or buffer[position] == 10
        or buffer[position] == 13
        or buffer[position] == 9
    ):
        position += 1
    return position


@inlined
def _matches(buffer: Any, position: int, text: bytes) -> bool:
    """Return whether the buffer holds `text`, which has no zero byte, at `position`."""
    for index in range(len(text)):  # noqa: SIM110
        if buffer[position + index] != text[index]:
            return False
    return True


@inlined
def _skip_string(buffer: Any, position: int, n: int) -> int:
    """Return the position behind the string whose first character is at `position`, or -1."""
    while position < n:
        byte = buffer[position]
        if byte == _QUOTE:
            return position + 1
        position += 2 if byte == _BACKSLASH else 1
    return -1


@kernel
def skip_object(buffer: Any, position: int, n: int) -> int:
    """Return the position behind the JSON object that starts at `position`, or -1 if it is cut.

    Only strings and braces are looked at.
    """
    depth = 0
    while position < n:
        byte = buffer[position]
        position += 1
        if byte == _QUOTE:
            position = _skip_string(buffer, position, n)
            if position < 0:
                return -1
        elif byte == _OPEN_BRACE:
            depth += 1
        elif byte == _CLOSE_BRACE:
            depth -= 1
            if depth == 0:
                return position
    return -1


@inner
def _scan_labels(buffer: Any, position: int, n: int) -> int:
    """Return the position behind the flat JSON object that starts at `position`, or -1."""
    position += 1
    while buffer[position] != _CLOSE_BRACE:
        byte = buffer[position]
        if byte in (0, _OPEN_BRACE, _OPEN_BRACKET):
            return -1
        position += 1
        if byte == _QUOTE:
            position = _skip_string(buffer, position, n)
            if position < 0:
                return -1
    return position + 1


@spliced
def _scan_sample(buffer: Any, position: int) -> tuple[int, float, int]:
    """Scan `[seconds,"value"]`; return milliseconds, value and the position behind, or -1."""
    if buffer[position] != _OPEN_BRACKET:
        return 0, 0.0, -1
    timestamp, position = _parse_timestamp(buffer, position + 1)
    if position < 0 or buffer[position] != _COMMA or buffer[position + 1] != _QUOTE:
        return 0, 0.0, -1
    value, position = parse_number(buffer, position + 2)
    if position < 0 or buffer[position] != _QUOTE or buffer[position + 1] != _CLOSE_BRACKET:
        return 0, 0.0, -1
    return timestamp, value, position + 2


@spliced
def _scan_samples(
    buffer: Any, position: int, first: int, step: int, row: FloatArray, counts: IntArray
) -> int:
    """Scan the rest of an array of samples into `row`; return the position behind it, or -1."""
    row[:] = np.nan
    if buffer[position] == _CLOSE_BRACKET:
        return position + 1
    columns = len(row)
    column = 0
    expected = first
    samples = 0
    off_grid = 0
    while True:
        timestamp, value, position = _scan_sample(buffer, position)
        if position < 0:
            return -1
        if timestamp != expected:
            column = (timestamp - first) // step
            expected = first + column * step
        if timestamp == expected and 0 <= column < columns:
            row[column] = value
            samples += not np.isnan(value)
        else:
            off_grid += 1
        column += 1
        expected += step
        position += 1
        if buffer[position - 1] == _CLOSE_BRACKET:
            counts[0] += samples
            counts[1] += off_grid
            return position
        if buffer[position - 1] != _COMMA:
            return -1


@spliced
def _scan_one(
    buffer: Any,
    position: int,
    n: int,
    first: int,
    step: int,
    row: FloatArray,
    bounds: IntArray,
    counts: IntArray,
) -> int:
    """Scan the series at `position` into `row`; return the position behind it.

    Negative when it is not of the normal shape, or cut off.
    """
    if not _matches(buffer, position, b'{"metric":{'):
        return -1
    bounds[0] = position + 10
    position = _scan_labels(buffer, position + 10, n)
    bounds[1] = position
    if position < 0 or not _matches(buffer, position, b',"values":['):
        return -1
    position = _scan_samples(buffer, position + 11, first, step, row, counts)
    if position < 0 or buffer[position] != _CLOSE_BRACE:
        return -1
    return position + 1


@kernel
def count_same(buffer: Any, bounds: IntArray, known: Any, ends: IntArray, start: int) -> int:
    """Return how many label sets, from the first one on, have the bytes known in their place.

    Parameters
    ----------
    buffer : ndarray of uint8
        Holds the label sets; `PADDING` bytes longer than the last one's end.
    bounds : ndarray of int64, shape (n, 2)
        Start and end of each in the buffer.
    known : ndarray of uint8
        The bytes of the label sets known, one behind the other, and `PADDING` bytes.
    ends : ndarray of int64
        Where each ends in `known`.
    start
        Which of them the first label set is compared with.
    """
    for i in range(len(bounds)):
        number = start + i
        if number >= len(ends):
            return i
        there = ends[number - 1] if number > 0 else 0
        here, length = bounds[i, 0], bounds[i, 1] - bounds[i, 0]
        if ends[number] - there != length:
            return i
        whole = length & ~7
        for k in range(0, whole, 8):
            if _eight_bytes(buffer, here + k) != _eight_bytes(known, there + k):
                return i
        # The bytes behind the end are shifted out.
        beyond = np.uint64(8 * (8 - (length - whole)))
        if beyond < np.uint64(64):
            word = _eight_bytes(buffer, here + whole) ^ _eight_bytes(known, there + whole)
            if word << beyond != _U0:
                return i
    return len(bounds)


@kernel
def scan_series(
    buffer: Any,
    position: int,
    n: int,
    may_end: bool,
    first: int,
    step: int,
    values: FloatArray,
    bounds: IntArray,
    counts: IntArray,
) -> tuple[int, int, int]:
    """Scan the elements of the array `result` from the start of one on.

    Parameters
    ----------
    buffer : ndarray of uint8
        The answer, at least `PADDING` zero bytes behind position `n`.
    position
        Where an element starts.
    n
        The length of the answer so far.
    may_end
        Whether the array may end here, as an empty one does.
    first, step
        The first timestamp of the grid and the distance of the next, milliseconds.
    values : ndarray of float64, shape (capacity, T)
        Receives a row per series, NaN where it has no sample.
    bounds : ndarray of int64, shape (capacity, 2)
        Receives start and end of each series' label set in the buffer.
    counts : ndarray of int64, shape (2,)
        Samples that are not NaN, and samples off the grid; added to.

    Returns
    -------
    reason : int
        `ARRAY_END`, `NEEDS_BYTES`, `NEEDS_ROWS`, `UNUSUAL` (the element here is not of the normal
        shape) or `INVALID` (no JSON array continues like this).
    position : int
        Behind the array's end, at the element to continue with, or at the invalid byte.
    rows : int
        Rows of `values` that hold series.
    """
    rows = 0
    while True:
        position = skip_spaces(buffer, position)
        if position >= n:
            return NEEDS_BYTES, position, rows
        if buffer[position] == _CLOSE_BRACKET and may_end:
            return ARRAY_END, position + 1, rows
        if buffer[position] != _OPEN_BRACE:
            return INVALID, position, rows
        if rows >= len(values):
            return NEEDS_ROWS, position, rows
        samples, off_grid = counts[0], counts[1]
        end = _scan_one(buffer, position, n, first, step, values[rows], bounds[rows], counts)
        if end < 0:
            counts[0], counts[1] = samples, off_grid
            cut = skip_object(buffer, position, n) < 0
            return NEEDS_BYTES if cut else UNUSUAL, position, rows
        end = skip_spaces(buffer, end)
        if end >= n:
            counts[0], counts[1] = samples, off_grid
            return NEEDS_BYTES, position, rows
        if buffer[end] == _CLOSE_BRACKET:
            return ARRAY_END, end + 1, rows + 1
        if buffer[end] != _COMMA:
            return INVALID, end, rows + 1
        rows += 1
        position = end + 1
        may_end = False
