"""Errors of the API: the same shape, whatever went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

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
        Problem(loc=[str(part) for part in problem["loc"][1:]], msg=problem["msg"])
        for problem in problems
    ]
    lines = [f"{'.'.join(each.loc) or 'body'}: {each.msg}" for each in detail]
    return error_response(422, "; ".join(lines), detail)


def _bug(request: Request, error: Exception) -> JSONResponse:
    return error_response(500, "an internal error; see the log of the service")
