"""A fitted Prophet as JSON, without what predictions do not need."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from vmanomaly.model.state import Array

PARAMETERS = ("k", "m", "delta", "beta", "sigma_obs")
"""What Stan has fitted and predictions need."""

_NEEDED = {"params", "seasonalities", "changepoints_t", "start", "t_scale", "y_scale", "history"}
_MOST_BYTES = 64 << 20


def to_document(fitted: Any) -> Array:
    """Return a fitted Prophet as the bytes of a JSON document, uint8.

    Of the history only two rows are left, whose distance is the mean distance of all: that is what
    predictions of single points take from it.
    """
    n_rows = len(fitted.history)
    fitted.history = fitted.history.iloc[:2].assign(t=[0.0, 1.0 / (n_rows - 1)])
    fitted.history_dates = fitted.history_dates.iloc[:2]
    fitted.params = {name: fitted.params[name] for name in PARAMETERS}
    fitted.fit_kwargs = {}
    document = import_module("prophet.serialize").model_to_dict(fitted)
    return np.frombuffer(json.dumps(document).encode(), np.uint8)


def from_document(document: Array) -> Any:
    """Return a Prophet that predicts as the one that the document was made of."""
    return import_module("prophet.serialize").model_from_dict(json.loads(document.tobytes()))


def problem_of_documents(arrays: Mapping[str, Array]) -> str | None:
    """Return what is wrong with the documents of a stored state; a `Rule`."""
    rows = zip(pairwise(arrays["document_offsets"].tolist()), arrays["is_constant"], strict=True)
    for (begin, end), is_constant in rows:
        if is_constant != (begin == end):
            return "one per series that is not constant expected"
        if not is_constant and not _is_sound(arrays["document"][begin:end]):
            return "not what Prophet has learned"
    return None


def _is_sound(document: Array) -> bool:
    """Tell whether predictions from a document can take no more than others."""
    if len(document) > _MOST_BYTES:
        return False
    try:
        found = json.loads(document.tobytes())
        parameters = {name: np.array(found["params"][name], np.float64) for name in PARAMETERS}
        n_waves = sum(2 * int(each["fourier_order"]) for each in found["seasonalities"][1].values())
        numbers = [found[name] for name in ("start", "t_scale", "y_scale")]
        numbers += found["changepoints_t"]
        return (
            found.keys() >= _NEEDED
            and set(found["params"]) == set(PARAMETERS)
            and all(np.isfinite(values).all() for values in parameters.values())
            and bool(np.isfinite(np.array(numbers, np.float64)).all())
            and found["t_scale"] > 0.0
            and 0 <= n_waves <= parameters["beta"].shape[-1]
        )
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return False
