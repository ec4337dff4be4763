"""Results as tidy CSV, a row a number, for whoever reads them without Python: UTF-8, commas, NaN as an empty field."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result


def of_result(result: Result) -> bytes:
    """Return the arrays of a result: array, unit, where in the array (axis0, axis1, ...), value.

    An axis whose entries have names has these, every other one the index from 0; a smaller array leaves the last axes
    empty. Truth values are 1 and 0.
    """
    most = max((array.ndim for array in result.arrays.values()), default=0)
    rows = [("array", "unit", *(f"axis{k}" for k in range(most)), "value")]
    for name, array in result.arrays.items():
        named = result.sidecar["names"].get(name, ())
        labels = [_labels(named[k] if k < len(named) else None, size) for k, size in enumerate(array.shape)]
        rest, unit = ("",) * (most - array.ndim), result.units.get(name, "")
        for at in np.ndindex(array.shape):
            where = (labels[axis][k] for axis, k in enumerate(at))
            rows.append((name, unit, *where, *rest, _text(array[at])))
    return _csv(rows)


def of_claims(every: Iterable[Claims]) -> bytes:
    """Return the checks of several figures: figure, preset, seed, key, what, measured, low, high, expected, holds.

    `low` and `high` are the ends of the interval of a number that has one; `holds` is yes, no or reported.
    """
    rows = [("figure", "preset", "seed", "key", "what", "measured", "low", "high", "expected", "holds")]
    for claims in every:
        for seed, checks in claims.checks.items():
            for check in checks:
                ends = [_text(np.float64(end)) for end in check["interval"] or (np.nan, np.nan)]
                holds = {True: "yes", False: "no", None: "reported"}[check["holds"]]
                told = (check["key"], check["what"], _text(np.float64(check["measured"])), *ends)
                rows.append((claims.name, claims.preset, str(seed), *told, check["expected"], holds))
    return _csv(rows)


def _labels(names: Sequence[str] | None, size: int) -> Sequence[str]:
    return [str(k) for k in range(size)] if names is None else names


def _text(x: Any) -> str:
    """Return a number in the fewest digits that give it back, in its own dtype."""
    if x.dtype.kind == "b":
        return str(int(x))
    return "" if x.dtype.kind == "f" and np.isnan(x) else str(x)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
