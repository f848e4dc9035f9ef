"""Anomaly detection for time series in VictoriaMetrics and Prometheus."""

__version__ = "0.1.0"
