"""The model inside `auto` before anything is tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vmanomaly.config.problems import Findings, Path
from vmanomaly.config.tuned import tuned_section
from vmanomaly.errors import ConfigError
from vmanomaly.model.base import AnyModel
from vmanomaly.model.library.extras import required
from vmanomaly.model.registry import create_model, create_multivariate_model

if TYPE_CHECKING:
    from vmanomaly.config.model.auto import AutoSection
    from vmanomaly.config.reader import Query


def create_auto(section: AutoSection, queries: Sequence[Query]) -> AnyModel:
    """Build the model that `auto` tunes, with its defaults and what is frozen.

    Raises
    ------
    ConfigError
        Optuna is not installed, or the library of the class refuses its keys.
    """
    check_optuna("auto")
    tuned = tuned_section(section)
    try:
        if tuned.multivariate:
            return create_multivariate_model(tuned, queries)
        return create_model(tuned, queries[0])
    except ConfigError as error:
        findings = Findings()
        for place, message in error.details:
            findings.error((*_start(section, place), *place), message)
        if not findings.problems:
            raise
        raise findings.as_error() from None


def _start(section: AutoSection, place: Path) -> Path:
    """Return where a key of the class that is tuned stands: frozen, or next to the others."""
    frozen: object = section.frozen
    for part in place[:2]:
        if not isinstance(frozen, Mapping) or part not in frozen:
            return ()
        frozen = frozen[part]
    return section.frozen_path


def check_optuna(what: str) -> None:
    """Raise unless Optuna is installed.

    Parameters
    ----------
    what
        What needs it.

    Raises
    ------
    ConfigError
        It is not.
    """
    required("optuna", what, "optuna")
