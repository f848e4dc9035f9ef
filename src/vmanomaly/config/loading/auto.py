"""What a section of the model `auto` says about the class that it tunes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.problems import Findings, Path, show_value
from vmanomaly.config.registry import MODELS
from vmanomaly.config.section import is_left_out, read_section
from vmanomaly.config.tuned import NOT_FROZEN, NOT_TUNED, parameters_of

_SHARED = {"provide_series", "args", "groupby"}
"""Keys of `auto` of which the class that it tunes says what they may be."""


def scores_groups(raw: Mapping[str, Any]) -> bool:
    """Tell whether what is written tunes a class that scores all series jointly."""
    tuned = raw.get("tuned_class_name")
    entry = MODELS.get(tuned) if isinstance(tuned, str) else None
    return entry is not None and entry.section.multivariate


def tuned_class(name: object, path: Path, findings: Findings) -> str | None:
    """Return the canonical name of a class that is to be tuned.

    Parameters
    ----------
    name
        What is written.
    path
        Where.
    findings
        Takes a problem for a class that cannot be tuned, or that this version does not run.
    """
    entry = MODELS.get(name) if isinstance(name, str) else None
    if entry is None or entry.alias in NOT_TUNED:
        known = ", ".join(alias for alias in MODELS.aliases if alias not in NOT_TUNED)
        findings.error(
            path,
            f"expected a built-in class that can be tuned, {show_value(path, name)}; "
            f"available: {known}",
        )
        return None
    MODELS.find(entry.alias, path, findings)
    return entry.alias


def check_frozen(
    class_name: str,
    frozen: Mapping[str, Any],
    shared: Mapping[str, Any],
    path: Path,
    frozen_path: Path,
    findings: Findings,
) -> ModelSection | None:
    """Check values of keys of a class that are not tuned.

    Parameters
    ----------
    class_name
        The canonical name of the class.
    frozen
        The values, by key.
    shared
        Keys that stand next to them, and that apply to the class too.
    path, frozen_path
        Where these, and the frozen ones, stand.
    findings
        Takes every problem.

    Returns
    -------
    ModelSection or None
        The section that tuning starts from; None if there was a problem.
    """
    wrong = [key for key in NOT_FROZEN if key in frozen]
    for key in wrong:
        findings.error((*frozen_path, key), "not a parameter of the class; remove it")
    if wrong:
        return None
    parameters = parameters_of(class_name, {}, frozen)
    found = Findings()
    section = read_section(
        MODELS[class_name].section,
        {**shared, **parameters, "class": class_name},
        (),
        found,
        known_elsewhere=partial(MODELS.explain, class_name),
    )
    for place, message in found.details:
        start = frozen_path if place and place[0] in frozen else path
        if ((*path, *place), message) not in findings.details:
            findings.error((*start, *place), message)
    return section


def read_auto(
    raw: Mapping[str, Any], section: AutoSection | None, path: Path, findings: Findings
) -> AutoSection | None:
    """Return the section of `auto`, completed by what the class that it tunes says.

    Parameters
    ----------
    raw
        What is written.
    section
        What was read of it; None if it is wrong.
    path
        Where it stands.
    findings
        Takes every problem with the class and its frozen keys.
    """
    place = (*path, "tuned_class_name")
    written = raw.get("tuned_class_name")
    tuned = None if is_left_out(written) else tuned_class(written, place, findings)
    if tuned is None or section is None:
        return None
    frozen_path = (*path, *section.frozen_path)
    shared = {key: raw[key] for key in _SHARED if not is_left_out(raw.get(key))}
    if check_frozen(tuned, section.frozen, shared, path, frozen_path, findings) is None:
        return None
    section = section.model_copy(update={"tuned_class_name": tuned})
    return section.as_multivariate() if MODELS[tuned].section.multivariate else section
