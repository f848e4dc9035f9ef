"""Anomaly statistics: what the scores of any configuration look like, by label and by series."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.layout import Section, assemble
from dashboards.panels import Column, Query, line_chart, notes, value_histogram, value_table
from dashboards.variables import (
    VICTORIA_METRICS,
    choice,
    datasource,
    datasource_choice,
    entry,
    filters,
    label_name,
    label_values,
)

_NAME = '__name__="${prefix}anomaly_score"'
_CHOSEN = 'preset=~"$preset",scheduler_alias=~"$scheduler_alias",model_alias=~"$model_alias"'
_SCORES = f"{{{_NAME},{_CHOSEN}}}"
_SHARE = f"share_gt_over_time({_SCORES}[$__range], $threshold)"
# The share at the end of the time range, at every timestamp of a chart.
_MUCH = f"range_last({_SHARE}) >= $min_share / 100"


def _quantile(q: float, window: str) -> str:
    """Return a quantile of all scores of a group in a window.

    It is taken of a histogram, since a quantile of quantiles is none.
    """
    buckets = f"sum(histogram_over_time({_SCORES}[{window}])) by (vmrange, $group_by)"
    return f"histogram_quantile({q:g}, {buckets})"


def _share(window: str) -> str:
    """Return the share of the scores of a group above the threshold."""
    return (
        f"sum(count_gt_over_time({_SCORES}[{window}], $threshold)) by ($group_by) / "
        f"sum(count_over_time({_SCORES}[{window}])) by ($group_by)"
    )


def build() -> Dashboard:
    """Return the dashboard."""
    variables = [
        datasource_choice(VICTORIA_METRICS),
        entry(
            "prefix",
            "Prefix",
            "",
            "What stands before $VAR in writer.metric_format, such as vmanomaly_; usually nothing.",
        ),
        entry("threshold", "Threshold", "1", "A point is an anomaly if its score is above this."),
        label_values(
            "preset",
            "Preset",
            f"label_values({{{_NAME}}}, preset)",
            "Presets whose scores are shown.",
            VICTORIA_METRICS,
        ),
        label_values(
            "scheduler_alias",
            "Scheduler",
            f'label_values({{{_NAME},preset=~"$preset"}}, scheduler_alias)',
            "Schedulers whose scores are shown.",
            VICTORIA_METRICS,
        ),
        label_values(
            "model_alias",
            "Model",
            f'label_values({{{_NAME},preset=~"$preset",scheduler_alias=~"$scheduler_alias"}}, '
            "model_alias)",
            "Models whose scores are shown.",
            VICTORIA_METRICS,
        ),
        label_name(
            "group_by",
            "Group by",
            "label_names(${prefix}anomaly_score)",
            "Label by whose values the global panels are grouped; for is the alias of the query.",
            "for",
        ),
        choice(
            "window",
            "Window",
            ["5m", "15m", "1h", "6h", "1d"],
            "15m",
            "What each point of the global charts looks back on. At least infer_every.",
        ),
        entry(
            "min_share",
            "Min. anomalies, %",
            "5",
            "The local panels show the series of which at least this share of the points are "
            "anomalies.",
        ),
        choice(
            "output",
            "Series",
            ["y", "yhat", "yhat_lower", "yhat_upper"],
            "y",
            "What the chart of values shows, if provide_series of the model includes it.",
            multi=True,
        ),
        filters(),
    ]
    grouped = [
        Column("Series", f"count(count_over_time({_SCORES}[$__range])) by ($group_by)"),
        Column("Points", f"sum(count_over_time({_SCORES}[$__range])) by ($group_by)"),
        Column(
            "Anomalies",
            f"sum(count_gt_over_time({_SCORES}[$__range], $threshold)) by ($group_by)",
        ),
        Column("Share", _share("$__range"), "percentunit"),
        Column("Min.", f"min(min_over_time({_SCORES}[$__range])) by ($group_by)"),
        Column("q25", _quantile(0.25, "$__range")),
        Column("Median", _quantile(0.5, "$__range")),
        Column("q75", _quantile(0.75, "$__range")),
        Column("q99", _quantile(0.99, "$__range")),
        Column("Max.", f"max(max_over_time({_SCORES}[$__range])) by ($group_by)"),
    ]
    return assemble(
        "vmanomaly: anomaly statistics",
        "vmanomaly-anomaly-statistics",
        "Anomaly scores by label, and the series with the most anomalies.",
        datasource(VICTORIA_METRICS),
        variables,
        [
            Section(
                "How to use this dashboard",
                [
                    notes(
                        "1. Choose a time range and a label to group by, and sort the table by "
                        "share or by q99.\n"
                        "2. Narrow down: with a filter on a label, or a shorter time range.\n"
                        "3. Open the last row: the series with the most anomalies, their scores "
                        "and their values.\n\n"
                        "The threshold should be that of your alert rules."
                    )
                ],
                collapsed=True,
            ),
            Section(
                "Scores by $group_by",
                [
                    value_table(
                        "Scores by $group_by",
                        "All scores in the time range. Quantiles are those of a histogram, within "
                        "a few percent.",
                        grouped,
                        sort_by="Share",
                    ),
                    line_chart(
                        "Share of anomalies",
                        "Points above the threshold, of all points in the window.",
                        "percentunit",
                        Query(_share("$window"), "{{$group_by}}"),
                        span=8,
                    ),
                    value_histogram(
                        "Scores above the threshold",
                        "How high the scores of anomalies are, of at most 500 series: a gap "
                        "suggests a threshold for alerts.",
                        Query(f"limitk(500, {_SCORES} > $threshold)"),
                        span=8,
                    ),
                    line_chart(
                        "99 % of the scores are below",
                        "The 0.99-quantile of all scores in the window, and the threshold.",
                        "short",
                        Query(_quantile(0.99, "$window"), "{{$group_by}}"),
                        Query("$threshold", "threshold"),
                        span=8,
                    ),
                ],
            ),
            Section(
                "Series of which at least $min_share % of the points are anomalies",
                [
                    value_table(
                        "Series",
                        "The share of anomalies in the time range.",
                        [Column("Share", f"{_SHARE} >= $min_share / 100", "percentunit")],
                        sort_by="Share",
                    ),
                    line_chart(
                        "Scores",
                        "Of the series in the table.",
                        "short",
                        Query(f"{_SCORES} and ({_MUCH})"),
                        Query("$threshold", "threshold"),
                        span=24,
                    ),
                    line_chart(
                        "Values",
                        "What the model saw and predicted, for models of single series whose "
                        "provide_series includes it.",
                        "short",
                        Query(f'{{__name__=~"${{prefix}}$output",{_CHOSEN}}} and ({_MUCH})'),
                        span=24,
                    ),
                ],
                collapsed=True,
            ),
        ],
    )
