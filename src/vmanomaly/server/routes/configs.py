"""Whole configurations: checking them, and making one for a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from vmanomaly.config import Config
from vmanomaly.config.loading.build import POLICIES, build_config
from vmanomaly.config.loading.model_spec import read_model_spec
from vmanomaly.config.loading.ui_datasource import DATASOURCE_TYPES
from vmanomaly.config.model import INCIDENT_SCORE
from vmanomaly.config.problems import Findings
from vmanomaly.config.reader import VmReaderSection
from vmanomaly.config.registry import MODELS
from vmanomaly.config.spec import dump_yaml, resolved_mapping
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import as_url, not_looking_for_files
from vmanomaly.config.writer import HttpWriterSection
from vmanomaly.server.api import JSON_TYPE, Api
from vmanomaly.server.bodies import YAML, BodyChecks
from vmanomaly.server.routes.catalogue import without_login
from vmanomaly.server.values import FilledText, PositiveDuration, WrongValueError, read_argument
from vmanomaly.service.plan import check_libraries

YAML_OBJECT: dict[int | str, dict[str, Any]] = {
    200: {"content": {YAML: {"schema": {"type": "object"}}}}
}
"""What the document of the API says about answers that are YAML."""
_DAY = Duration(86_400_000)
_MOST_VALUES = 100_000
_MOST_ATTACHMENTS = 2_000_000
# As the configurations that the UI of the reference generates, for which alerts may exist.
_MODEL = "default"
_QUERY = "explore"
_SCHEDULER = "periodic"


class ValidConfig(BaseModel):
    """A configuration that is right.

    Attributes
    ----------
    is_valid
        True.
    validated
        The configuration with all defaults, without secrets.
    warnings
        What is worth knowing about it.
    """

    is_valid: bool
    validated: dict[str, Any]
    warnings: list[str]


class YamlResponse(Response):
    """YAML whose type has no parameter: the UI of VictoriaMetrics compares it."""

    media_type = YAML

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Set the headers of the answer."""
        super().init_headers(headers)
        self.headers["content-type"] = YAML


def configs_router(api: Api) -> APIRouter:
    """Return the routes about whole configurations.

    Parameters
    ----------
    api
        What they work with.
    """
    router = APIRouter(tags=["configurations"])
    checks = BodyChecks()
    content = {"schema": {"type": "object"}}

    @router.post(
        "/api/v1/config/validate",
        response_model=ValidConfig,
        summary="Check a configuration, and fill in its defaults; nothing is applied",
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON_TYPE: content, YAML: content}}
        },
    )
    async def validate(request: Request) -> Response:
        return await checks.answer(request, "sections such as reader", _MOST_VALUES, _checked)

    @router.get(
        "/api/vmanomaly/config.yaml",
        summary="Make a configuration that runs a model on a query",
        response_class=Response,  # Errors are JSON.
        responses=YAML_OBJECT,
    )
    def generate(
        query: Annotated[FilledText, Query()],
        step: Annotated[PositiveDuration, Query()],
        datasource_url: str = "",
        datasource_type: str = "vm",
        tenant_id: str = "",
        fit_window: Annotated[PositiveDuration, Query()] = _DAY,
        fit_every: Annotated[PositiveDuration, Query()] = _DAY,
        infer_every: Annotated[PositiveDuration | None, Query()] = None,
        model_spec: str = '{"class":"temporal_envelope"}',
    ) -> YamlResponse:
        config = api.config()
        kind = DATASOURCE_TYPES.get(datasource_type)
        if kind is None:
            raise WrongValueError("datasource_type", "expected vm or vlogs")
        url = _datasource_url(datasource_url, config)
        tenant = {"tenant_id": tenant_id} if tenant_id else {}
        spec = _spec(model_spec)
        policies = {key: spec.pop(key) for key in POLICIES if key in spec}
        sections = {
            "schedulers": {
                _SCHEDULER: {
                    "class": "periodic",
                    "fit_window": str(fit_window),
                    "fit_every": str(fit_every),
                    "infer_every": str(infer_every or step),
                }
            },
            "models": {
                _MODEL: {
                    **_recommended(spec, policies),
                    "queries": [_QUERY],
                    "schedulers": [_SCHEDULER],
                }
            },
            "reader": {
                "class": kind,
                "datasource_url": url,
                **tenant,
                "sampling_period": str(step),
                "queries": {_QUERY: {"expr": query, **policies}},
            },
            "writer": {
                "class": "vm",
                "datasource_url": _writer_url(url, kind, config),
                **tenant,
            },
        }
        _build(sections, Findings())
        return YamlResponse(dump_yaml(sections))

    return router


def _checked(sections: dict[str, Any]) -> dict[str, Any]:
    n_models, n_schedulers = _n(sections.get("models")), _n(sections.get("schedulers"))
    reader = sections.get("reader")
    n_queries = _n(reader.get("queries")) if isinstance(reader, dict) else 0
    if n_models * (n_queries + n_schedulers) > _MOST_ATTACHMENTS:
        raise WrongValueError(
            "models",
            "there are too many, with too many queries and schedulers, to be checked here; use "
            "`vmanomaly --dryRun`",
        )
    findings = Findings()
    config = _build(sections, findings)
    return {
        "is_valid": True,
        "validated": resolved_mapping(config),
        "warnings": findings.warnings,
    }


def _build(sections: Mapping[str, Any], findings: Findings) -> Config:
    """Return a configuration, or raise a ConfigError with every problem."""
    with not_looking_for_files():
        config = build_config(sections, {}, findings)
    if config is not None:
        check_libraries(config, findings)
    if config is None or findings.problems:
        raise findings.as_error()
    return config


def _n(section: object) -> int:
    return len(section) if isinstance(section, dict) else 0


def _spec(text: str) -> dict[str, Any]:
    """Return the spec as it was given, by the canonical name of its class."""
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WrongValueError(
            "model_spec", 'expected JSON such as {"class":"mad_online"}'
        ) from error
    section = read_model_spec(given, ("model_spec",))
    kept = {key: value for key, value in given.items() if key not in ("class", "class_name")}
    return {"class": section.class_name, **kept}


def _recommended(spec: Mapping[str, Any], policies: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec with what alerts need, where it does not say otherwise.

    That is `incident_score`, and bounds that stay within the range of the data: beyond it, a value
    at the edge of the range would never be anomalous.
    """
    given = dict(spec)
    outputs = MODELS[given["class"]].section.outputs
    if outputs is not None:
        given.setdefault("provide_series", [*outputs, INCIDENT_SCORE])
    if policies.get("data_range") is not None:
        given.setdefault("clip_predictions", True)
    return given


def _datasource_url(given: str, config: Config) -> str:
    url = given or (config.ui_datasource.url if config.ui_datasource else "")
    if not url and isinstance(config.reader, VmReaderSection):
        url = config.reader.datasource_url
    if not url:
        raise WrongValueError("datasource_url", "required: the configuration has no datasource")
    return without_login(read_argument("datasource_url", as_url, url)) or ""


def _writer_url(reader_url: str, kind: str, config: Config) -> str:
    """Return where scores go: where this service writes, or else where the series come from."""
    if isinstance(config.writer, HttpWriterSection):
        return without_login(config.writer.datasource_url) or ""
    return reader_url if kind == "vm" else "http://localhost:8428"
