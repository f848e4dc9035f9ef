"""Where scores go: writers, by the class of their section."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmanomaly.config.registry import WRITERS
from vmanomaly.config.writer import WriterSection
from vmanomaly.writer.base import Writer

if TYPE_CHECKING:
    from vmanomaly.monitoring.metrics import Metrics

__all__ = ["Writer", "create_writer", "warm_up"]


def create_writer(section: WriterSection, metrics: Metrics) -> Writer:
    """Return the writer of a section.

    Parameters
    ----------
    section
        The section `writer` of the configuration.
    metrics
        The service's metrics.

    Raises
    ------
    ConfigError
        This version has no writer of this class.
    """
    writer: Writer = WRITERS.create(section.class_name, section=section, metrics=metrics)
    return writer


def warm_up(section: WriterSection) -> None:
    """Prepare what the writer of a section compiles, so that no write has to wait for it."""
    writer_class: type[Writer] = WRITERS.implementation(section.class_name)
    writer_class.warm_up()
