"""The variables of an assistant that this service does not have."""

from __future__ import annotations

from collections.abc import Mapping

from vmanomaly.config.problems import Findings

ENABLED = "VMANOMALY_COPILOT_ENABLED"
_OTHERS = ("VMANOMALY_COPILOT_MODEL", "VMANOMALY_MCP_SERVER_URL")


def warn_of_copilot(environ: Mapping[str, str], findings: Findings) -> None:
    """Warn once if the environment asks for the AI Copilot of the UI; values are not shown.

    Parameters
    ----------
    environ
        The environment variables.
    findings
        Takes the warning.

    Examples
    --------
    >>> findings = Findings()
    >>> warn_of_copilot({"VMANOMALY_COPILOT_ENABLED": "true"}, findings)
    >>> findings.warnings
    ['VMANOMALY_COPILOT_ENABLED: ignored, there is no AI Copilot; the button Suggest of the UI \
proposes models without one']
    >>> findings = Findings()
    >>> warn_of_copilot({"VMANOMALY_COPILOT_ENABLED": "false"}, findings)
    >>> findings.warnings
    []
    """
    enabled = environ.get(ENABLED, "").strip().lower()
    if enabled in {"", "false", "0", "no", "off"}:
        # Off in the reference too, whatever the others say.
        return
    asked = [ENABLED, *(name for name in _OTHERS if environ.get(name))]
    findings.warn(
        (),
        f"{', '.join(asked)}: ignored, there is no AI Copilot; the button Suggest of the UI "
        "proposes models without one",
    )
