"""The differences of two records in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from benchmarks.regression.compare import Difference, Name, Record

_SHOWN = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADER = f"{'model':40} {'series':>7} {'values':>11} {'differ':>7} {'values':>11}"


def sizes(before: Record, after: Record) -> dict[Name, int]:
    """Return how many values there are of each series, in the record that has more of them."""
    return {
        name: max(len(record[name].values) for record in (before, after) if name in record)
        for name in before.keys() | after.keys()
    }


def table(before: Record, after: Record, found: Sequence[Difference]) -> Iterator[str]:
    """Yield a line for each model: how much there is of it, and how much differs."""
    series, values, different_series, different_values = (Counter[str]() for _ in range(4))
    for name, n_values in sizes(before, after).items():
        series[name.model] += 1
        values[name.model] += n_values
    for each in found:
        different_series[each.name.model] += 1
        different_values[each.name.model] += each.n_values
    for model in sorted(series):
        yield (
            f"{model:40} {series[model]:7,} {values[model]:11,} "
            f"{different_series[model]:7,} {different_values[model]:11,}"
        )


def details(found: Sequence[Difference]) -> Iterator[str]:
    """Yield what differs, by model and output; of each, the series that differ first."""
    for (model, output), group in groupby(found, key=lambda each: each.name[:2]):
        earliest_first = sorted(group, key=lambda each: (each.first, each.name))
        n_values = sum(each.n_values for each in earliest_first)
        largest = max(each.largest for each in earliest_first)
        yield (
            f"{model} {output}: {_values(n_values)} of {len(earliest_first):,} series, "
            f"largest relative difference {largest:.2g}"
        )
        for each in earliest_first[:_SHOWN]:
            yield (
                f"  {_time(each.first)}: {_value(each.before)} before, {_value(each.after)} after, "
                f"in {each.name.series}; {_values(each.n_values)}"
            )
        if len(earliest_first) > _SHOWN:
            yield f"  and {len(earliest_first) - _SHOWN:,} more series"


def _time(micros: int) -> str:
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def _value(value: float | None) -> str:
    return "no value" if value is None else repr(value)


def _values(number: int) -> str:
    return f"{number:,} value" + ("" if number == 1 else "s")
