"""Cutting a config into sub-configs, each of which can run on its own.

A sub-config is a selection of the units of a config: every model on its queries under each of its
schedulers. All sections that are not split belong to each sub-config.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from vmanomaly.config.config import Config, Share, UnitAliases
from vmanomaly.config.members import Member
from vmanomaly.config.secrets import shown_name
from vmanomaly.errors import ConfigError
from vmanomaly.keys import query_key

_Key: TypeAlias = tuple[tuple[str, ...], ...]

_KEYS = {"schedulers": (0,), "models": (1,), "queries": (2,), "complete": (0, 1, 2)}
"""Which of scheduler, model and queries distinguish sub-configs, by strategy."""


_NO_FILTERS = (
    "reader.extra_filters: required, since the config is to be split by it, but not set; set it, "
    "or split by complete"
)


@dataclass(frozen=True)
class SubConfig:
    """A part of a config that can run on its own.

    Attributes
    ----------
    name
        What it was split by: aliases, or a selector.
    units
        The aliases of scheduler, model and queries of each of its units.
    extra_filters
        The selectors of the reader; None for those of the whole config.
    """

    name: str
    units: frozenset[UnitAliases]
    extra_filters: tuple[str, ...] | None = None


def split(config: Config, strategy: str) -> list[SubConfig]:
    """Cut a config into sub-configs.

    Parameters
    ----------
    config
        A valid config.
    strategy
        What one sub-config has: `schedulers`, one scheduler with all on it; `models`, one model;
        `queries`, one query with the univariate models on it, or the queries that a multivariate
        model scores jointly; `extra_filters`, one selector of the reader; `complete`, one model on
        such queries under one scheduler.

    Returns
    -------
    list of SubConfig
        Sorted by name.

    Raises
    ------
    ConfigError
        It is to be split by `extra_filters`, and has none.
    """
    if strategy == "extra_filters":
        return _split_by_filters(config)
    groups: dict[_Key, set[UnitAliases]] = {}
    for scheduler, model, queries in _running_units(config):
        parts = ((scheduler,), (model,), queries)
        key = tuple(parts[i] for i in _KEYS[strategy])
        groups.setdefault(key, set()).add((scheduler, model, queries))
    named = sorted((":".join(map(_shown, key)), key) for key in groups)
    return [SubConfig(name, frozenset(groups[key])) for name, key in named]


def own_part(config: Config) -> Config:
    """Return what the member runs that `config.member` describes; all of it for one alone."""
    if config.member.is_alone:
        return config
    sub_configs = split(config, config.member.split_by)
    own = [sub_configs[i] for i in config.member.own(len(sub_configs))]
    part = select(config, own, len(sub_configs))
    if not config.member.has_replicas:
        return part
    schedulers = {alias: section.for_replicas() for alias, section in part.schedulers.items()}
    return replace(part, schedulers=schedulers)


def described(member: Member, share: Share) -> str:
    """Return which part of a config a member runs, in words.

    Examples
    --------
    >>> described(Member(1, 3, 2), Share(("a", "b"), 3, frozenset()))
    'Member 1 of 3 (from 0), replication factor 2, split by complete: 2 of 3 sub-configs'
    """
    n = share.n_total
    return (
        f"Member {member.number} of {member.count} (from 0), replication factor "
        f"{member.replication_factor}, split by {member.split_by}: {len(share.names)} of {n} "
        f"sub-config{'' if n == 1 else 's'}"
    )


def select(config: Config, sub_configs: Sequence[SubConfig], n_total: int) -> Config:
    """Return a config that runs only some of the sub-configs of another one.

    Parameters
    ----------
    config
        The whole config.
    sub_configs
        What is selected.
    n_total
        The number of sub-configs of the whole config.
    """
    units = frozenset(unit for each in sub_configs for unit in each.units)
    models = {}
    for alias, section in config.models.items():
        own = [unit for unit in units if unit[1] == alias]
        if own:
            queries, schedulers = _attachments(own)
            models[alias] = section.model_copy(
                update={
                    "queries": tuple(query for query in section.queries if query in queries),
                    "schedulers": tuple(each for each in section.schedulers if each in schedulers),
                }
            )
    queries, schedulers = _attachments(units)
    reader: dict[str, Any] = {"queries": _only(config.reader.queries, queries)}
    filters = [each.extra_filters for each in sub_configs if each.extra_filters is not None]
    if filters:
        reader["extra_filters"] = tuple(dict.fromkeys(sum(filters, ())))
    return replace(
        config,
        reader=config.reader.model_copy(update=reader),
        models=models,
        schedulers=_only(config.schedulers, schedulers),
        share=Share(tuple(each.name for each in sub_configs), n_total, units),
    )


def sub_mapping(sections: Mapping[str, Any], sub_config: SubConfig) -> dict[str, Any]:
    """Return the sections of one sub-config, for a file.

    Parameters
    ----------
    sections
        Those of the whole config, as they were written.
    sub_config
        A part of it.
    """
    queries, schedulers = _attachments(sub_config.units)
    reader = {**sections["reader"], "queries": _only(sections["reader"]["queries"], queries)}
    if sub_config.extra_filters is not None:
        reader["extra_filters"] = list(sub_config.extra_filters)
    models = {}
    for alias, model in sections["models"].items():
        own = [unit for unit in sub_config.units if unit[1] == alias]
        if own:
            on_queries, under = _attachments(own)
            models[alias] = {
                **model,
                "queries": [query for query in reader["queries"] if query in on_queries],
                "schedulers": [each for each in sections["schedulers"] if each in under],
            }
    return {
        **sections,
        "schedulers": _only(sections["schedulers"], schedulers),
        "models": models,
        "reader": reader,
    }


def _split_by_filters(config: Config) -> list[SubConfig]:
    filters = getattr(config.reader, "extra_filters", ())
    if not filters:
        raise ConfigError([_NO_FILTERS])
    units = frozenset(_running_units(config))
    named = sorted((shown_name(each), each) for each in dict.fromkeys(filters))
    return [SubConfig(name, units, (each,)) for name, each in named]


def _running_units(config: Config) -> list[UnitAliases]:
    return [unit for unit in config.units if config.schedulers[unit[0]].runs]


def _shown(aliases: Iterable[str]) -> str:
    return query_key(map(shown_name, aliases))


def _attachments(units: Iterable[UnitAliases]) -> tuple[set[str], set[str]]:
    """Return the queries and the schedulers of some units."""
    queries: set[str] = set()
    schedulers: set[str] = set()
    for scheduler, _, on in units:
        queries.update(on)
        schedulers.add(scheduler)
    return queries, schedulers


def _only(items: Mapping[str, Any], aliases: set[str]) -> dict[str, Any]:
    return {alias: item for alias, item in items.items() if alias in aliases}
