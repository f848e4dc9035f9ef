"""The HTML report for any run: what was found, and a plot of every series with its scores.

`contents` is what a report shows, `page` writes it as one file, `panel` draws a series, `curves`
turns arrays into paths; `stored` and `queried` read the scores of a run from a DuckDB file and from
a server.
"""

from vmanomaly.report.contents import Alarm, Finding, Known, Report, ScoredSeries, alarms_of
from vmanomaly.report.page import render

__all__ = ["Alarm", "Finding", "Known", "Report", "ScoredSeries", "alarms_of", "render"]
