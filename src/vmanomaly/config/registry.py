"""Which classes there are: one registry a kind, alias and dotted name to section and code.

A new class is one line here, one section, and one file of code.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Generic, TypeVar

from vmanomaly.config.model import (
    AutoSection,
    CustomSection,
    HoltWintersSection,
    IsolationForestMultivariateSection,
    IsolationForestSection,
    MadOnlineSection,
    ModelSection,
    ProphetSection,
    QuantileOnlineSection,
    RollingQuantileSection,
    StdSection,
    TemporalEnvelopeMultivariateSection,
    TemporalEnvelopeSection,
    ZscoreOnlineSection,
)
from vmanomaly.config.problems import Findings, Path, show_value
from vmanomaly.config.reader import (
    DuckdbReaderSection,
    ReaderSection,
    VlogsReaderSection,
    VmReaderSection,
)
from vmanomaly.config.scheduler import (
    BacktestingSection,
    OneoffSection,
    PeriodicSection,
    SchedulerSection,
)
from vmanomaly.config.section import Section
from vmanomaly.config.writer import (
    DuckdbWriterSection,
    RemoteWriteSection,
    VmWriterSection,
    WriterSection,
)

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
        `module:Class` of the code; None where this version has none.
    deprecated_names
        Names that still work, with a warning.
    """

    alias: str
    names: tuple[str, ...]
    section: type[SectionT]
    implementation: str | None = None
    deprecated_names: tuple[str, ...] = ()


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

    def __getitem__(self, name: str) -> Entry[SectionT]:
        return self._by_name[name]

    def get(self, name: str) -> Entry[SectionT] | None:
        """Return the class called `name`, by whichever of its names, or None."""
        return self._by_name.get(name)

    @property
    def aliases(self) -> list[str]:
        """The canonical names of all classes."""
        return list(dict.fromkeys(entry.alias for entry in self._by_name.values()))

    @property
    def available(self) -> list[str]:
        """The canonical names of the classes that this version runs."""
        return [alias for alias in self.aliases if self._by_name[alias].implementation]

    def may_be_custom(self, name: str) -> bool:
        """Tell whether `name` may be that of a user's class: any but in a module of the others."""
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
            Takes a problem for a class that is unknown, or that this version does not run, and a
            warning for a deprecated name.
        """
        choose = f"available: {', '.join(self.available)}"
        if name is None:
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
            close = difflib.get_close_matches(name, self._by_name, n=1, cutoff=0.75)
            reason = f"did you mean {close[0]}?" if close else choose
            findings.error(path, f"unknown {self.kind} class, {show_value(path, name)}; {reason}")
            return None
        if entry.implementation is None:
            findings.error(
                path,
                f"the {self.kind} class {entry.alias} is known, but not part of this version; "
                f"{choose}",
            )
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
    Entry("vlogs", ("reader.vlogs.VLogsReader",), VlogsReaderSection),
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
        ("model.rolling_quantile.RollingQuantileModel",),
        RollingQuantileSection,
        "vmanomaly.model.rolling_quantile:RollingQuantileModel",
    ),
    Entry("std", ("model.std.StdModel",), StdSection, "vmanomaly.model.std:StdModel"),
    Entry("holtwinters", ("model.holtwinters.HoltWinters",), HoltWintersSection),
    Entry("prophet", ("model.prophet.ProphetModel",), ProphetSection),
    Entry(
        "isolation_forest",
        ("model.isolation_forest.IsolationForestModel", "isolation_forest_univariate"),
        IsolationForestSection,
    ),
    Entry(
        "isolation_forest_multivariate",
        ("model.isolation_forest.IsolationForestMultivariateModel",),
        IsolationForestMultivariateSection,
    ),
    Entry("auto", ("model.auto.AutoTunedModel",), AutoSection),
    Entry(
        "custom",
        ("model.custom.CustomModel",),
        CustomSection,
        "vmanomaly.model.custom.adapter:PandasModel",
        ("model.model.CustomModel",),
    ),
)
