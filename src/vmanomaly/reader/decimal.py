"""Powers of ten as the scanner's number parser needs them, made with exact integers.

The parser follows D. Lemire, "Number Parsing at a Gigabyte per Second", Software: Practice and
Experience 51 (2021), and N. Mushtak, D. Lemire, "Fast Number Parsing Without Fallback", Software:
Practice and Experience 53 (2023), which proves that these 128 bits decide every rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmanomaly.series import FloatArray

#: With a mantissa of 64 bits, smaller decimal exponents give 0 and larger ones infinity.
SMALLEST_EXPONENT = -342
LARGEST_EXPONENT = 308

# From here to -1, 10 ** exponent is rounded up: its product with a multiple of 10 ** -exponent
# then lies above the exact result, not below it.
_SMALLEST_ROUNDED_UP = -27


def normalised_power_of_ten(exponent: int) -> tuple[int, int]:
    """Return the 128 leading bits of `10 ** exponent` as (high, low) words of 64 bits.

    Normalised: the highest bit is set. Rounded down, for exponents from -27 to -1 up.

    Examples
    --------
    >>> [hex(word) for word in normalised_power_of_ten(1)]
    ['0xa000000000000000', '0x0']
    >>> [hex(word) for word in normalised_power_of_ten(-1)]
    ['0xcccccccccccccccc', '0xcccccccccccccccd']
    """
    power: int = 10 ** abs(exponent)
    if exponent >= 0:
        shift = power.bit_length() - 128
        bits = power >> shift if shift > 0 else power << -shift
    else:
        bits = (1 << (power.bit_length() + 127)) // power
        bits += exponent >= _SMALLEST_ROUNDED_UP
    return bits >> 64, bits & (2**64 - 1)


def powers_of_ten() -> NDArray[np.uint64]:
    """Return the table of `normalised_power_of_ten`, shape (651, 2), from the smallest exponent."""
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
