"""The model inside `auto` before anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmanomaly.config.tuned import tuned_section
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
        Optuna is not installed.
    """
    check_optuna("auto")
    tuned = tuned_section(section)
    if tuned.multivariate:
        return create_multivariate_model(tuned, queries)
    return create_model(tuned, queries[0])


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
