"""What a benchmark gives back: rows that compare one quantity of ours with a peer's, and free tables."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from benchmarks.harness import Timing


@dataclass(frozen=True)
class Row:
    """One comparison; quantities are Timings, seconds (an allowance, say), or bytes for `unit="bytes"`.

    `target` bounds ours/peer from above (None: for information only). `agreement` is the relative difference of the
    two results, which must be below `tolerance` for the comparison to mean anything.
    """

    what: str
    ours: str
    ours_cost: Timing | float
    peer: str
    peer_cost: Timing | float
    agreement: float | None = None
    tolerance: float = 1e-9
    target: float | None = None
    unit: str = "seconds"
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over the peer's: below 1, ours costs less."""
        return middle(self.ours_cost) / middle(self.peer_cost)

    @property
    def agrees(self) -> bool:
        """Whether both computed the same numbers (or there were none to compare)."""
        return self.agreement is None or bool(self.agreement <= self.tolerance)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; False where the numbers disagree, None without a target."""
        return None if self.target is None else self.agrees and self.ratio <= self.target


@dataclass(frozen=True)
class Table:
    """A table for the report, with the sentence that explains it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass
class Result:
    """What one benchmark measured; `missing` names what could not be, and why; `about` is the run's provenance."""

    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: bool = False
    about: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Result:
        """Return the result that a report's JSON holds."""
        names = [f.name for f in fields(Row)]
        costs = [{side: _cost(row[side]) for side in ("ours_cost", "peer_cost")} for row in stored["rows"]]
        rows = [
            Row(**{**{name: row[name] for name in names}, **both})
            for row, both in zip(stored["rows"], costs, strict=True)
        ]
        tables = [Table(**table) for table in stored["tables"]]
        return cls(rows, tables, stored["missing"], stored["failed"], stored["about"])


def _cost(stored: dict[str, Any] | float) -> Timing | float:
    return Timing(**stored) if isinstance(stored, dict) else stored


def middle(cost: Timing | float) -> float:
    """Return the median of a Timing, or the number itself."""
    return cost.median if isinstance(cost, Timing) else cost


def relative_difference(a: object, b: object) -> float:
    """Return max |a - b| / max(|a|, |b|) over the entries; 0 where both are zero, inf where one is not finite."""
    x, y = np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel()
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("inf")
    size = np.maximum(np.abs(x), np.abs(y))
    return float((np.abs(x - y) / np.where(size == 0, 1.0, size)).max())
