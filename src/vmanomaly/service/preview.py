"""What starting would do with the stored state."""

from __future__ import annotations

from typing import Any

from vmanomaly.config import Config
from vmanomaly.config.values.time import format_time
from vmanomaly.episodes import counted
from vmanomaly.errors import UsageError
from vmanomaly.scheduler import fit_is_due
from vmanomaly.scheduler.schedule import Progress
from vmanomaly.series import JobKey, UnitKey
from vmanomaly.state import StateError
from vmanomaly.state.compatibility import VERSION_OVERRIDE, parse_version
from vmanomaly.state.decision import Decision, Verdict, decide
from vmanomaly.state.index import StoredUnit, read_index
from vmanomaly.state.signature import signature_of, unit_keys
from vmanomaly.state.store import check_files


def preview(config: Config, version: str, now: int) -> list[str]:
    """Return lines that tell the user what becomes of the stored state; nothing is changed.

    Parameters
    ----------
    config
        The configuration that would be started.
    version
        The version that would be started.
    now
        The time of the start, Unix milliseconds.

    Raises
    ------
    UsageError
        That is not a version.
    """
    if parse_version(version) is None:
        raise UsageError(f"{VERSION_OVERRIDE}: expected a version such as 1.2.3, got {version!r}")
    keys = unit_keys(config)
    if config.model_folder is None or not keys:
        return ["No state is stored: every model is fitted at startup."]
    try:
        stored, progress = read_index(config.model_folder)
    except StateError as error:
        return [f"The stored state is not used ({error}): every model is fitted at startup."]
    if not config.settings.restore_state:
        deleted = (
            f"; the stored states of {counted(len(stored), 'unit')} are deleted" if stored else ""
        )
        return [f"settings.restore_state is off: every model is fitted at startup{deleted}."]
    decisions = decide({key: signature_of(config, key) for key in keys}, stored, version)
    lines = [f"With the state in {config.model_folder}, version {version} would do this:"]
    for key, decision in decisions.items():
        if decision.verdict is Verdict.REUSE:
            decision = _looked_into(config, key, stored[key], progress, now)  # noqa: PLW2901
        lines.append(f"  {key}: {decision}")
    return lines


def _looked_into(
    config: Config,
    key: UnitKey,
    entry: StoredUnit,
    stored_progress: dict[JobKey, dict[str, Any]],
    now: int,
) -> Decision:
    """Return what becomes of a state that could be reused."""
    section = config.schedulers[key.scheduler_alias]
    progress = Progress.of(stored_progress.get(key.job) or {})
    if progress is None:
        return Decision(Verdict.REFIT, "its progress is not known")
    try:
        assert config.model_folder is not None  # noqa: S101 - there is an entry
        check_files(config.model_folder, key, entry)
    except StateError as error:
        return Decision(Verdict.REFIT, str(error))
    if fit_is_due(section, progress, now - int(config.reader.eval_delay)):
        return Decision(Verdict.REFIT, "fit_every has passed since its last fit")
    replay = progress.replay
    if replay is not None and replay.fits:
        return Decision(Verdict.REFIT, "it was not stored since its last fit")
    replayed = ""
    if replay is not None:
        start, end = (format_time(at) for at in (replay.start, progress.covered or replay.start))
        replayed = f"; the runs from {start} to {end} are replayed"
    return Decision(Verdict.REUSE, f"nothing has changed; {entry.n_series} series{replayed}")
