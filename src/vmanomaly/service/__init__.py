"""From a configuration to running work: the only place that knows reader, models and writer."""

from vmanomaly.service.service import Service

__all__ = ["Service"]
