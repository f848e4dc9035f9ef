"""The datasource of the UI and the API, which the environment may fix."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config.config import UiDatasource
from vmanomaly.config.problems import Findings
from vmanomaly.config.values.fields import as_url

URL = "VMANOMALY_UI_DATASOURCE_URL"
TYPE = "VMANOMALY_UI_DATASOURCE_TYPE"

DATASOURCE_TYPES = {"vm": "vm", "vlogs": "vlogs", "vmlogs": "vlogs"}
"""What requests and the environment call the types of datasources, and the reader of each."""


def read_ui_datasource(environ: Mapping[str, str], findings: Findings) -> UiDatasource | None:
    """Return what the environment says; None if nothing.

    Parameters
    ----------
    environ
        The environment variables.
    findings
        Takes a problem for a value that is wrong; the value is not shown, for it may hold a secret.

    Examples
    --------
    >>> read_ui_datasource({"VMANOMALY_UI_DATASOURCE_URL": "http://vm:8428"}, Findings())
    UiDatasource(url='http://vm:8428', type='vm')
    """
    url, kind = environ.get(URL) or "", environ.get(TYPE) or "vm"
    if kind not in DATASOURCE_TYPES:
        findings.error((TYPE,), "expected vm or vlogs")
        return None
    if not url:
        return None
    try:
        return UiDatasource(as_url(url), DATASOURCE_TYPES[kind])
    except ValueError as error:
        findings.error((URL,), str(error))
        return None
