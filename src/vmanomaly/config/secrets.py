"""What may be shown of a value: the only place that knows where secrets can be."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

from vmanomaly.config.values.scalar import EnvironmentText, environment_text
from vmanomaly.printable import on_one_line

REDACTED = "<redacted>"

SECRET_KEYS = frozenset(
    {
        "password",
        "password_file",
        "bearer_token",
        "bearer_token_file",
        "headers",
        "ssl_keyfile_password",
    }
)
"""Keys whose values are never shown; those of files too, as some write the secret itself there."""

_NAME_OF_SECRET = re.compile(
    "auth|pass|secret|signature|token|credential|(?:api|access|private).?key", re.IGNORECASE
)
_HOST = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_PLACEHOLDER = re.compile(r"%\{\w+\}")
_LONGEST_SHOWN = 80


def shown_text(text: str, key: str) -> str | None:
    """Return what a message may show of a text, quoted; None for nothing.

    Of what is, or may be meant as, an address, only scheme and host are shown; nothing if it is
    malformed, since a password may begin where it is wrong.

    Parameters
    ----------
    text
        The value of a key.
    key
        The key.

    Examples
    --------
    >>> shown_text("1 minute", "step")
    "'1 minute'"
    >>> shown_text("ftp://me:hunter2@host/x?token=hunter2", "datasource_url")
    "'ftp://host'"
    >>> shown_text("me:hunter2@host", "datasource_url") is None
    True
    """
    if key in SECRET_KEYS:
        return None
    if (_is_address_key(key) or "://" in text or "@" in text) and not _PLACEHOLDER.fullmatch(text):
        parts = _clean_address(text)
        return None if parts is None else repr(f"{parts.scheme}://{_host(parts)}")
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "...")


def environment_names(value: object) -> str | None:
    """Return which environment variables a value came from; None if it came from none.

    Examples
    --------
    >>> environment_names(EnvironmentText("x hunter2", "x %{PASSWORD}"))
    'the value of %{PASSWORD}'
    """
    text = environment_text(value)
    if text is None:
        return None
    return f"the value of {' and '.join(_PLACEHOLDER.findall(text.placeholder))}"


def shown_name(name: str) -> str:
    """Return a key, or an alias, on one line and without what may be a secret.

    Examples
    --------
    >>> shown_name(EnvironmentText("hunter2", "%{NAME}"))
    '%{NAME}'
    >>> shown_name("password:hunter2")
    'password:...'
    """
    if isinstance(name, EnvironmentText):
        name = name.placeholder
    key, colon, rest = name.partition(":")
    if colon and (key.strip() in SECRET_KEYS or _is_address_key(key) or rest.startswith("//")):
        return f"{on_one_line(key)}:..."
    return on_one_line(name)


def written_text(text: str, key: str) -> str:
    """Return a text as the resolved configuration may hold it.

    What came from environment variables stays as it was written, `%{NAME}`. `<redacted>` replaces
    the login, the values of arguments and the fragment of an address, unless each is a `%{NAME}`.

    Parameters
    ----------
    text
        The value of a key.
    key
        The key.

    Examples
    --------
    >>> written_text("http://vm:8428/prefix?authKey=hunter2", "datasource_url")
    'http://vm:8428/prefix?authKey=<redacted>'
    >>> written_text(EnvironmentText("http://me:hunter2@vm", "http://me:%{PW}@vm"), "url")
    'http://me:%{PW}@vm'
    """
    if isinstance(text, EnvironmentText):
        text = text.placeholder
    if key != "expr" and (_is_address_key(key) or "://" in text):
        return _redacted_address(text)
    return text


def written_secret(secret: str) -> str:
    """Return what the resolved configuration holds instead of a secret."""
    if isinstance(secret, EnvironmentText) and _PLACEHOLDER.fullmatch(secret.placeholder):
        return secret.placeholder
    return REDACTED


def names_secret(key: str) -> bool:
    """Tell whether a key of a mapping whose keys are somebody else's sounds like a secret.

    Examples
    --------
    >>> names_secret("api_key"), names_secret("n_estimators")
    (True, False)
    """
    return bool(_NAME_OF_SECRET.search(key))


def _is_address_key(key: str) -> bool:
    return key.strip() == "url" or key.strip().endswith(("_url", "health_path", "_path"))


def _clean_address(text: str) -> SplitResult | None:
    """Return the parts of an address, or None if it is ambiguous where each of them ends."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    has_odd_characters = re.search(r"[\s\\]", text) or not text.isprintable()
    if not parts.scheme or has_odd_characters or not _HOST.fullmatch(_host(parts)):
        return None
    after_host = parts.path + parts.query + parts.fragment
    return None if "@" in after_host or parts.netloc.count("@") > 1 else parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _redacted_address(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return REDACTED
    if "@" in parts.path + parts.query + parts.fragment:
        return REDACTED
    login, at, host = parts.netloc.rpartition("@")
    if at:
        user, colon, password = login.partition(":")
        login = f"{user}:{password}" if colon and _may_stay(password) else REDACTED
    arguments = (argument.partition("=") for argument in parts.query.split("&"))
    query = "&".join(
        f"{name}={value if _may_stay(value) else REDACTED}" if equals else _kept(name)
        for name, equals, value in arguments
    )
    return urlunsplit(
        parts._replace(netloc=f"{login}{at}{host}", query=query, fragment=_kept(parts.fragment))
    )


def _kept(text: str) -> str:
    return text if _may_stay(text) else REDACTED


def _may_stay(text: str) -> bool:
    return not text or bool(_PLACEHOLDER.fullmatch(text))
