"""What a search found, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from vmanomaly.tuning.objective import Evaluation
from vmanomaly.tuning.study import Outcome

_STOPPED_BY = {
    "n_trials": "",
    "timeout": ", stopped by timeout",
    "space": ", all parameter sets",
    "data": ", too little data to judge any",
}


def summary(outcome: Outcome) -> str:
    """Say in one line what was chosen, and how good it is.

    Examples
    --------
    >>> best, defaults = Evaluation(0.01, 0.0, 1.25, 56), Evaluation(0.03, 0.02, 1.5, 56)
    >>> summary(Outcome({"z_threshold": 3.5}, best, defaults, 128, "n_trials", 2.0))
    'z_threshold=3.5; loss 1.25, 1% above 1; defaults: loss 1.5, 3% above 1, 2% over the limit; \
128 trials in 2.0 s'
    """
    chosen, defaults = outcome.evaluation, outcome.defaults
    how = (
        f"{outcome.n_trials} trial{'' if outcome.n_trials == 1 else 's'} in {outcome.took_s:.1f} s"
    )
    how += _STOPPED_BY[outcome.stopped_by]
    parameters = written(outcome.parameters) or "the defaults"
    if not chosen.is_judged:
        return f"{parameters}; {how}"
    return f"{parameters}; {_quality(chosen)}; defaults: {_quality(defaults)}; {how}"


def written(parameters: Mapping[str, Any]) -> str:
    """Write keys and values on one line.

    Examples
    --------
    >>> written({"quantiles": [0.01, 0.5, 0.99], "seasonal_interval": "1d"})
    'quantiles=[0.01, 0.5, 0.99], seasonal_interval=1d'
    """
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in parameters.items()
    )


def score_of(evaluation: Evaluation) -> float:
    """Return one number for how good a parameter set is, from 0 to 1, where 1 is best.

    1 / (1 + loss), as much less as the share of anomalies is too large; 0 where nothing is known.

    Examples
    --------
    >>> score_of(Evaluation(share=0.01, violation=0.0, loss=0.25, state_bytes=56))
    0.8
    """
    if not evaluation.is_judged or math.isnan(evaluation.loss):
        return 0.0
    return round(max(0.0, 1 / (1 + evaluation.loss) - evaluation.violation), 6)


def _quality(evaluation: Evaluation) -> str:
    if math.isinf(evaluation.loss):
        return "failed"
    quality = f"loss {_number(evaluation.loss)}, {_percent(evaluation.share)} above 1"
    if evaluation.violation > 0:
        quality += f", {_percent(evaluation.violation)} over the limit"
    return quality


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.3g}"


def _percent(share: float) -> str:
    return "none" if math.isnan(share) else f"{100 * share:.2g}%"
