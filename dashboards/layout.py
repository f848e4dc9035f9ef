"""A dashboard from rows of panels, on a grid that is 24 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

COLUMNS = 24


@dataclass(frozen=True)
class Section:
    """A row of a dashboard, and the panels below it.

    Attributes
    ----------
    title
        Of the row.
    panels
        Their spans fill lines of 24 columns.
    collapsed
        Whether the panels are hidden, and load nothing, until the row is opened.
    repeat
        A variable: one row for each of its values.
    """

    title: str
    panels: Sequence[Builder[models.Panel]]
    collapsed: bool = False
    repeat: str | None = None


def assemble(
    title: str,
    uid: str,
    description: str,
    datasource: models.DataSourceRef,
    variables: Sequence[Builder[models.VariableModel]],
    sections: Sequence[Section],
) -> models.Dashboard:
    """Return a dashboard whose panels all ask one datasource.

    Raises
    ------
    ValueError
        The panels of a section do not fill its lines.
    """
    builder = (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["vmanomaly"])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .timezone("browser")
        .refresh("1m")
        .variables(list(variables))
    )
    for section in sections:
        row = Row(section.title).collapsed(section.collapsed)
        if section.repeat is not None:
            row.repeat(section.repeat)
        if section.collapsed:
            for panel in section.panels:
                row.with_panel(panel)
        builder.with_row(row)
        if not section.collapsed:
            for panel in section.panels:
                builder.with_panel(panel)
        _check_lines(section)
    built = builder.build()
    _number(built, datasource)
    return built


def _check_lines(section: Section) -> None:
    column = 0
    for panel in section.panels:
        position = panel.build().grid_pos
        column += position.w if position is not None else 0
        if column > COLUMNS:
            raise ValueError(f"row {section.title}: a line is {column} columns wide, not {COLUMNS}")
        column %= COLUMNS
    if column:
        raise ValueError(f"row {section.title}: the last line is {column} columns wide")


def _number(built: models.Dashboard, datasource: models.DataSourceRef) -> None:
    """Give every panel its number, and its queries the datasource."""
    number = 0
    waiting = list(built.panels or [])
    while waiting:
        panel = waiting.pop(0)
        number += 1
        panel.id_val = number
        if isinstance(panel, models.RowPanel):
            waiting[:0] = panel.panels
        elif panel.targets:
            panel.datasource = datasource
