"""The countries whose public holidays are known."""

from __future__ import annotations

import difflib

from holidays.registry import COUNTRIES


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
    wanted = _plain(text)
    codes = {
        _plain(name): alpha_2
        for class_name, alpha_2, alpha_3, *_ in COUNTRIES.values()
        for name in (class_name, alpha_2, alpha_3)
    }
    if wanted not in codes:
        close = difflib.get_close_matches(wanted, codes, n=1, cutoff=0.75)
        hint = f"; did you mean {codes[close[0]]}?" if close else ""
        raise ValueError(f"expected the code or the name of a country, such as US{hint}")
    return codes[wanted]


def _plain(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum()).lower()
