"""Bodies of requests that are YAML or JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from vmanomaly.config.loading.document import parse_document
from vmanomaly.errors import ConfigError
from vmanomaly.server.api import JSON_TYPE, YAML_TYPES, media_type
from vmanomaly.server.values import WrongValueError, as_small, read_argument

YAML = "application/yaml"

_CHECKED_AT_A_TIME = 2


class JsonRoute(APIRoute):
    """A route whose body is read as strictly as those that `mapping_of` reads.

    What is no text in any encoding, and numbers that are none, are no JSON.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        return orjson.loads(await self.body())


class BodyChecks:
    """Checks of bodies, two at a time, each in a thread.

    That of a body of 4 MiB may take ten seconds, in which the event loop answers other requests.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_CHECKED_AT_A_TIME)

    async def answer(
        self,
        request: Request,
        content: str,
        most_values: int,
        check: Callable[[dict[str, Any]], Mapping[str, Any]],
        status: int = 200,
    ) -> Response:
        """Return what a check says about the mapping in the body of a request, as JSON.

        Parameters
        ----------
        request
            The request.
        content
            What the mapping holds, for messages.
        most_values
            How many values it may hold.
        check
            Takes the mapping; called by another thread.
        status
            Of the answer.

        Raises
        ------
        HTTPException, WrongValueError
            As `mapping_of`.
        """
        body, kind = await request.body(), media_type(request)

        def checked() -> bytes:
            return orjson.dumps(check(mapping_of(body, kind, content, most_values)))

        async with self._turn:
            if await request.is_disconnected():
                raise ClientDisconnect
            return Response(await asyncio.to_thread(checked), status, media_type=JSON_TYPE)


def mapping_of(body: bytes, kind: str, content: str, most_values: int) -> dict[str, Any]:
    """Return the mapping in a body. No environment variable is read.

    Parameters
    ----------
    body
        The body.
    kind
        Its media type.
    content
        What the mapping holds, for messages.
    most_values
        How many values it may hold.

    Raises
    ------
    HTTPException
        400 for what is not of its type, 415 for another type.
    WrongValueError
        It is no mapping, or too large a one.

    Examples
    --------
    >>> mapping_of(b"class: std", "application/yaml", "the keys of a model", 10)
    {'class': 'std'}
    """
    if kind == JSON_TYPE:
        try:
            mapping = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise HTTPException(400, "the body is not valid JSON") from error
        if not isinstance(mapping, dict):
            raise WrongValueError("body", f"expected an object with {content}")
        return read_argument("body", partial(as_small, most=most_values), mapping)
    if kind in YAML_TYPES:
        try:
            return parse_document(body.decode(), "body", {}, most_values).sections
        except UnicodeDecodeError as error:
            raise HTTPException(400, "the body is not UTF-8 text") from error
        except ConfigError as error:
            raise HTTPException(400, "; ".join(error.problems)) from error
    raise HTTPException(415, f"expected a body of the type {JSON_TYPE} or {YAML}")
