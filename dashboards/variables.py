"""The variables at the top of a dashboard."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders.dashboard import (
    AdHocVariable,
    CustomVariable,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.models import dashboard as models

PROMETHEUS = "prometheus"
VICTORIA_METRICS = "victoriametrics-metrics-datasource"


def datasource(kind: str) -> models.DataSourceRef:
    """Return the datasource that is chosen at the top, which is of this type."""
    return models.DataSourceRef(type_val=kind, uid="${datasource}")


def datasource_choice(kind: str) -> DatasourceVariable:
    """Return the choice of a datasource of a type."""
    return DatasourceVariable("datasource").label("Datasource").type(kind)


def label_values(
    name: str, label: str, query: str, description: str, kind: str = PROMETHEUS
) -> QueryVariable:
    """Return a choice of any number of values, which are what a query for values returns."""
    return (
        QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(datasource(kind))
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(True, ["All"], ["$__all"]))
    )


def label_name(name: str, label: str, query: str, description: str, default: str) -> QueryVariable:
    """Return a choice of one label name of what a query for names returns."""
    return (
        QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(datasource(VICTORIA_METRICS))
        .query(query)
        # A name of Grafana's own would group nothing.
        .regex("/^(?!__name__$)(.*)$/")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .current(models.VariableOption(True, default, default))
    )


def entry(name: str, label: str, default: str, description: str) -> TextBoxVariable:
    """Return a field for text."""
    return (
        TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value(default)
        .current(models.VariableOption(True, default, default))
        .options([models.VariableOption(True, default, default)])
    )


def choice(
    name: str,
    label: str,
    values: Sequence[str],
    default: str,
    description: str,
    *,
    multi: bool = False,
) -> CustomVariable:
    """Return a choice of fixed values."""
    chosen: str | list[str] = [default] if multi else default
    return (
        CustomVariable(name)
        .label(label)
        .description(description)
        .values(",".join(values))
        .multi(multi)
        .current(models.VariableOption(True, chosen, chosen))
        .options([models.VariableOption(value == default, value, value) for value in values])
    )


def filters() -> AdHocVariable:
    """Return filters on any label, which Grafana adds to every selector."""
    return AdHocVariable("filters").label("Filters").datasource(datasource(VICTORIA_METRICS))
