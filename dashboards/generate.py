"""All dashboards as the text of their files."""

from __future__ import annotations

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import anomaly_statistics, node_exporter, self_monitoring

_DASHBOARDS = {
    "default/dashboard.json": anomaly_statistics.build,
    "node-exporter/dashboard.json": node_exporter.build,
    "common/self_monitoring.json": self_monitoring.build,
}


def generated() -> dict[str, str]:
    """Return the text of each file by its path in the folder of presets."""
    return {
        path: json.dumps(build(), cls=JSONEncoder, indent=2) + "\n"
        for path, build in _DASHBOARDS.items()
    }
