"""Generates the Grafana dashboards that presets come with: `python -m dashboards`."""
