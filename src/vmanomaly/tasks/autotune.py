"""Autotune tasks: one configuration of a class for many series, found once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import orjson

from vmanomaly.config.loading.auto import check_frozen, tuned_class
from vmanomaly.config.loading.model_spec import written_model_spec
from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.problems import Findings, Path
from vmanomaly.config.reader import Query
from vmanomaly.config.registry import MODELS
from vmanomaly.config.section import read_section
from vmanomaly.config.tuned import parameters_of
from vmanomaly.context import RunContext
from vmanomaly.errors import ConfigError, DeadlineExceededError
from vmanomaly.executor import Executor
from vmanomaly.model import AnyModel, create_model, create_multivariate_model, warm_up
from vmanomaly.model.auto import check_optuna
from vmanomaly.model.grouping import group_channels, select
from vmanomaly.model.registry import check_with_library
from vmanomaly.series import SeriesBatch
from vmanomaly.tasks.characteristics import characterize
from vmanomaly.tasks.task import Note, TaskError
from vmanomaly.tuning import Outcome, Sample, tune
from vmanomaly.tuning.parallel import preferred_for, with_workers
from vmanomaly.tuning.report import score_of
from vmanomaly.tuning.spaces import Facts, space_of
from vmanomaly.tuning.splits import split

Read: TypeAlias = Callable[[RunContext], Sequence[tuple[SeriesBatch, int]]]
"""Returns for each query some of its series, and how many there are."""

_PARAMS = "optimization_params"
_TOP_LEVEL = ("anomaly_percentage", "optimized_business_params")
_READING_SHARE = 0.1
_PROFILE_SHARE = 0.25
"""Of the time that is left after reading."""
_LOADING_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Autotune:
    """What is asked for.

    Attributes
    ----------
    queries
        What is read, with their policies.
    class_name
        The canonical name of the class that is tuned.
    params
        How.
    frozen
        Keys of the class that are not tuned, and their values.
    timezone
        IANA name of the zone of calendar patterns.
    short_gap_steps
        Gaps up to so many steps are no gaps in the profile.
    use_profile_hints
        Whether what the series are like narrows the search.
    executor
        Executes trials.
    """

    queries: Sequence[Query]
    class_name: str
    params: OptimizationParams
    frozen: Mapping[str, Any] = field(default_factory=dict)
    timezone: str = "UTC"
    short_gap_steps: int = 2
    use_profile_hints: bool = True
    executor: Executor = field(default_factory=Executor)


@dataclass(frozen=True)
class Suggestion:
    """What came of it.

    Attributes
    ----------
    model
        The class with the best parameters.
    outcome
        How they were found, and how good they are.
    profile
        What the series are like.
    n_series, n_available
        The series that were read, and how many there are.
    """

    model: ModelSection
    outcome: Outcome
    profile: Mapping[str, Any]
    n_series: int
    n_available: int


def read_autotune(
    class_name: object,
    optimization: Mapping[str, Any],
    frozen: Mapping[str, Any],
    queries: Sequence[Query],
    **others: Any,
) -> Autotune:
    """Check what is asked for.

    Parameters
    ----------
    class_name
        Any name of the class.
    optimization
        As `optimization_params` of `auto`.
    frozen
        Keys of the class that are not tuned, and their values.
    queries, **others
        As `Autotune`.

    Raises
    ------
    ConfigError
        With every problem there is, or Optuna is not installed.
    """
    check_optuna("autotune")
    findings = Findings()
    tuned = tuned_class(class_name, ("tuned_class_name",), findings)
    if tuned is not None:
        section = check_frozen(tuned, frozen, {}, (), ("frozen_params",), findings)
        if section is not None:
            try:
                check_with_library(section, queries)
            except ConfigError as error:
                findings.errors_of(("frozen_params",), error)
    params = _read_params(optimization, findings)
    if tuned is None or params is None or findings.problems:
        raise findings.as_error()
    return Autotune(queries=queries, class_name=tuned, params=params, frozen=frozen, **others)


def autotune(request: Autotune, read: Read, context: RunContext, note: Note) -> bytes:
    """Do the work of an autotune task.

    Parameters
    ----------
    request
        What is asked for.
    read
        Reads the series; closes what it has opened.
    context
        May stop the work.
    note
        Told how far it is.

    Returns
    -------
    bytes
        JSON: a model spec, how it was found, and what the series are like.

    Raises
    ------
    TaskError
        There are no series, or they cannot be read in time.
    DatasourceError
        The data cannot be read.
    StoppedError
        As the context says.
    """
    found = suggest(request, read, context, note)
    return orjson.dumps(
        {
            "status": "success",
            "data": {
                "resultType": "autotune_suggestion",
                "modelConfig": written_model_spec(found.model),
                "bestParams": found.outcome.parameters,
                "bestScore": score_of(found.outcome.evaluation),
                "profile": found.profile,
                "optimization": _optimization(request, found.outcome),
                "inputQueryCount": len(request.queries),
                "tunedInputCount": found.n_series,
            },
            "stats": {
                "seriesFetched": str(found.n_series),
                "seriesEstimated": str(found.n_available),
                "seriesLimitApplied": str(found.n_series < found.n_available).lower(),
                "seriesLimitMode": "limitk",
            },
        }
    )


def suggest(
    request: Autotune,
    read: Read,
    context: RunContext | None = None,
    note: Note = lambda share, message, counts: None,
) -> Suggestion:
    """Find one configuration for all series; parameters as for `autotune`."""
    context = context or RunContext()
    params = request.params
    section_of = _section_of(request)
    started = time.monotonic()
    started += _load_kernels(request, section_of({}), params.n_jobs, context)
    deadline_s = None if params.timeout is None else started + params.timeout
    counts = {"series": 0, "points": 0, "trials": 0}
    note(0.0, "getting data", counts)
    in_time = RunContext(deadline_s, parent=context)
    try:
        given = read(in_time)
        batches = [batch for batch, _ in given]
        counts["series"] = sum(len(batch.labels) for batch in batches)
        counts["points"] = sum(batch.n_valid_points for batch in batches)
        if not counts["series"]:
            raise TaskError("the queries return no series; check them, and start and end")
        note(_READING_SHARE / 2, "looking at the series", counts)
        in_time.check()
    except DeadlineExceededError as error:
        context.check()
        raise TaskError(
            f"reading the series took longer than the timeout of {params.timeout:g} s; raise it, "
            "or select fewer series"
        ) from error
    left = in_time.remaining_s
    profile = characterize(
        _together(batches),
        request.timezone,
        request.short_gap_steps,
        context.child(None if left is None else _PROFILE_SHARE * left),
        partly=True,
    )

    def on_trial(n_trials: int) -> None:
        counts["trials"] = n_trials
        done = n_trials / params.n_trials
        if params.timeout is not None:
            done = max(done, (time.monotonic() - started) / params.timeout)
        share = _READING_SHARE + (1 - _READING_SHARE) * min(done, 1.0)
        note(share, f"trial {n_trials} of {params.n_trials}", counts)

    sample = _sample(request, section_of({}), batches)
    facts = _facts(request, sample, profile)
    space = space_of(request.class_name, facts, request.frozen, params.optimized_business_params)
    outcome = tune(
        section_of, sample, space, params, context, on_trial, deadline_s, request.executor
    )
    n_available = sum(n_series for _, n_series in given)
    return Suggestion(
        section_of(outcome.parameters), outcome, profile, counts["series"], n_available
    )


def _load_kernels(
    request: Autotune, section: ModelSection, n_jobs: int, context: RunContext
) -> float:
    """Load the kernels of the class, or compile them; return the seconds that do not count.

    Compiling takes long, but only once on a machine; and so does the start of worker processes.
    """
    begun = time.monotonic()
    model: AnyModel = (
        create_multivariate_model(section, request.queries)
        if section.multivariate
        else create_model(section, request.queries[0])
    )
    warm_up(model)
    workers = with_workers(request.executor, n_jobs)
    preferred = preferred_for(request.class_name)
    workers.map(warm_up, [(model,)] * workers.n_workers, context, preferred)
    return max(0.0, time.monotonic() - begun - _LOADING_S)


def _read_params(given: Mapping[str, Any], findings: Findings) -> OptimizationParams | None:
    """Read how to tune; what stands next to `optimization_params` is reported there."""
    found = Findings()
    params = read_section(OptimizationParams, given, (_PARAMS,), found)
    for place, message in found.details:
        path: Path = place[1:] if len(place) > 1 and place[1] in _TOP_LEVEL else place
        findings.error(path, message)
    return params


def _section_of(request: Autotune) -> Callable[[Mapping[str, Any]], ModelSection]:
    """Return what makes a section of the class; it can be pickled, as trials have to be."""
    return partial(_section, request.class_name, request.frozen)


def _section(class_name: str, frozen: Mapping[str, Any], chosen: Mapping[str, Any]) -> ModelSection:
    parameters = parameters_of(class_name, chosen, frozen)
    return MODELS[class_name].section.model_validate({**parameters, "class": class_name})


def _sample(request: Autotune, section: ModelSection, batches: Sequence[SeriesBatch]) -> Sample:
    if not section.multivariate:
        return Sample(request.queries, batches)
    aliases = [query.alias for query in request.queries]
    grouping, _ = group_channels(aliases, batches, section.groupby)
    grouped = select(grouping, aliases, batches).take(batches)
    if not grouped.labels:
        raise TaskError(f"no series has all labels of groupby: {', '.join(section.groupby)}")
    return Sample(request.queries, [grouped])


def _facts(request: Autotune, sample: Sample, profile: Mapping[str, Any]) -> Facts:
    params = request.params
    folds = split(
        sample.n_columns, params.n_splits, params.validation_scheme, params.train_val_ratio
    )
    return Facts(
        step=int(request.queries[0].step),
        n_points=min((fold.n_fit for fold in folds), default=0),
        tz=request.timezone,
        limit=params.anomaly_percentage,
        spread=sample.spread,
        profile=profile if request.use_profile_hints else None,
    )


def _together(batches: Sequence[SeriesBatch]) -> SeriesBatch:
    """Return the series of all queries, which are on the same grid."""
    if len(batches) == 1:
        return batches[0]
    labels = tuple(labels for batch in batches for labels in batch.labels)
    values = np.concatenate([batch.values for batch in batches])
    return SeriesBatch(labels, batches[0].timestamps, values)


def _optimization(request: Autotune, outcome: Outcome) -> dict[str, Any]:
    params, best, defaults = request.params, outcome.evaluation, outcome.defaults
    return {
        "n_trials": params.n_trials,
        "n_trials_done": outcome.n_trials,
        "timeout": params.timeout,
        "stopped_by": outcome.stopped_by,
        "seed": params.seed,
        "anomaly_percentage": params.anomaly_percentage,
        "elapsed_s": round(outcome.took_s, 3),
        "loss": best.loss,
        "violation": best.violation,
        "anomaly_share": best.share,
        "defaults": {
            "loss": defaults.loss,
            "violation": defaults.violation,
            "anomaly_share": defaults.share,
        },
    }
