"""Powers of ten as the scanner's number parser needs them, made with exact integers.

The parser follows D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and
Experience 51 (2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmanomaly.series import FloatArray

#: Beyond these decimal exponents a mantissa of 64 bits is 0 or infinite.
SMALLEST_EXPONENT = -348
LARGEST_EXPONENT = 347


def normalised_power_of_ten(exponent: int) -> tuple[int, int]:
    """Return the 128 leading bits of `10 ** exponent` as (high, low) words of 64 bits.

    Rounded down, and normalised: the highest bit is set.

    Examples
    --------
    >>> [hex(word) for word in normalised_power_of_ten(1)]
    ['0xa000000000000000', '0x0']
    >>> [hex(word) for word in normalised_power_of_ten(-1)]
    ['0xcccccccccccccccc', '0xcccccccccccccccc']
    """
    power = 10 ** abs(exponent)
    if exponent >= 0:
        shift = power.bit_length() - 128
        bits = power >> shift if shift > 0 else power << -shift
    else:
        bits = (1 << (power.bit_length() + 127)) // power
        bits >>= bits.bit_length() - 128
    return bits >> 64, bits & (2**64 - 1)


def powers_of_ten() -> NDArray[np.uint64]:
    """Return the table of `normalised_power_of_ten`, shape (696, 2), from the smallest exponent."""
    return np.array(
        [
            normalised_power_of_ten(exponent)
            for exponent in range(SMALLEST_EXPONENT, LARGEST_EXPONENT + 1)
        ],
        dtype=np.uint64,
    )


def exact_powers_of_ten() -> FloatArray:
    """Return the powers of ten that float64 holds exactly: 1 to 1e22, shape (23,)."""
    return np.array([float(10**exponent) for exponent in range(23)], dtype=np.float64)
