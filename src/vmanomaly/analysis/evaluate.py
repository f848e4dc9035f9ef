"""How good what was found is, where it is known what there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vmanomaly.incidents import Incident
from vmanomaly.series import Labels


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which something was anomalous.

    Attributes
    ----------
    start, end : int
        Unix milliseconds; both belong to it.
    series : Labels
        Labels that a series must have for it to count there; none for all series.
    """

    start: int
    end: int
    series: Labels = field(default_factory=Labels)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good what was found is.

    Attributes
    ----------
    n_windows, n_found : int
        The windows, and how many of them overlap an incident that was found.
    n_incidents, n_right : int
        The incidents that were found, and how many of them overlap a window.

    Examples
    --------
    >>> Evaluation(n_windows=4, n_found=3, n_incidents=5, n_right=3)
    Evaluation(3 of 4 windows found, 2 of 5 incidents wrong: precision 0.60, recall 0.75, F1 0.67)
    """

    n_windows: int
    n_found: int
    n_incidents: int
    n_right: int

    @property
    def precision(self) -> float:
        """The share of incidents that overlap a window; 1 where there are none."""
        return self.n_right / self.n_incidents if self.n_incidents else 1.0

    @property
    def recall(self) -> float:
        """The share of windows that were found; 1 where there are none."""
        return self.n_found / self.n_windows if self.n_windows else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def __repr__(self) -> str:
        return (
            f"Evaluation({self.n_found} of {self.n_windows} windows found, "
            f"{self.n_incidents - self.n_right} of {self.n_incidents} incidents wrong: "
            f"precision {self.precision:.2f}, recall {self.recall:.2f}, F1 {self.f1:.2f})"
        )


def evaluate_incidents(incidents: Sequence[Incident], windows: Sequence[Window]) -> Evaluation:
    """Compare the incidents that were found with what there was.

    Precision is counted over incidents and recall over windows, so that it matters neither how
    long a window is nor how many points of it have a high score.

    Parameters
    ----------
    incidents
        What was found.
    windows
        What there was.
    """
    right = [any(_meet(incident, window) for window in windows) for incident in incidents]
    found = [any(_meet(incident, window) for incident in incidents) for window in windows]
    return Evaluation(len(windows), sum(found), len(incidents), sum(right))


def _meet(incident: Incident, window: Window) -> bool:
    return (
        incident.start <= window.end
        and window.start <= incident.end
        and _concerns(window.series, incident.series)
    )


def _concerns(wanted: Mapping[str, str], series: Mapping[str, str]) -> bool:
    return all(series.get(name) == value for name, value in wanted.items())
