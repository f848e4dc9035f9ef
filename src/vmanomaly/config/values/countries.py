"""The countries whose public holidays are known."""

from __future__ import annotations

from functools import cache

from holidays.registry import COUNTRIES

from vmanomaly.closest import closest


def country_code(text: str) -> str:
    """Return the two-letter code of a country.

    Parameters
    ----------
    text
        Its code of two or three letters, or its English name, in any case.

    Raises
    ------
    ValueError
        There is no such country.

    Examples
    --------
    >>> country_code("US"), country_code("deu"), country_code("United Kingdom")
    ('US', 'DE', 'GB')
    """
    wanted, codes = _plain(text), _codes()
    if wanted not in codes:
        close = closest(wanted, codes, 0.75)
        hint = "" if close is None else f"; did you mean {codes[close]}?"
        raise ValueError(f"expected the code or the name of a country, such as US{hint}")
    return codes[wanted]


@cache
def _codes() -> dict[str, str]:
    return {
        _plain(name): alpha_2
        for class_name, alpha_2, alpha_3, *_ in COUNTRIES.values()
        for name in (class_name, alpha_2, alpha_3)
    }


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum()).lower()
