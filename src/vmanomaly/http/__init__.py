"""The HTTP client that reader, writer and monitoring share."""

from vmanomaly.http.answers import BrokenAnswerError, Response, StatusError, data_of
from vmanomaly.http.client import HttpClient
from vmanomaly.http.guard import Guard
from vmanomaly.http.urls import form_encode, redact_url

__all__ = [
    "BrokenAnswerError",
    "Guard",
    "HttpClient",
    "Response",
    "StatusError",
    "data_of",
    "form_encode",
    "redact_url",
]
