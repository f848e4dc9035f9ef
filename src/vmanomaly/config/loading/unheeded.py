"""Keys that are known but have no effect in this version."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config.model import CustomSection, ModelSection
from vmanomaly.config.problems import Findings


def warn_of_unheeded_keys(models: Mapping[str, ModelSection], findings: Findings) -> None:
    """Warn of keys that are set but have no effect.

    Parameters
    ----------
    models
        By alias.
    findings
        Takes a warning for each.
    """
    for alias, model in models.items():
        if model.args and not model.takes_args and not isinstance(model, CustomSection):
            findings.warn(
                ("models", alias, "args"),
                f"has no effect: {model.class_name} has no library model inside; remove it, and "
                "write keys of the model next to class",
            )
