"""Bodies of requests that are YAML or JSON."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import HTTPException

from vmanomaly.config.loading.document import parse_document
from vmanomaly.errors import ConfigError
from vmanomaly.server.api import JSON_TYPE, YAML_TYPES
from vmanomaly.server.values import WrongValueError

YAML = "application/yaml"


def mapping_of(body: bytes, kind: str, content: str) -> dict[str, Any]:
    """Return the mapping in a body. No environment variable is read.

    Parameters
    ----------
    body
        The body.
    kind
        Its media type.
    content
        What the mapping holds, for messages.

    Raises
    ------
    HTTPException
        400 for what is not of its type, 415 for another type.
    WrongValueError
        It is no mapping.

    Examples
    --------
    >>> mapping_of(b"class: std", "application/yaml", "the keys of a model")
    {'class': 'std'}
    """
    if kind == JSON_TYPE:
        try:
            mapping = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, "the body is not valid JSON") from error
        if not isinstance(mapping, dict):
            raise WrongValueError("body", f"expected an object with {content}")
        return mapping
    if kind in YAML_TYPES:
        try:
            return parse_document(body.decode(), "body", {}).sections
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not UTF-8 text") from error
        except ConfigError as error:
            raise HTTPException(400, "; ".join(error.problems)) from error
    raise HTTPException(415, f"expected a body of the type {JSON_TYPE} or {YAML}")
