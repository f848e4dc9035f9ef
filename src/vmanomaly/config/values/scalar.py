"""The meaning of a plain YAML scalar, and values that remember how they were written."""

from __future__ import annotations

import re
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {
    spelling: meaning
    for words, meaning in ((("true", "yes", "on"), True), (("false", "no", "off"), False))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_HEXADECIMAL = re.compile(r"[-+]?0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF|nan|NaN|NAN)")
_LONGEST_NUMBER = 64


class EnvironmentText(str):
    """Text that contains the value of an environment variable.

    Attributes
    ----------
    placeholder : str
        The text as it stands in the file, `%{NAME}` unreplaced. Messages show it instead of the
        value, which may be a secret.
    """

    __slots__ = ("placeholder",)

    placeholder: str

    def __new__(cls, value: str, placeholder: str) -> EnvironmentText:
        """Make the text `value` that was written as `placeholder`."""
        text = super().__new__(cls, value)
        text.placeholder = placeholder
        return text

    def __reduce__(self) -> tuple[type[EnvironmentText], tuple[str, str]]:
        """Return what makes a copy."""
        return EnvironmentText, (str(self), self.placeholder)


class WrittenInt(int):
    """A whole number that remembers its text: a password `0123` must stay `0123`."""

    text: str


class WrittenFloat(float):
    """A number that remembers its text: a label value `1.10` must stay `1.10`."""

    text: str


def environment_text(value: object) -> EnvironmentText | None:
    """Return the text of a value that came from an environment variable; None for any other."""
    text = value.text if isinstance(value, WrittenInt | WrittenFloat) else value
    return text if isinstance(text, EnvironmentText) else None


def resolve(text: str) -> bool | int | float | str | None:
    """Give a plain (unquoted) scalar its type, by the rules of YAML.

    Sexagesimal numbers and timestamps of YAML 1.1 stay text, so that `20:00`, the tenant `1:0`
    and times reach the config as they were written; `1e-3` is a number.

    Examples
    --------
    >>> resolve("8490"), resolve("1e-3"), resolve("no"), resolve("~"), resolve("1:0")
    (8490, 0.001, False, None, '1:0')
    >>> resolve("1.10").text
    '1.10'
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) <= _LONGEST_NUMBER:
        return _number(text)
    return text


def _number(text: str) -> WrittenInt | WrittenFloat | str:
    number: WrittenInt | WrittenFloat
    if _INTEGER.fullmatch(text):
        number = WrittenInt(text.replace("_", ""))
    elif _HEXADECIMAL.fullmatch(text):
        number = WrittenInt(text, 16)
    elif _FLOAT.fullmatch(text):
        number = WrittenFloat(text.replace("_", ""))
    elif _NOT_FINITE.fullmatch(text):
        number = WrittenFloat(text.replace(".", ""))
    else:
        return text
    number.text = text
    return number


def plain(value: Value) -> Value:
    """Copy a value with built-in types only, except for text from environment variables.

    Examples
    --------
    >>> type(plain({"n_estimators": resolve("100")})["n_estimators"])
    <class 'int'>
    """
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case bool() | EnvironmentText() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case _:
            return str(value)
