"""What the problems of `own_loss` cost at least: operations and bytes, counted, at rates that short probes measure.

Counted for a step and its pullback together. The derivative of a regression's gradient X' r(X w) along u is
X' (r' X u): there are four products with X, two forwards and two backwards, 8 B n d operations. A product with X' can
go through a row while the product with the row is at hand, so that X has to be read twice, once forwards and once
backwards; a library that calls a routine a product reads it four times. The loss takes an exponential and a log1p a
sample, once: what the way back needs of them is kept. Of the network only products with the images are counted, four
as well, 2 n p H each; of the LSTM its one product forwards and two backwards, 2 N (1 + H) 4 H each, and five
exponentials or hyperbolic tangents a unit. All else (Adam's entries of w, sums, statuses, digits) is left out.

`least` = the larger of operations at the rate of a large matrix product and bytes at the rate of a dot product over an
array of that size, and NumPy's time for the functions. `by routines` = the products by BLAS in the shapes that they
have, and the same functions: where one gets to with one routine after the other, and nothing in between. Of
the smallest problem every probe is mostly the cost of a call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from benchmarks.own_tasks import Case
from benchmarks.results import Row, Table, middle

_LEAST_SECONDS, _ROUNDS = 2e-3, 7
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """What a step and its pullback do: `products` as pairs of shapes, entries read, and entries under each function."""

    products: list[tuple[Shape, Shape]]
    read: int
    functions: dict[str, int] = field(default_factory=dict)

    @property
    def operations(self) -> int:
        """Multiplications and additions of the products."""
        return sum(2 * prod(a) * b[-1] for a, b in self.products)


def work(case: Case) -> Work:
    """Return the work of a step and its pullback."""
    if case.kind == "network":
        p, hidden, classes, n = case.sizes
        there, back = ((n, p), (p, hidden)), ((p, n), (n, hidden))
        return Work([there, back] * 2, 2 * n * p, {"tanh": n * hidden, "exp": n * classes})
    batch, n, d = case.sizes[:3]
    there, back = ((batch, n, d), (batch, d, 1)), ((batch, d, n), (batch, n, 1))
    if case.kind == "classes":
        k = case.sizes[3]
        there, back = ((batch, n, d), (batch, d, k)), ((batch, d, n), (batch, n, k))
        return Work([there, back] * 2, 2 * batch * n * d, {"exp": batch * n * k})
    if case.kind in ("logistic", "decayed"):
        return Work([there, back] * 2, 2 * batch * n * d, {"exp": batch * n, "log1p": batch * n})
    hidden, count = case.sizes[3], batch * d
    gates = [
        ((count, 1 + hidden), (1 + hidden, 4 * hidden)),
        ((count, 4 * hidden), (4 * hidden, 1 + hidden)),
        ((1 + hidden, count), (count, 4 * hidden)),
    ]
    kept = 2 * count * 7 * hidden  # of gates and of both memories, written once and read once
    units = count * hidden
    return Work([there, back] * 2 + gates, 2 * batch * n * d + kept, {"exp": 3 * units, "tanh": 2 * units})


@dataclass(frozen=True)
class Floor:
    """Seconds of a call of T steps, and the rates that they were computed from."""

    least: float
    by_routines: float
    operations_per_second: float
    bytes_per_second: float


def floor(case: Case) -> Floor:
    """Return the floor of a case, from probes that take a tenth of a second."""
    needed, dtype = work(case), np.dtype(case.dtype)
    functions = sum(_function_seconds(name, count, dtype) for name, count in needed.functions.items())
    speed, width = _operations_per_second(dtype), _bytes_per_second(needed.read // 2, dtype)
    moved = needed.read * dtype.itemsize / width
    products = sum(_product_seconds(a, b, dtype) for a, b in needed.products)
    least = max(needed.operations / speed, moved) + functions
    return Floor(case.steps * least, case.steps * (products + functions), speed, width)


def table(measured: Mapping[Case, list[Row]], ours: list[str]) -> Table:
    """Return the floors beside what was measured: the last of `ours` that is there, and every peer."""
    header = ["what", "Mflop a step", "MB a step", "rates", "least", "by routines", "times the least: ours", "peers"]
    rows = []
    for case, found in measured.items():
        needed, at = work(case), floor(case)
        costs = {row.peer: middle(row.peer_cost) / at.least for row in found}
        mine = [middle(row.ours_cost) / at.least for name in ours for row in found if row.ours == name]
        size = needed.read * np.dtype(case.dtype).itemsize
        rates = f"{at.operations_per_second / 1e9:.0f} Gflop/s, {at.bytes_per_second / 1e9:.0f} GB/s"
        seconds = [f"{1e3 * x:.3g} ms" for x in (at.least, at.by_routines)]
        theirs = "; ".join(f"{name}: {times:.2g}" for name, times in costs.items())
        counts = [f"{needed.operations / 1e6:.3g}", f"{size / 1e6:.3g}", rates]
        rows.append([case.what, *counts, *seconds, f"{mine[-1]:.2g}" if mine else "", theirs])
    note = "Counted and measured as `benchmarks/own_floor.py` says; a call is T steps and their pullbacks."
    return Table("Floors", header, rows, note)


def _operations_per_second(dtype: np.dtype[Any]) -> float:
    n = 256
    return 2 * n**3 / _product_seconds((n, n), (n, n), dtype)


def _bytes_per_second(count: int, dtype: np.dtype[Any]) -> float:
    x = np.ones(count, dtype)
    return count * dtype.itemsize / _seconds(lambda: x @ x)


def _function_seconds(name: str, count: int, dtype: np.dtype[Any]) -> float:
    x = np.linspace(-3, 0, count, dtype=dtype)
    x, out, function = np.exp(x) if name == "log1p" else x, np.empty_like(x), getattr(np, name)
    return _seconds(lambda: function(x, out=out))


def _product_seconds(a: Shape, b: Shape, dtype: np.dtype[Any]) -> float:
    x, y = np.ones(a, dtype), np.ones(b, dtype)
    out = x @ y
    return _seconds(lambda: np.matmul(x, y, out=out))


def _seconds(call: Callable[[], Any]) -> float:
    """Return the least seconds of a call among rounds of many."""
    call()
    count, found = 1, _once(call, 1)
    while found * count < _LEAST_SECONDS:
        count *= 2
        found = min(found, _once(call, count))
    return min(found, *(_once(call, count) for _ in range(_ROUNDS)))


def _once(call: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count
