"""An alert rule for the scores of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from vmanomaly.config.spec import dump_yaml
from vmanomaly.config.values.duration import Duration
from vmanomaly.server.routes.configs import YAML_OBJECT, YamlResponse
from vmanomaly.server.values import FilledText, FiniteNumber, PositiveDuration

_BRACES = re.compile(r"(\{\{ ?\$(?:value|labels\.[A-Za-z_]\w*) ?\}\})|\{\{")


def alert_rules_router() -> APIRouter:
    """Return the route that makes an alert rule."""
    router = APIRouter(tags=["configurations"])

    @router.get(
        "/api/vmanomaly/example-alert-rule.yaml",
        summary="Make an alert rule for vmalert",
        response_class=Response,  # Errors are JSON.
        responses=YAML_OBJECT,
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
        preset: str = "",
        query_alias: Annotated[str, Query(alias="for")] = "",
        model_alias: str = "",
        scheduler_alias: str = "",
    ) -> YamlResponse:
        every = infer_every or step
        given = {
            "preset": preset,
            "for": query_alias,
            "model_alias": model_alias,
            "scheduler_alias": scheduler_alias,
        }
        aliases = {label: value for label, value in given.items() if value}
        rule = {
            "alert": rule_name.strip() or "HighAnomalyScore",
            "expr": _expression(anomaly_threshold, aliases),
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
                    "labels": {
                        "severity": "warning",
                        **{label: escaped(value) for label, value in aliases.items()},
                    },
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


def _expression(threshold: float, aliases: Mapping[str, str]) -> str:
    """Return what is true while scores are high: all, or those of some models of a query."""
    if not aliases:
        return f"anomaly_score > {threshold:g}"
    matchers = ",".join(
        f"{label}={orjson.dumps(value).decode()}" for label, value in aliases.items()
    )
    scores = f"anomaly_score{{{matchers}}}"
    return f"min({scores}) without (model_alias, scheduler_alias) >= {threshold:g}"


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
