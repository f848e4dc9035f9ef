"""The section `monitoring`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

from pydantic import Field, PlainValidator

from vmanomaly.config.effect import RESTARTS
from vmanomaly.config.http import HttpSection
from vmanomaly.config.section import Section
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.values.fields import (
    Flag,
    LabelMapping,
    Port,
    PositiveDuration,
    Text,
    Url,
    as_duration,
)


def _push_frequency(value: object) -> Duration:
    return Duration(0) if value == "" else as_duration(value, 0)


class PullSection(Section):
    """A separate listener for `/metrics` and `/health`.

    Attributes
    ----------
    addr, port
        Where to listen.
    enabled
        False for no listener.
    """

    addr: Text = "0.0.0.0"
    port: Port = 8080
    enabled: Flag = True


class PushSection(HttpSection):
    """Where the service's own metrics are pushed to.

    Attributes
    ----------
    datasource_url
        `url` in the YAML.
    push_frequency
        Time between two pushes; 0 pushes only after runs.
    extra_labels
        Added to every metric.
    """

    meaningful_when_empty = frozenset({"push_frequency"})
    without_effect = MappingProxyType({"config": "it names no setting; remove it"})

    datasource_url: Url = Field(alias="url")
    timeout: PositiveDuration = Duration(5_000)
    push_frequency: Annotated[Duration, PlainValidator(_push_frequency)] = Duration(900_000)
    extra_labels: LabelMapping = Field(default_factory=dict)


class MonitoringSection(Section):
    """How the service itself is monitored, in addition to the server's own `/metrics`.

    Attributes
    ----------
    pull
        A separate listener; None for none.
    push
        Where to push to; None for nowhere.
    """

    default_effect = RESTARTS

    pull: PullSection | None = None
    push: PushSection | None = None
