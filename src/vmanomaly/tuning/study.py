"""The search itself: Optuna's TPE over parameter sets, each tried once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from vmanomaly.config.model import ModelSection
from vmanomaly.config.model.auto import OptimizationParams
from vmanomaly.config.values.mappings import merged
from vmanomaly.context import RunContext
from vmanomaly.errors import DeadlineExceededError, WorkerDiedError
from vmanomaly.executor import Executor
from vmanomaly.tuning.objective import Evaluation, evaluate, failed
from vmanomaly.tuning.parallel import preferred_for, with_workers
from vmanomaly.tuning.sample import Sample
from vmanomaly.tuning.spaces import Dimension, combinations, start_of
from vmanomaly.tuning.splits import Fold, split

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

Place: TypeAlias = tuple[int, ...]
"""A parameter set: the number of an option of each dimension."""

OnTrial: TypeAlias = Callable[[int], None]
"""Takes how many trials are done."""

_AT_ONCE = 8
"""Trials that are chosen together: the same for any number of workers."""

_TIE = 1.01
_FIRST_MAY_EXCEED_S = 0.5
_VIOLATED = 1e6


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Attributes
    ----------
    parameters : dict
        The keys that were tuned, and their values.
    evaluation : Evaluation
        Of these.
    defaults : Evaluation
        Of the defaults of the class.
    n_trials : int
        How many parameter sets were tried, repetitions included.
    stopped_by : str
        `n_trials`, `timeout`, `space` if all parameter sets were tried, or `data` if no point could
        be judged.
    took_s : float
        Seconds.
    """

    parameters: dict[str, Any]
    evaluation: Evaluation
    defaults: Evaluation
    n_trials: int
    stopped_by: str
    took_s: float


def tune(
    section_of: Callable[[Mapping[str, Any]], ModelSection],
    sample: Sample,
    space: Sequence[Dimension],
    params: OptimizationParams,
    context: RunContext | None = None,
    on_trial: OnTrial = lambda n_trials: None,
    deadline_s: float | None = None,
    executor: Executor | None = None,
) -> Outcome:
    """Search the parameters that keep the share of anomalies within its limit and predict best.

    The first trial has the defaults of the class, and nothing that is worse is ever returned.
    Trials are chosen a few at a time, in a fixed number, and told in their order: the result is
    the same for any number of workers.

    Parameters
    ----------
    section_of
        Makes the section of a class with some of its keys. What executes trials in other processes
        pickles it.
    sample
        The data. Those of a class that scores groups are groups.
    space
        What is searched.
    params
        How.
    context
        May stop the search between two folds of a trial.
    on_trial
        Told after each few trials.
    deadline_s
        When the search has to end, by `time.monotonic`; None for `timeout` from now.
    executor
        Executes trials, `n_jobs` at a time; what suits the class by default. The first one is
        executed here.

    Raises
    ------
    StoppedError
        As the context says.
    """
    context = context or RunContext()
    started = time.monotonic()
    if deadline_s is None and params.timeout is not None:
        deadline_s = started + params.timeout
    folds = split(
        sample.n_columns, params.n_splits, params.validation_scheme, params.train_val_ratio
    )

    judge = partial(_judged, section_of, space, sample, folds, params)
    start = start_of(space)
    first_deadline = None if deadline_s is None else deadline_s + _FIRST_MAY_EXCEED_S
    defaults = judge(RunContext(first_deadline, parent=context), start, partly=True)
    tried = {start: defaults}
    n_trials = 1
    on_trial(n_trials)
    search = RunContext(deadline_s, parent=context)
    stopped_by = "n_trials"
    if not defaults.is_judged:
        stopped_by = "timeout" if search.remaining_s == 0.0 else "data"
    elif params.n_trials > 1 and space:
        workers = with_workers(executor or Executor(), params.n_jobs)
        preferred = preferred_for(section_of(parameters_at(space, start)).class_name)

        def judge_all(places: Sequence[Place]) -> list[Evaluation | None]:
            pieces = [(place,) for place in places]
            found = workers.map(partial(_attempt, judge, search), pieces, context, preferred)
            return [_evaluation_of(each) for each in found]

        n_trials, stopped_by = _search(space, params, judge_all, tried, context, search, on_trial)
    elif not space:
        stopped_by = "space"
    best = _best(tried, start, params.optimize_complexity)
    return Outcome(
        parameters_at(space, best),
        tried[best],
        defaults,
        n_trials,
        stopped_by,
        time.monotonic() - started,
    )


def parameters_at(space: Sequence[Dimension], place: Place) -> dict[str, Any]:
    """Return the keys and values of a parameter set."""
    options = (dimension.options[number] for dimension, number in zip(space, place, strict=True))
    return merged(*options)


def _judged(
    section_of: Callable[[Mapping[str, Any]], ModelSection],
    space: Sequence[Dimension],
    sample: Sample,
    folds: Sequence[Fold],
    params: OptimizationParams,
    context: RunContext,
    place: Place,
    partly: bool = False,
) -> Evaluation:
    section = section_of(parameters_at(space, place))
    limit = params.anomaly_percentage
    return evaluate(section, sample, folds, limit, params.exact, context, partly=partly)


def _attempt(
    judge: Callable[[RunContext, Place], Evaluation], search: RunContext, place: Place
) -> Evaluation | None:
    """Judge a parameter set; None if the time of the search is up. Runs where trials do."""
    try:
        search.check()
        return judge(search, place)
    except DeadlineExceededError:
        return None


def _evaluation_of(found: Evaluation | BaseException | None) -> Evaluation | None:
    if isinstance(found, WorkerDiedError):
        return failed(found)
    if isinstance(found, BaseException):
        raise found
    return found


def _search(
    space: Sequence[Dimension],
    params: OptimizationParams,
    judge_all: Callable[[Sequence[Place]], list[Evaluation | None]],
    tried: dict[Place, Evaluation],
    context: RunContext,
    search: RunContext,
    on_trial: OnTrial,
) -> tuple[int, str]:
    """Try parameter sets until there are enough. Returns their number, and why it is over."""
    import optuna  # noqa: PLC0415 - an extra, slow to import

    start = start_of(space)
    distributions = {each.name: _distribution(each) for each in space}
    n_trials, n_places = 1, combinations(space)
    with _demoted():
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=params.seed))
    names = [each.name for each in space]
    study.add_trial(
        optuna.trial.create_trial(
            params=dict(zip(names, start, strict=True)),
            distributions=distributions,
            value=_value(tried[start]),
        )
    )

    while n_trials < params.n_trials:
        if len(tried) >= n_places:
            return n_trials, "space"
        asked: list[tuple[optuna.trial.Trial, Place]] = []
        for _ in range(min(_AT_ONCE, params.n_trials - n_trials)):
            context.check()
            if search.remaining_s == 0.0:
                return n_trials, "timeout"
            trial = study.ask(distributions)
            asked.append((trial, tuple(trial.params[name] for name in names)))
        new = list(dict.fromkeys(place for _, place in asked if place not in tried))
        results = judge_all(new)
        context.check()
        tried |= {
            place: result for place, result in zip(new, results, strict=True) if result is not None
        }
        for trial, place in asked:
            if place in tried:
                study.tell(trial, _value(tried[place]))
                n_trials += 1
        on_trial(n_trials)
        if any(result is None for result in results):
            return n_trials, "timeout"
    return n_trials, "n_trials"


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    import optuna  # noqa: PLC0415 - an extra, slow to import

    last = len(dimension.options) - 1
    if dimension.is_ordered:
        return optuna.distributions.IntDistribution(0, last)
    return optuna.distributions.CategoricalDistribution(range(last + 1))


def _value(evaluation: Evaluation) -> float:
    """Return one finite number that is in the order of the ranks."""
    violation, loss = (math.inf if math.isnan(part) else part for part in evaluation.rank)
    return _VIOLATED * min(violation, 1.0) + (loss / (1.0 + loss) if loss < math.inf else 1.0)


def _best(tried: Mapping[Place, Evaluation], start: Place, prefer_small: bool) -> Place:
    """Return the best parameter set; of those within 1 % of it, the one with the smallest state."""
    known = {place: each for place, each in tried.items() if each.is_judged}
    if not known:
        return start
    least = min(each.rank for each in known.values())
    limit = tried[start].rank if tried[start].is_judged else least
    equal = {
        place: each
        for place, each in known.items()
        if each.violation <= least[0] * _TIE and each.loss <= least[1] * _TIE and each.rank <= limit
    }
    if not prefer_small:
        return min(equal, key=lambda place: equal[place].rank)
    return min(equal, key=lambda place: (equal[place].state_bytes, equal[place].rank))


_is_demoted: ContextVar[bool] = ContextVar("is_demoted", default=False)


class _Demotion(logging.Filter):
    """Lets what Optuna says of our studies appear at the level DEBUG of our own logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_demoted.get():
            return True
        logger.debug("%s", record.getMessage())
        return False


_DEMOTION = _Demotion()


@contextmanager
def _demoted() -> Iterator[None]:
    logging.getLogger("optuna.storages._in_memory").addFilter(_DEMOTION)
    token = _is_demoted.set(True)
    try:
        yield
    finally:
        _is_demoted.reset(token)
