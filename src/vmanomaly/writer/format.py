"""Names and labels of the series that a writer writes."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

from vmanomaly.clock import Clock
from vmanomaly.episodes import Episodes
from vmanomaly.series import Labels, Origin

MULTITENANT = "multitenant"
ACCOUNT_LABEL = "vm_account_id"
_EXPORTED = "exported_"
_PLACEHOLDER = re.compile(r"\$(VAR|QUERY_KEY)")

_ACCOUNT_MISSING = (
    f"The label `{ACCOUNT_LABEL}` was not found in the label set of %s, "
    "but tenant_id='multitenant' is set in writer. "
    "The data will be written to the default tenant 0:0. "
    "Ensure that the query retains the necessary multi-tenant labels, "
    f"or adjust the aggregation settings to preserve `{ACCOUNT_LABEL}` key in the label set."
)
_ACCOUNT_UNEXPECTED = (
    "The label set for the metric %s contains multi-tenancy labels, "
    "but the write endpoint is configured for single-tenant mode (tenant_id != 'multitenant'). "
    "Either adjust the query in the reader to avoid multi-tenancy labels "
    f"or ensure that reserved key `{ACCOUNT_LABEL}` is not explicitly set "
    "for single-tenant environments."
)


def fill_placeholders(template: str, output: str, query_key: str) -> str:
    """Return `template` with `$VAR` and `$QUERY_KEY` replaced, wherever they occur.

    Replaced text is not searched for placeholders again.

    Examples
    --------
    >>> fill_placeholders("$QUERY_KEY.$VAR.$VAR", "yhat", "cpu")
    'cpu.yhat.yhat'
    """
    return _PLACEHOLDER.sub(
        lambda match: output if match[1] == "VAR" else query_key,
        template,
    )


def added_labels(metric_format: Mapping[str, str], origin: Origin, output: str) -> dict[str, str]:
    """Return the labels that all series of one output share, `__name__` first.

    Parameters
    ----------
    metric_format
        The section of that name: label names to templates, `__name__` among them. A label of the
        same name as one of the service's own (`model_alias`, ...) replaces it.
    origin
        Whose predictions are written.
    output
        Name of the output, such as `anomaly_score`.

    Returns
    -------
    dict of str to str
        Without empty values. Its names are the same for every output.

    Examples
    --------
    >>> origin = Origin(("cpu",), "zscore", "every_minute", "default")
    >>> added_labels({"__name__": "my_$VAR", "for": "$QUERY_KEY"}, origin, "yhat")
    {'__name__': 'my_yhat', 'for': 'cpu', 'model_alias': 'zscore', \
'scheduler_alias': 'every_minute', 'preset': 'default'}
    """
    added = {
        name: fill_placeholders(template, output, origin.query_key)
        for name, template in metric_format.items()
    }
    added = {"__name__": added.pop("__name__"), **added}
    added.setdefault("model_alias", origin.model_alias)
    added.setdefault("scheduler_alias", origin.scheduler_alias)
    added.setdefault("preset", origin.preset)
    return {name: value for name, value in added.items() if value}


def kept_labels(labels: Mapping[str, str], added: Collection[str]) -> dict[str, str]:
    """Return what a written series keeps of its input's labels.

    `__name__` and empty values are left out. A label whose name is among those of `added` moves
    to `exported_<label>`, and if that is taken too, to `exported_exported_<label>` and so on, the
    shortest names first, as Prometheus does with `honor_labels: false`.

    Examples
    --------
    >>> kept_labels({"__name__": "node_load1", "cpu": "0", "for": "me"}, {"__name__", "for"})
    {'cpu': '0', 'exported_for': 'me'}
    """
    kept: dict[str, str] = {}
    clashing: list[tuple[str, str]] = []
    for name, value in labels.items():
        if name == "__name__" or not value:
            continue
        if name in added:
            clashing.append((name, value))
        else:
            kept[name] = value
    for name, value in sorted(clashing, key=lambda label: len(label[0])):
        free = _EXPORTED + name
        while free in added or free in kept:
            free = _EXPORTED + free
        kept[free] = value
    return kept


def written_labels(
    labels: Mapping[str, str],
    metric_format: Mapping[str, str],
    origin: Origin,
    output: str,
) -> Labels:
    """Return all labels of a written series, its `__name__` included.

    The labels of the input series without its `__name__`, then `model_alias`, `scheduler_alias`
    and `preset`, then `metric_format`; the later wins. See `kept_labels` for clashes.

    Examples
    --------
    >>> written_labels(
    ...     {"__name__": "node_load1", "cpu": "0"},
    ...     {"__name__": "$VAR", "for": "$QUERY_KEY"},
    ...     Origin(("load",), "zscore", "every_minute", "default"),
    ...     "yhat",
    ... )
    {__name__="yhat", cpu="0", for="load", model_alias="zscore", preset="default", \
scheduler_alias="every_minute"}
    """
    added = added_labels(metric_format, origin, output)
    return Labels({**kept_labels(labels, added), **added})


class TenancyWarnings:
    """Finds label sets that do not match the tenant written to, and warns from time to time.

    Parameters
    ----------
    multitenant
        Whether the labels choose the tenant (`tenant_id: multitenant`).
    logger
        Where to warn.
    clock
        Tells when to warn again.

    Examples
    --------
    >>> warnings = TenancyWarnings(multitenant=True, logger=logging.getLogger("vmanomaly.example"))
    >>> warnings.check("cpu", n_series=2, n_with_account=2)
    False
    >>> [warnings.check("cpu", n_series=2, n_with_account=1) for _ in range(2)]
    [True, False]
    """

    INTERVAL_S = 600.0

    def __init__(
        self, multitenant: bool, logger: logging.Logger, clock: Clock | None = None
    ) -> None:
        self._message = _ACCOUNT_MISSING if multitenant else _ACCOUNT_UNEXPECTED
        self._multitenant = multitenant
        self._episodes = Episodes(logger, clock, again_after_s=self.INTERVAL_S)

    def check(self, query_key: str, n_series: int, n_with_account: int) -> bool:
        """Warn about a query if that is due, and return whether it was; it is written in any case.

        A multitenant writer needs `vm_account_id` in every label set: without it the server takes
        the tenant 0:0. With any other writer it must not be there. A query is warned about at most
        once in ten minutes.

        Parameters
        ----------
        query_key
            Alias of the query.
        n_series, n_with_account
            How many series are written, and how many of them have the label `vm_account_id`.
        """
        if n_with_account == (n_series if self._multitenant else 0):
            return False
        return self._episodes.begin(query_key, self._message % query_key)
