"""The section of the writer `vm`."""

from __future__ import annotations

from pydantic import Field

from vmanomaly.config.values.fields import UrlPath
from vmanomaly.config.writer.http import HttpWriterSection


class VmWriterSection(HttpWriterSection):
    """VictoriaMetrics, by its JSON lines import.

    Attributes
    ----------
    import_json_path
        Deprecated. Overrides the path of the import API.
    """

    class_name: str = Field("vm", alias="class")
    import_json_path: UrlPath | None = None
