"""The merged mapping -> `Config`, or every problem in it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path as FilePath
from typing import Any, TypeVar

from vmanomaly.config.config import Config
from vmanomaly.config.loading import rules
from vmanomaly.config.loading.auto import read_auto, scores_groups
from vmanomaly.config.loading.copilot import warn_of_copilot
from vmanomaly.config.loading.indentation import explain_section, find_keys_among_aliases
from vmanomaly.config.loading.intervals import check_intervals, check_retention
from vmanomaly.config.loading.legacy import modernise
from vmanomaly.config.loading.ui_datasource import read_ui_datasource
from vmanomaly.config.loading.unheeded import warn_of_unheeded_keys
from vmanomaly.config.members import read_member
from vmanomaly.config.model import CustomSection, ModelSection
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.model.custom import class_folder
from vmanomaly.config.monitoring import MonitoringSection
from vmanomaly.config.presets import expanded, preset_name
from vmanomaly.config.problems import Findings, Path, not_a_mapping, suggest
from vmanomaly.config.reader import Query, ReaderSection
from vmanomaly.config.registry import MODELS, READERS, SCHEDULERS, WRITERS, Entry
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.secrets import shown_name
from vmanomaly.config.section import is_left_out, read_section
from vmanomaly.config.server import ServerSection
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.values.duration import Duration
from vmanomaly.config.writer import WriterSection
from vmanomaly.keys import query_key

SECTIONS = (
    "preset",
    "settings",
    "schedulers",
    "models",
    "reader",
    "writer",
    "monitoring",
    "server",
)

_DATA_FOLDER = "VMANOMALY_DATA_DUMPS_DIR"
_ALIASED = {"models": "model", "schedulers": "scheduler"}
POLICIES = (
    "data_range",
    "detection_direction",
    "min_dev_from_expected",
    "min_rel_dev_from_expected",
)

ValueT = TypeVar("ValueT")


def build_config(
    merged: Mapping[str, Any], environ: Mapping[str, str], findings: Findings
) -> Config | None:
    """Build a config from what the files hold.

    Parameters
    ----------
    merged
        The content of all files.
    environ
        The environment variables; some of them are defaults.
    findings
        Takes every problem and every warning.

    Returns
    -------
    Config or None
        None if there is any problem.
    """
    sections = modernise(merged, findings)
    for key in sections:
        if key not in SECTIONS:
            findings.error((key,), partial(_unknown_section, key, sections[key]))
    preset = preset_name(sections.get("preset"), findings)
    if preset is None:
        return None
    sections = expanded(preset, sections)

    settings = read_section(
        SettingsSection, sections.get("settings") or {}, ("settings",), findings
    )
    server = read_section(ServerSection, sections.get("server") or {}, ("server",), findings)
    monitoring = _read_monitoring(sections.get("monitoring") or {}, findings)
    raw_reader = _required(sections, "reader", "where series are read from", findings)
    # The UI has its own queries; the chart writes a reader without any, to say where they go.
    needs_queries = preset != "ui"
    reader, queries = _read_reader(raw_reader, findings, needs_queries)
    reads = reader is None or (reader.reads and (needs_queries or bool(queries)))
    raw_schedulers = _required(sections, "schedulers", "when models run", findings, reads)
    raw_models = _required(sections, "models", "what looks for anomalies", findings, reads)
    raw_writer = _required(sections, "writer", "where scores are written to", findings)

    schedulers = {
        alias: _read_scheduler(raw, ("schedulers", alias), findings)
        for alias, raw in raw_schedulers.items()
    }
    models = {
        alias: read_model(
            raw, ("models", alias), list(queries), list(schedulers), settings, environ, findings
        )
        for alias, raw in raw_models.items()
    }
    writer = _read_writer(raw_writer, environ, findings)

    valid_queries = _valid(queries)
    valid_models = _valid(models) if reads else {}
    multivariate = {alias: model for alias, model in valid_models.items() if model.multivariate}
    rules.check_multivariate(multivariate, valid_queries, findings)
    if writer is not None:
        _check_writer(writer, valid_queries, [*queries], multivariate, findings)
    if settings is not None:
        rules.check_state(settings, _valid(schedulers), environ, findings)
        check_retention(settings, findings)
    member = read_member(environ, findings)
    ui_datasource = read_ui_datasource(environ, findings)
    warn_of_copilot(environ, findings)
    warn_of_unheeded_keys(valid_models, findings)
    if reader is not None:
        rules.check_filters(reader, valid_models, member, findings)
        check_intervals(
            reader.model_copy(update={"queries": valid_queries}),
            valid_models,
            _valid(schedulers),
            findings,
        )
    attached = rules.attached_models(valid_models, findings) if reads else {}
    if reader is not None and writer is not None and preset != "ui":
        rules.warn_of_noop(reader, writer, _valid(schedulers), findings)
    if queries and schedulers and models and not attached and len(valid_models) == len(models):
        findings.error(("models",), "none is attached to a query and a scheduler: nothing to run")
    used_queries = rules.used_by("queries", attached, valid_queries)
    used_schedulers = rules.used_by("schedulers", attached, _valid(schedulers))

    if (
        findings.problems
        or reader is None
        or writer is None
        or settings is None
        or server is None
        or monitoring is None
    ):
        return None
    rules.warn_of_policies(attached, used_queries, findings)
    if reads:
        rules.warn_of_unused(("reader", "queries"), queries, used_queries, findings)
        rules.warn_of_unused(("schedulers",), schedulers, used_schedulers, findings)
    used = used_schedulers.values()
    # Without schedulers the server is all that there is.
    all_end = bool(used) and all(scheduler.ends_by_itself for scheduler in used)
    return Config(
        reader=reader.model_copy(update={"queries": used_queries}),
        writer=writer,
        models=attached,
        schedulers=used_schedulers,
        settings=settings,
        server=server if "server" in sections or not all_end else None,
        monitoring=monitoring,
        preset=preset,
        member=member,
        data_folder=_folder(environ, _DATA_FOLDER),
        model_folder=_folder(environ, rules.MODEL_FOLDER),
        ui_datasource=ui_datasource,
    )


def _check_writer(
    writer: WriterSection,
    queries: Mapping[str, Query],
    aliases: list[str],
    multivariate: Mapping[str, ModelSection],
    findings: Findings,
) -> None:
    together = [query_key(model.queries) for model in multivariate.values()]
    rules.check_metric_names(writer, dict.fromkeys([*aliases, *together]), findings)
    rules.warn_of_tenants(writer, queries, findings)


def _unknown_section(key: str, value: object) -> str:
    return f"unknown section; {explain_section(key, value) or suggest(key, SECTIONS)}"


def _folder(environ: Mapping[str, str], name: str) -> FilePath | None:
    folder = environ.get(name)
    return FilePath(folder) if folder else None


def _required(
    sections: Mapping[str, Any],
    key: str,
    purpose: str,
    findings: Findings,
    is_required: bool = True,
) -> Mapping[str, Any]:
    section = sections.get(key)
    if is_left_out(section) or section == {}:
        if is_required:
            findings.error((key,), f"required, but not set; it says {purpose}")
        return {}
    if not isinstance(section, Mapping):
        findings.error((key,), not_a_mapping(section))
        return {}
    kind = _ALIASED.get(key)
    if kind is not None and find_keys_among_aliases(section, kind, (key,), findings):
        return {}
    if kind is not None:
        rules.warn_of_environment_aliases((key,), section, findings)
    return section


def _valid(items: Mapping[str, ValueT | None]) -> dict[str, ValueT]:
    return {key: item for key, item in items.items() if item is not None}


def _read_monitoring(raw: object, findings: Findings) -> MonitoringSection | None:
    path: Path = ("monitoring",)
    if isinstance(raw, Mapping) and "pull" in raw and is_left_out(raw["pull"]):
        raw = {**raw, "pull": {}}
    monitoring = read_section(MonitoringSection, raw, path, findings)
    if monitoring is not None and monitoring.pull is not None and not monitoring.pull.enabled:
        return monitoring.model_copy(update={"pull": None})
    return monitoring


def _read_reader(
    raw: Mapping[str, Any], findings: Findings, needs_queries: bool
) -> tuple[ReaderSection | None, dict[str, Query | None]]:
    path: Path = ("reader",)
    entry = READERS.find(raw.get("class"), (*path, "class"), findings) if raw else None
    if entry is None:
        return None, {}
    without_queries = {key: value for key, value in raw.items() if key != "queries"}
    reader = read_section(
        entry.section,
        without_queries | {"class": entry.alias},
        path,
        findings,
        {"queries": {}},
        partial(READERS.explain, entry.alias),
    )
    raw_queries = raw.get("queries")
    if not entry.section.reads or not (raw_queries or needs_queries):
        return reader, {}
    if not raw_queries or not isinstance(raw_queries, Mapping):
        reason = "required, but not set" if not raw_queries else "expected a mapping of aliases"
        findings.error((*path, "queries"), f"{reason}; write an expression under an alias")
        return None, {}
    rules.warn_of_environment_aliases((*path, "queries"), raw_queries, findings)
    if find_keys_among_aliases(raw_queries, "query", (*path, "queries"), findings):
        return None, {}
    if is_left_out(raw.get("sampling_period")):
        without_step = [
            alias
            for alias, query in raw_queries.items()
            if isinstance(query, Mapping) and is_left_out(query.get("step"))
        ]
        if without_step:
            findings.error(
                (*path, "sampling_period"),
                "required, because these queries have no step: "
                + ", ".join(map(shown_name, without_step)),
            )
    queries = {
        alias: _read_query(alias, query, raw, entry, reader, findings)
        for alias, query in raw_queries.items()
    }
    if reader is None or None in queries.values():
        return None, queries
    return reader.model_copy(update={"queries": _valid(queries)}), queries


def _read_query(
    alias: str,
    raw: object,
    raw_reader: Mapping[str, Any],
    entry: Entry[ReaderSection],
    reader: ReaderSection | None,
    findings: Findings,
) -> Query | None:
    path: Path = ("reader", "queries", alias)
    section = entry.section.query
    if not isinstance(raw, Mapping):
        if alias in entry.section.yaml_keys():
            findings.error(
                path, "a key of reader, not the alias of a query; move it out of queries"
            )
            return None
        return read_section(section, raw, path, findings)
    has_tenants = "tenant_id" in section.yaml_keys()
    has_own_tenant = has_tenants and not is_left_out(raw.get("tenant_id"))
    if has_own_tenant and is_left_out(raw_reader.get("tenant_id")):
        findings.error(
            (*path, "tenant_id"),
            "a query has a tenant and the reader has none; set reader.tenant_id too, "
            "such as multitenant",
        )
    # If the reader's own step is wrong or missing, that is reported once, not for every query.
    defaults = {"step": Duration(1000)} | (reader.query_defaults() if reader else {})
    inherited = {key: value for key, value in defaults.items() if is_left_out(raw.get(key))}
    return read_section(
        section,
        raw,
        path,
        findings,
        {"alias": alias} | inherited,
        partial(READERS.explain, entry.alias, part=lambda section: section.query),
    )


def _read_scheduler(raw: object, path: Path, findings: Findings) -> SchedulerSection | None:
    if not isinstance(raw, Mapping):
        return read_section(SchedulerSection, raw, path, findings)
    entry = SCHEDULERS.find(raw.get("class"), (*path, "class"), findings)
    if entry is None:
        return None
    return entry.section.read(
        {**raw, "class": entry.alias}, path, findings, partial(SCHEDULERS.explain, entry.alias)
    )


def read_model(
    raw: object,
    path: Path,
    queries: list[str],
    schedulers: list[str],
    settings: SettingsSection | None,
    environ: Mapping[str, str],
    findings: Findings,
) -> ModelSection | None:
    """Read a section of `models`.

    Parameters
    ----------
    raw
        What the YAML holds.
    path
        Its place there.
    queries, schedulers
        The aliases that it may be attached to.
    settings
        Holds defaults of models; None where it is wrong.
    environ
        The environment variables.
    findings
        Takes every problem and every warning.

    Returns
    -------
    ModelSection or None
        None if there was a problem.
    """
    if not isinstance(raw, Mapping):
        return read_section(ModelSection, raw, path, findings)
    entry = MODELS.find(raw.get("class"), (*path, "class"), findings)
    attachments = {
        "queries": rules.attachment(raw, "queries", queries, path, findings),
        "schedulers": rules.attachment(raw, "schedulers", schedulers, path, findings),
    }
    if entry is None:
        return None
    for policy in POLICIES:
        ignored = entry.section.why_without_effect(policy) is not None
        if not (ignored or is_left_out(raw.get(policy))):
            findings.warn(
                (*path, policy), "deprecated on a model; put it on the query, where it wins"
            )
    is_custom = entry.section is CustomSection
    is_multivariate = entry.section.multivariate or scores_groups(raw)
    if raw.get("groupby") and not is_multivariate and not is_custom:
        findings.warn((*path, "groupby"), f"{entry.alias} is not multivariate and ignores it")
    defaults = {}
    key = "anomaly_score_outside_data_range"
    if settings is not None and is_left_out(raw.get(key)):
        defaults[key] = getattr(settings, key)
    # A user's class has no name but its dotted one.
    name = raw["class"] if is_custom and MODELS.get(raw["class"]) is None else entry.alias
    merged = {**raw, **defaults, "class": name, **attachments}
    derived = {}
    if is_custom:
        derived["class_folder"] = class_folder(name, environ)
    section = read_section(
        entry.section, merged, path, findings, derived, partial(MODELS.explain, entry.alias)
    )
    if entry.section is AutoSection:
        assert section is None or isinstance(section, AutoSection)  # noqa: S101 - of this class
        return read_auto(raw, section, path, findings)
    return section


def _read_writer(
    raw: Mapping[str, Any], environ: Mapping[str, str], findings: Findings
) -> WriterSection | None:
    path: Path = ("writer",)
    if not raw:
        return None
    entry = WRITERS.find(raw.get("class"), (*path, "class"), findings)
    if entry is None:
        return None
    if not is_left_out(raw.get("import_json_path")):
        findings.warn(
            (*path, "import_json_path"), "deprecated; put a path prefix into datasource_url"
        )
    metric_format = raw.get("metric_format")
    if isinstance(metric_format, Mapping) and "for" not in metric_format:
        findings.warn(
            (*path, "metric_format"), 'the label for is left out; for: "$QUERY_KEY" is added'
        )
    defaults = {}
    folder = environ.get(_DATA_FOLDER) or environ.get(rules.MODEL_FOLDER)
    has_queue = "queue_path" in entry.section.model_fields
    if folder and has_queue and is_left_out(raw.get("queue_path")):
        defaults["queue_path"] = str(FilePath(folder, "queue"))
    return read_section(
        entry.section,
        {**raw, **defaults, "class": entry.alias},
        path,
        findings,
        known_elsewhere=partial(WRITERS.explain, entry.alias),
    )
