"""Which classes exist: one registry per kind, from alias and dotted name to section and code.

A new class takes an entry here, a module with its section, and a module with its code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Generic, TypeVar

from vmanomaly.closest import closest
from vmanomaly.config.model.auto import AutoSection
from vmanomaly.config.model.base import ModelSection
from vmanomaly.config.model.custom import CustomSection
from vmanomaly.config.model.holtwinters import HoltWintersSection
from vmanomaly.config.model.isolation_forest import (
    IsolationForestMultivariateSection,
    IsolationForestSection,
)
from vmanomaly.config.model.mad_online import MadOnlineSection
from vmanomaly.config.model.prophet import ProphetSection
from vmanomaly.config.model.quantile_online import QuantileOnlineSection
from vmanomaly.config.model.rolling_quantile import RollingQuantileSection
from vmanomaly.config.model.std import StdSection
from vmanomaly.config.model.temporal_envelope import TemporalEnvelopeSection
from vmanomaly.config.model.temporal_envelope_multivariate import (
    TemporalEnvelopeMultivariateSection,
)
from vmanomaly.config.model.zscore_online import ZscoreOnlineSection
from vmanomaly.config.problems import Findings, Path, show_value, suggest
from vmanomaly.config.reader.base import ReaderSection
from vmanomaly.config.reader.duckdb import DuckdbReaderSection
from vmanomaly.config.reader.noop import NoopReaderSection
from vmanomaly.config.reader.vlogs import VlogsReaderSection
from vmanomaly.config.reader.vm import VmReaderSection
from vmanomaly.config.scheduler.backtesting import BacktestingSection
from vmanomaly.config.scheduler.base import SchedulerSection
from vmanomaly.config.scheduler.noop import NoopSchedulerSection
from vmanomaly.config.scheduler.oneoff import OneoffSection
from vmanomaly.config.scheduler.periodic import PeriodicSection
from vmanomaly.config.section import Section, is_left_out
from vmanomaly.config.writer.base import WriterSection
from vmanomaly.config.writer.duckdb import DuckdbWriterSection
from vmanomaly.config.writer.noop import NoopWriterSection
from vmanomaly.config.writer.remote_write import RemoteWriteSection
from vmanomaly.config.writer.vm import VmWriterSection

SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True)
class Entry(Generic[SectionT]):
    """One class of a kind.

    Attributes
    ----------
    alias
        The canonical short name.
    names
        Other names of it, the dotted one first.
    section
        Its keys.
    implementation
        `module:name` of the class, or the function, that makes it.
    detector
        `module:name` of what makes its detector, where that is none of the usual ones.
    deprecated_names
        Names that still work, with a warning.
    """

    alias: str
    names: tuple[str, ...]
    section: type[SectionT]
    implementation: str
    deprecated_names: tuple[str, ...] = ()
    detector: str | None = None


class Registry(Generic[SectionT]):
    """The classes of one kind.

    Parameters
    ----------
    kind
        What the classes are, for messages.
    default
        Alias of the class where none is named; None if one must be.
    entries
        The classes.
    """

    def __init__(self, kind: str, default: str | None, *entries: Entry[SectionT]) -> None:
        self.kind = kind
        self.default = default
        self._by_name = {
            name: entry
            for entry in entries
            for name in (entry.alias, *entry.names, *entry.deprecated_names)
        }

    def __iter__(self) -> Iterator[Entry[SectionT]]:
        return iter(dict.fromkeys(self._by_name.values()))

    def __getitem__(self, name: str) -> Entry[SectionT]:
        return self._by_name[name]

    def get(self, name: str) -> Entry[SectionT] | None:
        """Return the class called `name`, by whichever of its names, or None."""
        return self._by_name.get(name)

    @property
    def aliases(self) -> list[str]:
        """The canonical names of all classes."""
        return [entry.alias for entry in self]

    def implementation(self, name: str) -> Any:
        """Return what runs the class called `name`; its code is imported only now."""
        entry = self._by_name.get(name) or self._by_name["custom"]
        return resolve_name(entry.implementation)

    def create(self, name: str, **parts: object) -> Any:
        """Make what the class called `name` describes.

        Parameters
        ----------
        name
            One of its names.
        parts
            What it can be made from. It is given those that its parameters name.
        """
        made = self.implementation(name)
        wanted = inspect.signature(made).parameters
        return made(**{part: value for part, value in parts.items() if part in wanted})

    def explain(
        self,
        name: str,
        key: str,
        part: Callable[[type[SectionT]], type[Section]] = lambda section: section,
    ) -> str | None:
        """Return why a key does not belong to the class called `name`, if it belongs to others.

        Parameters
        ----------
        name
            One of its names.
        key
            The key.
        part
            Which part of a section the key is in; the section itself by default.
        """
        known = part(self._by_name[name].section).yaml_keys()
        others = [entry.alias for entry in self if key in part(entry.section).yaml_keys()]
        if key in known or not others:
            return None
        close = suggest(key, known)
        remedy = close if close.startswith("did") else "remove it"
        return f"not a key of {name}, only of {', '.join(others)}; {remedy}"

    def may_be_custom(self, name: str) -> bool:
        """Tell whether `name` may be that of a user's class, outside the modules of the others."""
        module = name.rpartition(".")[0]
        modules = {each.rpartition(".")[0] for each in self._by_name} - {"model.custom"}
        parts = name.split(".")
        return (
            "custom" in self._by_name
            and module not in modules
            and all(map(str.isidentifier, parts))
        )

    def find(self, name: object, path: Path, findings: Findings) -> Entry[SectionT] | None:
        """Return the class that the value `name` of a key `class` means.

        Parameters
        ----------
        name
            What the YAML holds; None if nothing.
        path
            The place of the key.
        findings
            Takes a problem for a class that is unknown, and a warning for a deprecated name.
        """
        choose = f"available: {', '.join(self.aliases)}"
        if is_left_out(name):
            if self.default is None:
                findings.error(path, f"required, but not set; {choose}")
                return None
            name = self.default
        if not isinstance(name, str):
            findings.error(path, f"expected the name of a class, {show_value(path, name)}")
            return None
        entry = self.get(name)
        if entry is None:
            if self.may_be_custom(name):
                return self._by_name["custom"]
            close = closest(name, self._by_name, 0.75)
            reason = choose if close is None else f"did you mean {close}?"
            findings.error(path, f"unknown {self.kind} class, {show_value(path, name)}; {reason}")
            return None
        if name in entry.deprecated_names:
            findings.warn(path, f"{name} is deprecated and runs as {entry.alias}; write that")
        return entry


READERS: Registry[ReaderSection] = Registry(
    "reader",
    "vm",
    Entry("vm", ("reader.vm.VmReader",), VmReaderSection, "vmanomaly.reader.vm:VmReader"),
    Entry(
        "duckdb",
        ("reader.duckdb.DuckdbReader",),
        DuckdbReaderSection,
        "vmanomaly.reader.duckdb:DuckdbReader",
    ),
    Entry(
        "vlogs",
        ("reader.vlogs.VLogsReader",),
        VlogsReaderSection,
        "vmanomaly.reader.vlogs:VLogsReader",
    ),
    Entry(
        "noop", ("reader.noop.NoopReader",), NoopReaderSection, "vmanomaly.reader.noop:NoopReader"
    ),
)

WRITERS: Registry[WriterSection] = Registry(
    "writer",
    "vm",
    Entry("vm", ("writer.vm.VmWriter",), VmWriterSection, "vmanomaly.writer.vm:VmWriter"),
    Entry(
        "duckdb",
        ("writer.duckdb.DuckdbWriter",),
        DuckdbWriterSection,
        "vmanomaly.writer.duckdb:DuckdbWriter",
    ),
    Entry(
        "remote_write",
        ("writer.remote_write.RemoteWriter",),
        RemoteWriteSection,
        "vmanomaly.writer.remote_write:RemoteWriter",
    ),
    Entry(
        "noop", ("writer.noop.NoopWriter",), NoopWriterSection, "vmanomaly.writer.noop:NoopWriter"
    ),
)

SCHEDULERS: Registry[SchedulerSection] = Registry(
    "scheduler",
    "periodic",
    Entry(
        "periodic",
        ("scheduler.periodic.PeriodicScheduler",),
        PeriodicSection,
        "vmanomaly.scheduler.periodic:PeriodicScheduler",
    ),
    Entry(
        "oneoff",
        ("scheduler.oneoff.OneoffScheduler",),
        OneoffSection,
        "vmanomaly.scheduler.oneoff:OneoffScheduler",
    ),
    Entry(
        "backtesting",
        ("scheduler.backtesting.BacktestingScheduler",),
        BacktestingSection,
        "vmanomaly.scheduler.backtesting:BacktestingScheduler",
    ),
    Entry(
        "noop",
        ("scheduler.noop.NoopScheduler",),
        NoopSchedulerSection,
        "vmanomaly.scheduler.noop:NoopScheduler",
    ),
)

MODELS: Registry[ModelSection] = Registry(
    "model",
    None,
    Entry(
        "zscore_online",
        ("model.online.OnlineZscoreModel",),
        ZscoreOnlineSection,
        "vmanomaly.model.zscore_online:OnlineZscoreModel",
        ("zscore", "model.zscore.ZscoreModel"),
    ),
    Entry(
        "mad_online",
        ("model.online.OnlineMADModel",),
        MadOnlineSection,
        "vmanomaly.model.mad_online:OnlineMADModel",
        ("mad", "model.mad.MADModel"),
    ),
    Entry(
        "quantile_online",
        ("model.online.OnlineQuantileModel",),
        QuantileOnlineSection,
        "vmanomaly.model.quantile_online:OnlineQuantileModel",
    ),
    Entry(
        "temporal_envelope",
        ("model.online.TemporalEnvelopeModel",),
        TemporalEnvelopeSection,
        "vmanomaly.model.temporal_envelope.model:TemporalEnvelopeModel",
    ),
    Entry(
        "temporal_envelope_multivariate",
        ("model.online.TemporalEnvelopeMultivariateModel",),
        TemporalEnvelopeMultivariateSection,
        "vmanomaly.model.temporal_envelope_multivariate.model:TemporalEnvelopeMultivariateModel",
    ),
    Entry(
        "rolling_quantile",
        ("model.online.RollingQuantileModel",),
        RollingQuantileSection,
        "vmanomaly.model.rolling_quantile:RollingQuantileModel",
        ("model.rolling_quantile.RollingQuantileModel",),
    ),
    Entry(
        "std",
        ("model.online.StdModel",),
        StdSection,
        "vmanomaly.model.std:StdModel",
        ("model.std.StdModel",),
    ),
    Entry(
        "holtwinters",
        ("model.holtwinters.HoltWinters",),
        HoltWintersSection,
        "vmanomaly.model.holtwinters:HoltWinters",
    ),
    Entry(
        "prophet",
        ("model.prophet.ProphetModel",),
        ProphetSection,
        "vmanomaly.model.prophet.model:ProphetModel",
    ),
    Entry(
        "isolation_forest",
        ("model.isolation_forest.IsolationForestModel", "isolation_forest_univariate"),
        IsolationForestSection,
        "vmanomaly.model.isolation_forest.model:IsolationForestModel",
    ),
    Entry(
        "isolation_forest_multivariate",
        ("model.isolation_forest.IsolationForestMultivariateModel",),
        IsolationForestMultivariateSection,
        "vmanomaly.model.isolation_forest.model:IsolationForestMultivariateModel",
    ),
    Entry(
        "auto",
        ("model.auto.AutoTunedModel",),
        AutoSection,
        "vmanomaly.model.auto:create_auto",
        detector="vmanomaly.tuning.detector:AutoDetector",
    ),
    Entry(
        "custom",
        ("model.custom.CustomModel",),
        CustomSection,
        "vmanomaly.model.custom.create:create_custom",
        ("model.model.CustomModel",),
    ),
)
