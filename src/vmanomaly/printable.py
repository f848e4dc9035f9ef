"""Text from outside, made safe for a line of a log or of output."""

from __future__ import annotations


def on_one_line(text: str) -> str:
    r"""Return `text` with everything that is not printable as an escape sequence.

    So nothing that comes from outside can look like a line of its own, or control a terminal.

    Examples
    --------
    >>> print(on_one_line("a\n2026-01-01 ERROR b"))
    a\n2026-01-01 ERROR b
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
