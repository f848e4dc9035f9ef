"""JSON of servers that pass on whatever bytes they were given as labels."""

from __future__ import annotations

import re
from typing import Any

import orjson

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def parse_json(text: bytes) -> Any:
    r"""Return what a JSON text holds, with U+FFFD in place of what is not Unicode.

    That is: bytes that are not UTF-8, and escapes of half a surrogate pair.

    Raises
    ------
    orjson.JSONDecodeError
        Apart from that, it is not JSON.

    Examples
    --------
    >>> parse_json(b'["\xff", "\\ud800", "\\ud83d\\ude00"]')
    ['�', '�', '😀']
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        mended = _ESCAPE.sub(_mend, text.decode("utf-8", "replace"))
        try:
            return orjson.loads(mended)
        except orjson.JSONDecodeError:
            # Its position is that in the original text.
            raise error from None


def _mend(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape["lone"] else escape[0]
