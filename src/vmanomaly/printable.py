"""Text from outside, made safe for a line of a log or of output; sentences, and sizes in words."""

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


def shown_size(n_bytes: int) -> str:
    """Return a number of bytes in the largest unit that leaves at least 1.

    Examples
    --------
    >>> shown_size(256 << 20), shown_size(1_500_000_000), shown_size(70)
    ('256 MiB', '1.4 GiB', '70 B')
    """
    size, units = float(n_bytes), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.1f}".removesuffix(".0") + f" {units[0]}"


def sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends a sentence already.

    Examples
    --------
    >>> sentence("The port is taken"), sentence("Is the port right?")
    ('The port is taken.', 'Is the port right?')
    """
    return text if text.endswith(("?", ".")) else f"{text}."
