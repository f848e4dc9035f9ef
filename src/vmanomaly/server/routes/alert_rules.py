"""An alert rule for the scores of a query."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query

from vmanomaly.config.spec import dump_yaml
from vmanomaly.config.values.duration import Duration
from vmanomaly.server.routes.configs import YamlResponse
from vmanomaly.server.values import FilledText, FiniteNumber, PositiveDuration

_BRACES = re.compile(r"(\{\{ ?\$(?:value|labels\.[A-Za-z_]\w*) ?\}\})|\{\{")


def alert_rules_router() -> APIRouter:
    """Return the route that makes an alert rule."""
    router = APIRouter(tags=["configurations"])

    @router.get(
        "/api/vmanomaly/example-alert-rule.yaml",
        summary="Make an alert rule for vmalert",
        response_class=YamlResponse,
    )
    def generate(
        query: Annotated[FilledText, Query()],
        step: Annotated[PositiveDuration, Query()],
        anomaly_threshold: Annotated[FiniteNumber, Query()] = 1.0,
        rule_name: str = "",
        group_name: str = "",
        rule_description: str = "",
        infer_every: Annotated[PositiveDuration | None, Query()] = None,
        consecutive: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    ) -> YamlResponse:
        every = infer_every or step
        rule = {
            "alert": rule_name.strip() or "HighAnomalyScore",
            "expr": f"anomaly_score > {anomaly_threshold:g}",
        }
        if consecutive > 1:
            rule["for"] = str(Duration((consecutive - 1) * every))
        described = rule_description.strip() or (
            "The anomaly score is {{ $value }}, above " + f"{anomaly_threshold:g}."
        )
        group = {
            "name": group_name.strip() or "VMAnomalyAlerts",
            "interval": str(every),
            "rules": [
                {
                    **rule,
                    "labels": {"severity": "warning"},
                    "annotations": {
                        "summary": "Anomaly in the series of a query",
                        "description": escaped(described),
                        "query": escaped(query),
                    },
                }
            ],
        }
        return YamlResponse(dump_yaml({"groups": [group]}))

    return router


def escaped(text: str) -> str:
    """Return a text for an annotation, in which vmalert finds no template that is wrong.

    Only values of the alert and its labels are filled in.

    Examples
    --------
    >>> escaped("{{ $value }} of {{ $labels.host }}")
    '{{ $value }} of {{ $labels.host }}'
    >>> escaped("{{ nope")
    '{{ "{{" }} nope'
    """
    return _BRACES.sub(lambda braces: braces[1] or '{{ "{{" }}', text)
