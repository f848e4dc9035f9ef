"""The HTTP client that reader, writer and monitoring share."""

from vmanomaly.http.client import HttpClient, Response, StatusError, form_encode, redact_url

__all__ = ["HttpClient", "Response", "StatusError", "form_encode", "redact_url"]
