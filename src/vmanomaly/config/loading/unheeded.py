"""Keys and variables that are known but have no effect in this version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vmanomaly.config.model import CustomSection, ModelSection
from vmanomaly.config.problems import Findings
from vmanomaly.config.server import ServerSection

MEMBERS_COUNT = "VMANOMALY_MEMBERS_COUNT"
MEMBER_NUM = "VMANOMALY_MEMBER_NUM"
REPLICATION_FACTOR = "VMANOMALY_REPLICATION_FACTOR"

LATER = ("ui_default_state",)


def warn_of_unheeded_keys(
    server: ServerSection, models: Mapping[str, ModelSection], findings: Findings
) -> None:
    """Warn of keys that are set but have no effect.

    Parameters
    ----------
    server
        The section `server`.
    models
        By alias.
    findings
        Takes a warning for each.
    """
    for key in LATER:
        if getattr(server, key) != type(server).model_fields[key].default:
            findings.warn(("server", key), "has no effect in this version; remove it")
    for alias, model in models.items():
        if model.args and not model.takes_args and not isinstance(model, CustomSection):
            findings.warn(
                ("models", alias, "args"),
                f"has no effect: {model.class_name} has no library model inside; remove it, and "
                "write keys of the model next to class",
            )


def check_members(environ: Mapping[str, str], findings: Findings) -> None:
    """Refuse to be one member of several: each would do all of the work.

    Parameters
    ----------
    environ
        The environment variables.
    findings
        Takes a problem for each that is wrong.
    """
    for name in (MEMBERS_COUNT, REPLICATION_FACTOR):
        text = environ.get(name, "").strip()
        if not text:
            continue
        if not re.fullmatch("[0-9]{1,9}", text) or int(text) < 1:
            findings.error((name,), "this environment variable must be a whole number from 1")
        elif int(text) > 1:
            findings.error(
                (name,),
                f"this environment variable asks for {text}, and this version does not share work "
                "among members: each would do all of it; set it to 1, or unset it",
            )
    member = environ.get(MEMBER_NUM, "").strip()
    if member and not re.fullmatch(r"(?:.*-)?[0-9]{1,9}", member):
        findings.error(
            (MEMBER_NUM,),
            "this environment variable must be a whole number, or the name of a pod that ends in "
            "- and one",
        )
