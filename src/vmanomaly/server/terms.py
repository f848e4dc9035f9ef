"""What is wrong with the datasource of a request, in terms of what its client can change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from fastapi import Request

from vmanomaly.config.http import HttpSection
from vmanomaly.http.terms import InTerms, in_terms_of

_LOGIN_KEY = r"`reader\.(?:user|password|bearer_token)\w*`"
_LOGIN = re.compile(
    r"(If the server requires credentials, set|Check|log in with) "
    rf"{_LOGIN_KEY}(?:,? (?:and|or) {_LOGIN_KEY})*"
)


def terms_of_request(
    url_name: str, header: str, *, is_logged_in: bool, like_reader: bool
) -> InTerms:
    """Return what rewrites messages about the datasource of a request.

    Parameters
    ----------
    url_name
        What says where it is.
    header
        The header whose content a request can have sent to it as `Authorization`.
    is_logged_in
        Whether the request does.
    like_reader
        Whether it is connected to as the reader of the configuration says.
    """
    return partial(
        _in_terms_of_request,
        url_name=url_name,
        header=header,
        is_logged_in=is_logged_in,
        like_reader=like_reader,
    )


def terms_of_writer(message: str) -> str:
    """Rewrite a message about scores that are read where the writer puts them."""
    return in_terms_of(message, _key_of_writer, _about_runs)


def keep_terms(request: Request, in_terms: InTerms) -> None:
    """Have errors of the datasource of a request told in other terms."""
    request.state.in_terms = in_terms


def told(request: Request, error: Exception) -> str:
    """Return what an error of the datasource of a request says, in terms of the request."""
    in_terms: InTerms = getattr(request.state, "in_terms", str)
    return in_terms(str(error))


def _in_terms_of_request(
    message: str, *, url_name: str, header: str, is_logged_in: bool, like_reader: bool
) -> str:
    if is_logged_in or not like_reader:
        message = _LOGIN.sub(partial(_login, header=header, is_logged_in=is_logged_in), message)

    def name(key: str, value: str | None) -> str | None:
        if key == "datasource_url":
            return f"`{url_name}`"
        if key == "tenant_id":
            return "`tenant_id`"
        return _shown("reader", key, value) if like_reader and _connects(key) else None

    return in_terms_of(message, name, _about_reader)


def _login(found: re.Match[str], *, header: str, is_logged_in: bool) -> str:
    if is_logged_in:
        return f"Check the header `{header}`"
    how = f"in the header `{header}`, with `pass_auth_headers`"
    if found[1] == "log in with":
        return f"log in {how}"
    return f"If the server requires credentials, send them {how}"


def _key_of_writer(key: str, value: str | None) -> str | None:
    return _shown("writer", key, value) if _connects(key) else None


def _shown(section: str, key: str, value: str | None) -> str:
    return f"`{section}.{key}`" if value is None else f"`{section}.{key}: {value}`"


def _connects(key: str) -> bool:
    return key in HttpSection.model_fields


def _about_reader(keys: Sequence[str]) -> str:
    if any(_connects(key.strip("`").removeprefix("reader.")) for key in keys):
        return (
            f"The configuration applies {' and '.join(keys)} only to the datasource of its reader, "
            "and if `server.use_reader_connection_settings` is true"
        )
    return _about_runs(keys)


def _about_runs(keys: Sequence[str]) -> str:
    return f"The configuration applies {' and '.join(keys)} only to its own queries"
