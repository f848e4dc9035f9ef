"""The kinds of panels, with the settings that all panels of a kind share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    histogram,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

HEIGHT = 8


class Query(NamedTuple):
    """An expression, and the name of the series that it returns.

    Attributes
    ----------
    expr
        PromQL or MetricsQL.
    legend
        What Grafana calls each series; `{{label}}` is replaced.
    """

    expr: str
    legend: str = "__auto"


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    title
        Its head.
    expr
        An expression whose values it has.
    unit
        Of the values.
    good_from
        The lowest value that is fine: the cell is red below it.
    bad_from
        The lowest value that is not fine: the cell is red from there on.
    """

    title: str
    expr: str
    unit: str = "short"
    good_from: float | None = None
    bad_from: float | None = None


def line_chart(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    span: int = 12,
    stacked: bool = False,
    limit: float | None = None,
) -> timeseries.Panel:
    """Return a chart of values over time; `limit` is drawn as a line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .span(span)
        .height(HEIGHT)
        .fill_opacity(10)
        .show_points(common_models.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .targets([_target(query, number) for number, query in enumerate(queries)])
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(_thresholds([(None, "transparent"), (limit, "red")]))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    span: int = 4,
    good_from: float | None = None,
    bad_from: float | None = None,
    names: Mapping[int, str] | None = None,
) -> stat.Panel:
    """Return the last value of an expression as a number; `names` are texts for some values."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .span(span)
        .height(4)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(_colours(good_from, bad_from)))
        .with_target(_target(Query(expr)))
    )
    if names:
        texts = {str(value): models.ValueMappingResult(text=name) for value, name in names.items()}
        panel.mappings([models.ValueMap(options=texts)])
    return panel


def value_table(
    title: str,
    description: str,
    columns: Sequence[Column],
    *,
    hidden: Sequence[str] = (),
    sort_by: str | None = None,
    height: int = HEIGHT,
) -> table.Panel:
    """Return a table: one row for each label set that the expressions have in common.

    The values are those at the end of the time range. `hidden` names columns of labels or values
    that are not shown.
    """
    panel = table.Panel().title(title).description(description).span(24).height(height)
    panel.filterable(True)
    for place, column in enumerate(columns):
        query = _target(Query(column.expr), place).instant().format(PromQueryFormat.TABLE)
        panel.with_target(query)
        colours = _colours(column.good_from, column.bad_from)
        properties = [models.DynamicConfigValue("unit", column.unit)]
        if len(colours) > 1:
            properties += [
                models.DynamicConfigValue("thresholds", _thresholds(colours).build()),
                models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(column.title, properties)
    # Grafana names the values of a single query without its letter.
    of_value = (
        [f"Value #{_letter(place)}" for place in range(len(columns))]
        if len(columns) > 1
        else ["Value"]
    )
    panel.transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(["Time", *hidden], True),
                    "indexByName": {},
                    "renameByName": dict(
                        zip(of_value, [column.title for column in columns], strict=True)
                    ),
                },
            ),
        ]
    )
    if sort_by is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])
    return panel


def value_histogram(title: str, description: str, query: Query, *, span: int) -> histogram.Panel:
    """Return how often values occur, of all series together."""
    return (
        histogram.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(HEIGHT)
        .combine(True)
        .with_target(_target(query))
    )


def bucket_heatmap(title: str, description: str, expr: str, *, span: int = 8) -> heatmap.Panel:
    """Return how the buckets of a histogram in seconds fill over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(HEIGHT)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .hide_legend()
        .with_target(_target(Query(expr, "{{le}}")).format(PromQueryFormat.HEATMAP))
    )


def timeline(title: str, description: str, query: Query, *, span: int = 12) -> statetimeline.Panel:
    """Return a count over time as bars: green where it is 0, red above."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .span(span)
        .height(HEIGHT)
        .show_value(common_models.VisibilityMode.AUTO)
        .merge_values(True)
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds(_colours(None, 1)))
        .with_target(_target(query))
    )


def notes(markdown: str, *, height: int = 4) -> text.Panel:
    """Return a text."""
    return text.Panel().mode(TextMode.MARKDOWN).content(markdown).span(24).height(height)


def _target(query: Query, place: int = 0) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend)
        .range()
        .ref_id(_letter(place))
    )


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _colours(good_from: float | None, bad_from: float | None) -> list[tuple[float | None, str]]:
    if good_from is not None:
        return [(None, "red"), (good_from, "green")]
    if bad_from is not None:
        return [(None, "green"), (bad_from, "red")]
    return [(None, "text")]


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, colour) for value, colour in steps])
    )
