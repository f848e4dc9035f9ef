"""The OpenAPI document is true: answers are what it says, and never of status 500."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.examples import examples
from tests.loopback import Asked, Handler, serve
from tests.server.api_client import serving

load_all_checks()
# An answer of 502 or 504 is about the datasource, so `not_a_server_error` would say too much.
TRUE_TO_THE_DOCUMENT: list[Any] = [
    CHECKS.get_one(name)
    for name in (
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]

pytestmark = pytest.mark.slow


def nothing(handler: Handler, asked: Asked) -> None:
    handler.reply(body=b'{"status":"success","data":{"resultType":"matrix","result":[]}}')


def test_answers_are_those_of_the_document() -> None:
    # No request may go anywhere but to this server.
    with serve(nothing) as server:
        changes = {
            "reader.datasource_url": server.url,
            "server.allowed_datasources": [server.url],
            "server.max_concurrent_tasks": 4,
        }
        with serving(changes) as client:
            document = schemathesis.openapi.from_url(f"http://127.0.0.1:{client.port}/openapi.json")
            operations: list[Any] = [each.ok() for each in document.get_all_operations()]  # type: ignore[union-attr]
            assert len(operations) > 20
            wrong = [text for text in map(untrue, operations) if text]
    assert not wrong, "\n\n".join(wrong)


def untrue(operation: schemathesis.APIOperation[Any, Any, Any, Any]) -> str:
    """Return how an answer of an operation differs from what the document says; else nothing."""

    @settings(examples(3), suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def try_one(case: schemathesis.Case[Any]) -> None:
        answer = case.call(timeout=60)
        assert answer.status_code != 500, answer.text
        case.validate_response(answer, checks=TRUE_TO_THE_DOCUMENT)

    try:
        try_one()
    except (AssertionError, FailureGroup) as error:
        return f"{operation.label}: {error}"
    return ""
