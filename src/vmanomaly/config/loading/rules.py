"""The rules that concern more than one section."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from vmanomaly.config.members import SPLIT_BY, Member
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.base import NEEDS_YHAT
from vmanomaly.config.problems import Findings, Path, expectation, show_value, suggest
from vmanomaly.config.reader import Query, ReaderSection
from vmanomaly.config.scheduler import SchedulerSection
from vmanomaly.config.secrets import environment_names, shown_name
from vmanomaly.config.settings import SettingsSection
from vmanomaly.config.values.fields import METRIC_NAME, filled_text
from vmanomaly.config.values.scalar import EnvironmentText
from vmanomaly.config.writer import NoopWriterSection, WriterSection

ValueT = TypeVar("ValueT")

MODEL_FOLDER = "VMANOMALY_MODEL_DUMPS_DIR"


def attachment(
    raw: Mapping[str, Any],
    key: Literal["queries", "schedulers"],
    known: list[str],
    path: Path,
    findings: Findings,
) -> tuple[str, ...]:
    """Return the aliases that a model's key `queries` or `schedulers` means.

    A wrong value counts as all, so that it is not the cause of further problems.

    Parameters
    ----------
    raw
        The model's mapping.
    key
        Which of the two.
    known
        The aliases there are.
    path
        The model's place in the YAML.
    findings
        Takes a problem for each alias that does not exist, and a warning where the key is
        left out.
    """
    place = (*path, key)
    if raw.get(key, "") == "":
        findings.warn(
            place, f"left out, so the model runs on all of them; write {key}: all to say so"
        )
        return tuple(known)
    value = raw[key]
    if value is None or value == []:
        return ()
    if value == "all":
        return tuple(known)
    if not isinstance(value, list):
        findings.error(
            place, f"expected a list of aliases, all or null, {show_value(place, value)}"
        )
        return tuple(known)
    aliases = []
    wrong = False
    for position, item in enumerate(value):
        try:
            alias = filled_text(item)
        except ValueError as error:
            findings.error((*place, position), expectation(str(error), place, item))
            wrong = True
            continue
        aliases.append(alias)
        # Without any known alias the section itself is missing or wrong, which is reported there.
        if known and alias not in known:
            what = "query" if key == "queries" else "scheduler"
            findings.error(
                (*place, position),
                f"no such {what}, {show_value(place, alias)}; {suggest(alias, known)}",
            )
            wrong = True
    return tuple(known) if wrong else tuple(dict.fromkeys(aliases))


def attached_models(
    models: Mapping[str, ModelSection], findings: Findings
) -> dict[str, ModelSection]:
    """Return the models that have a query and a scheduler; warn of the others."""
    attached = {}
    for alias, model in models.items():
        missing = [key for key in ("queries", "schedulers") if not getattr(model, key)]
        if missing:
            findings.warn(
                ("models", alias),
                f"not run, because it is attached to no {' and no '.join(missing)}",
            )
        else:
            attached[alias] = model
    return attached


def used_by(
    key: Literal["queries", "schedulers"],
    models: Mapping[str, ModelSection],
    items: Mapping[str, ValueT],
) -> dict[str, ValueT]:
    """Return the queries or schedulers that some model uses."""
    used = {alias for model in models.values() for alias in getattr(model, key)}
    return {alias: item for alias, item in items.items() if alias in used}


def warn_of_environment_aliases(path: Path, aliases: Iterable[str], findings: Findings) -> None:
    """Warn of aliases that come from environment variables: they can be read by everybody.

    Parameters
    ----------
    path
        Where the aliases stand.
    aliases
        The aliases.
    findings
        Takes a warning for each.
    """
    for alias in aliases:
        if isinstance(alias, EnvironmentText):
            findings.warn(
                (*path, alias),
                "comes from an environment variable; aliases are shown in logs, metrics and the "
                "labels of scores, so they must not hold secrets",
            )


def warn_of_unused(
    path: Path, all_aliases: Iterable[str], used: Iterable[str], findings: Findings
) -> None:
    """Warn of each alias that is not used."""
    kept = set(used)
    for alias in all_aliases:
        if alias not in kept:
            findings.warn((*path, alias), "not run, because no model uses it")


def warn_of_noop(
    reader: ReaderSection,
    writer: WriterSection,
    schedulers: Mapping[str, SchedulerSection],
    findings: Findings,
) -> None:
    """Warn of what does nothing because of a class `noop`."""
    if not reader.reads:
        findings.warn(("reader", "class"), "noop reads nothing, so that no model runs")
        return
    for alias, scheduler in schedulers.items():
        if not scheduler.runs:
            findings.warn(("schedulers", alias, "class"), "noop runs no model")
    if isinstance(writer, NoopWriterSection):
        findings.warn(("writer", "class"), "noop writes nothing: scores are computed and discarded")


def check_multivariate(
    models: Mapping[str, ModelSection], queries: Mapping[str, Query], findings: Findings
) -> None:
    """Check that the queries of each multivariate model share their timestamps and tenant.

    And their time zone, if the model looks at the calendar of all of them together.
    """
    for alias, model in models.items():
        follows_calendar = bool(getattr(model, "seasonal_features", ()))
        for key in ("step", "offset", "tenant_id", *(("tz",) if follows_calendar else ())):
            values = {
                name: str(getattr(queries[name], key)) for name in model.queries if name in queries
            }
            if len(set(values.values())) > 1:
                listed = ", ".join(
                    f"{shown_name(name)} has {value}" for name, value in values.items()
                )
                findings.error(
                    ("models", alias, "queries"),
                    f"the queries of a multivariate model must have the same {key}: {listed}",
                )


def warn_of_policies(
    models: Mapping[str, ModelSection], queries: Mapping[str, Query], findings: Findings
) -> None:
    """Warn of policies that do not do what they seem to do with the models on their queries."""
    _warn_of_unclipped(models, queries, findings)
    _warn_of_policies_without_yhat(models, queries, findings)


def _warn_of_unclipped(
    models: Mapping[str, ModelSection], queries: Mapping[str, Query], findings: Findings
) -> None:
    """Warn where an expected range may be wider than what is possible, so that nothing is found.

    Who writes `clip_predictions: false` knows it.
    """
    for alias, model in models.items():
        if (
            model.multivariate
            or not model.gives_yhat
            or "clip_predictions" in model.model_fields_set
        ):
            continue
        limited = [
            name
            for name in model.queries
            if name in queries
            and (queries[name].data_range is not None or model.data_range is not None)
        ]
        if limited:
            findings.warn(
                ("models", alias, "clip_predictions"),
                f"left out, although there is a data_range ({_some(limited)}): a value inside it "
                "can never be an anomaly where the expected range is wider; set it to true, or to "
                "false to keep it so",
            )


def _warn_of_policies_without_yhat(
    models: Mapping[str, ModelSection], queries: Mapping[str, Query], findings: Findings
) -> None:
    """Warn of policies of queries that change nothing for a model that says only how odd it is."""
    for alias, model in models.items():
        if model.gives_yhat:
            continue
        for key in NEEDS_YHAT:
            setting = [
                name
                for name in model.queries
                if name in queries
                and getattr(queries[name], key, None) not in (None, "both", (0.0, 0.0))
            ]
            if setting:
                findings.warn(
                    ("models", alias, "queries"),
                    f"{key} ({_some(setting)}) has no effect here: this class gives no yhat, "
                    "which it is about; use it with another model",
                )


def _some(names: list[str]) -> str:
    return ", ".join(map(shown_name, names[:3])) + (", ..." if len(names) > 3 else "")


def check_metric_names(writer: WriterSection, queries: Iterable[str], findings: Findings) -> None:
    """Check that `metric_format` gives valid metric names for every query or set of queries."""
    place = ("writer", "metric_format", "__name__")
    template = writer.metric_format["__name__"]
    for query in queries if "$QUERY_KEY" in template else ("",):
        name = template.replace("$VAR", "anomaly_score").replace("$QUERY_KEY", query)
        if not METRIC_NAME.fullmatch(name):
            hidden = environment_names(template) or environment_names(query)
            shown = f"a name with {hidden}" if hidden else repr(name)
            because = f" for the query {shown_name(query)}" if query else ""
            findings.error(
                place,
                f"gives {shown}{because}, which is not a valid metric name; letters, digits, _ "
                "and : are allowed, not starting with a digit",
            )


def warn_of_tenants(
    writer: WriterSection, queries: Mapping[str, Query], findings: Findings
) -> None:
    """Warn where scores would not go back to the tenants that were read."""
    if not hasattr(writer, "tenant_id") or writer.tenant_id == "multitenant":
        return
    tenants = {_full_tenant(query.tenant_id) for query in queries.values() if query.tenant_id}
    if not tenants or tenants == {_full_tenant(writer.tenant_id)}:
        return
    findings.warn(
        ("writer", "tenant_id"),
        f"the reader uses the tenants {', '.join(sorted(tenants))} and the writer "
        f"{writer.tenant_id or 'none'}; set it to multitenant to write scores back to the tenant "
        "they were computed for, unless those go to a single-node server, which has no tenants",
    )


def _full_tenant(tenant: str | None) -> str:
    if tenant is None or tenant == "multitenant" or ":" in tenant:
        return str(tenant)
    return f"{tenant}:0"


def check_filters(
    reader: ReaderSection,
    models: Mapping[str, ModelSection],
    member: Member,
    findings: Findings,
) -> None:
    """Check that there are filters if the config is to be split by them; warn of joint models."""
    if member.is_alone or member.split_by != "extra_filters":
        return
    for alias, model in models.items():
        if model.multivariate:
            findings.warn(
                ("models", alias),
                f"scores the series of all filters of a member jointly, so that {SPLIT_BY} "
                f"extra_filters changes its scores; use another strategy",
            )
    if not getattr(reader, "extra_filters", ()):
        findings.error(
            ("reader", "extra_filters"),
            f"required, because {SPLIT_BY} is extra_filters, but not set; set it, or set the "
            "variable to complete",
        )


def check_state(
    settings: SettingsSection,
    schedulers: Mapping[str, SchedulerSection],
    environ: Mapping[str, str],
    findings: Findings,
) -> None:
    """Check that there is a folder for the state if it is to be restored; warn of what has none."""
    place = ("settings", "restore_state")
    if not settings.restore_state:
        return
    for alias, scheduler in schedulers.items():
        if scheduler.ends_by_itself:
            findings.warn(
                ("schedulers", alias),
                f"{scheduler.class_name} runs once and ends: it keeps no state, and "
                "settings.restore_state changes nothing for it",
            )
    if not environ.get(MODEL_FOLDER):
        findings.error(
            place,
            f"needs the environment variable {MODEL_FOLDER}, the folder in which models are kept; "
            "set it, or set restore_state to false",
        )
