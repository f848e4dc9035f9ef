"""Errors of the API: the same shape, whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vmanomaly.errors import ConfigError, DatasourceError, StoppedError
from vmanomaly.server.terms import told
from vmanomaly.server.values import WrongValueError
from vmanomaly.tasks import NoFreeSlotError

_MAX_PATH = 200


class Problem(BaseModel):
    """One wrong value.

    Attributes
    ----------
    loc
        Where it is: keys from the outermost on.
    msg
        What is wrong with it.
    """

    loc: list[str]
    msg: str


class ErrorAnswer(BaseModel):
    """The content of every answer that reports an error.

    Attributes
    ----------
    status
        `error`.
    errorType
        The HTTP status.
    error
        What is wrong, all of it on one line.
    detail
        The wrong values, if that is the error.
    """

    status: Literal["error"] = "error"
    errorType: str  # noqa: N815 - as Prometheus writes it
    error: str
    detail: list[Problem]


def error_response(
    status: int,
    message: str,
    detail: Sequence[Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the answer that reports an error.

    Parameters
    ----------
    status
        The HTTP status.
    message
        What is wrong, all of it on one line.
    detail
        The wrong values.
    headers
        Headers that belong to the status, such as `Allow`.
    """
    answer = ErrorAnswer(errorType=str(status), error=message, detail=list(detail))
    return JSONResponse(answer.model_dump(), status, dict(headers or {}))


def add_error_handlers(app: FastAPI) -> None:
    """Make an application answer every error in the same shape."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_values)
    app.add_exception_handler(WrongValueError, _wrong_value)
    app.add_exception_handler(ConfigError, _wrong_config)
    app.add_exception_handler(NoFreeSlotError, _no_free_slot)
    app.add_exception_handler(DatasourceError, _datasource_failed)
    app.add_exception_handler(StoppedError, _not_in_time)
    app.add_exception_handler(Exception, _bug)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    path = request.url.path[:_MAX_PATH]
    match error.status_code:
        case 404 if error.detail == "Not Found":
            message = f"{path} is not served here"
        case 405:
            message = f"{path} does not take {request.method}"
        case _:
            message = str(error.detail)
    return error_response(error.status_code, message, headers=error.headers)


def _wrong_values(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return error_response(400, "the body is not valid JSON")
    # The first part only says which part of the request it is; the value is not repeated.
    detail = [
        Problem(
            loc=[str(part) for part in problem["loc"][1:]],
            msg=problem["msg"].removeprefix("Value error, "),
        )
        for problem in problems
    ]
    lines = [f"{'.'.join(each.loc) or 'body'}: {each.msg}" for each in detail]
    return error_response(422, "; ".join(lines), detail)


def _wrong_value(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WrongValueError)  # noqa: S101 - registered for this class
    loc = [] if error.name is None else [error.name]
    return error_response(422, str(error), [Problem(loc=loc, msg=error.message)])


def _wrong_config(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ConfigError)  # noqa: S101 - registered for this class
    detail = [
        Problem(loc=[str(part) for part in path], msg=message) for path, message in error.details
    ]
    return error_response(422, "; ".join(error.problems), detail)


def _no_free_slot(request: Request, error: Exception) -> JSONResponse:
    return error_response(429, str(error))


def _datasource_failed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DatasourceError)  # noqa: S101 - registered for this class
    match error.code:
        case "forbidden":
            status = 403
        case "timeout":
            status = 504
        case "400" | "404" | "422" | "too_large":
            status = 422
        case _:
            status = 502
    return error_response(status, told(request, error))


def _not_in_time(request: Request, error: Exception) -> JSONResponse:
    message = "not done in time; shorten the interval, make step larger, or select fewer series"
    return error_response(504, message)


def _bug(request: Request, error: Exception) -> JSONResponse:
    return error_response(500, "an internal error; see the log of the service")
