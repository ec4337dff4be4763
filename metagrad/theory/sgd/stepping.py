"""The recursion of `SgdProblem` in arrays that are made once, for those who look at measures of the moments alone.

With K_ij = 1 - eta (h_i + h_j) + eta^2 (1 - c_b) h_i h_j, q_i = x_i'S x_i - 2 r_i x_i'm + r_i^2 and
u = eta m + eta^2 (1 - c_b) (g/2 - Hm), a step of `recursion` is

    S+  = K o S + X' diag(eta^2 c_b/n q) X + gu' + ug'
    dS+ = K o dS + K' o S + X' diag(eta^2 c_b/n dq + 2 eta c_b/n q) X + g du' + du g'       (' of K and u: d/d eta)

with o the product entry by entry: the two products with X do nearly all of the work, value and tangent side by side.
The exponents of S and m are those of `recursion`, but moved only when the largest digits are far from 1: exact, and no
size is lost. X is gone through in blocks of rows, so that memory beside it does not grow with n. The rounding of
S is not symmetric; what is measured of it is. Derived; checked by tests against the recursion as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd.problem import Measure
from metagrad.theory.sgd.recursion import LEAST, Integers, Recursion, measured, stacked, trajectory

_LOW, _HIGH = 2.0**-32, 2.0**32  # where the largest digits may be
_BLOCK = 2**15  # entries of the products with a block of rows
_TOGETHER = 2**15  # entries of S of the runs that are stepped together


class _Rates(NamedTuple):
    """What a step takes of its step sizes eta (G,)."""

    eta: Floats
    kept: Floats  # K (G, d, d)
    of_kept: Floats  # K'
    scatter: Floats  # eta^2 c_b/n (G, 1)
    of_scatter: Floats  # its derivative


class _Units(NamedTuple):
    """What m and the constant 1 are in the units of S and m, each (G, 1)."""

    of_m: Floats  # 2^(k - s)
    one: Floats  # 1 beside S: 2^-s
    one_of_m: Floats  # 1 beside m: 2^-k


class Stepping:
    """The moments of a batch of runs, moved step by step in place: S (v, G, d, d) and m (v, G, d)."""

    def __init__(self, recursion: Recursion, runs: int, *, tangent: bool) -> None:
        """Begin at time 0; v = 2 with a tangent, else 1."""
        self.of, first = recursion, recursion.begin(runs, tangent=tangent)
        self.S, self.m, self.s, self.k = np.ascontiguousarray(first.S), first.m, first.s, first.k
        (n, d), v, self._tangent = recursion.X.shape, 1 + tangent, tangent
        self._moved, self._mixed = np.empty_like(self.S), np.empty((runs, d, d))
        columns = -(-n // -(-d * v * runs * n // _BLOCK))
        self._products = np.empty(d * v * runs * columns)
        self._blocks = []
        for lo in range(0, n if recursion.spread > 0 else 0, columns):
            rows, r = np.ascontiguousarray(recursion.X[lo : lo + columns]), recursion.r[lo : lo + columns]
            self._blocks.append((rows, np.ascontiguousarray(rows.T), 2 * r, r**2))
        self._rates: _Rates | None = None
        self._units = self._in_units()

    def measure(self, A: Floats, p: Floats) -> tuple[Floats, Floats]:
        """Return tr(A S) in units of 2^s and p'm in units of 2^k, each (v, G)."""
        return self.S.reshape(*self.m.shape[:2], -1) @ A.ravel(), self.m @ p

    def step(self, eta: Floats) -> None:
        """Take one step with step sizes eta (G,)."""
        if self._rates is None or (eta != self._rates.eta).any():
            self._rates = self._at(eta)
        rates, of, has_moved = self._rates, self.of, bool(self._blocks)
        if has_moved:
            self._scatter(rates)
        if self._tangent:
            np.multiply(rates.of_kept, self.S[0], out=self._mixed)
        self.S *= rates.kept
        if self._tangent:
            self.S[1] += self._mixed
        if has_moved:
            self.S += self._moved
        Hm = of.h * self.m
        if of.drifts:
            self._drift(rates, Hm)
            Hm[0] -= self._units.one_of_m * of.g
        self.m -= rates.eta[:, None] * Hm
        if self._tangent:
            self.m[1] -= Hm[0]
        least = LEAST if of.coupled else None
        s, k = _settled(self.S, self.s, least), _settled(self.m, self.k, least)
        if s is not self.s or k is not self.k:
            self.s, self.k = s, k
            self._units = self._in_units()

    def _at(self, eta: Floats) -> _Rates:
        """Return what a step takes of its step sizes."""
        rate, h, share = eta[:, None, None], self.of.h, self.of.spread / self.of.n
        sums, both = h[:, None] + h, (1 - self.of.spread) * np.multiply.outer(h, h)
        kept, of_kept = 1 - rate * sums + rate**2 * both, 2 * rate * both - sums
        return _Rates(eta.copy(), kept, of_kept, share * eta[:, None] ** 2, 2 * share * eta[:, None])

    def _in_units(self) -> _Units:
        powers = (self.k - self.s, -self.s, -self.k)
        return _Units(*(np.ldexp(1.0, power)[:, None] for power in powers))

    def _scatter(self, rates: _Rates) -> None:
        """Put what the spread of a batch adds to S in its place."""
        v, runs, d = self.m.shape
        S, total = self.S.reshape(-1, d), self._moved.reshape(-1, d)
        for i, (rows, X, twice_r, r_squared) in enumerate(self._blocks):
            products = self._products[: len(S) * len(rows)].reshape(v, runs, d, -1)
            flat = products.reshape(len(S), -1)
            np.matmul(S, X, out=flat)
            weights = np.einsum("vgjn,jn->vgn", products, X)
            if self.of.coupled:
                weights -= (self._units.of_m * self.m) @ X * twice_r
                weights[0] += self._units.one * r_squared
            if self._tangent:
                weights[1] = rates.scatter * weights[1] + rates.of_scatter * weights[0]
            weights[0] *= rates.scatter
            np.multiply(X, weights[:, :, None], out=products)
            if i == 0:
                np.matmul(flat, rows, out=total)
            else:
                total += flat @ rows

    def _drift(self, rates: _Rates, Hm: Floats) -> None:
        """Add gu' + ug' to S, and its tangent."""
        g, eta, rest = self.of.g, rates.eta[:, None], 1 - self.of.spread
        m, Hm, one = self._units.of_m * self.m, self._units.of_m * Hm, self._units.one * g
        u = eta * m - eta**2 * rest * Hm
        u[0] += eta**2 * rest / 2 * one
        if self._tangent:
            u[1] += m[0] - 2 * eta * rest * Hm[0] + eta * rest * one
        outer = u[..., None] * g
        self.S += outer
        self.S += np.swapaxes(outer, -1, -2)


def _settled(x: Floats, exponent: Integers, least: int | None) -> Integers:
    """Move powers of two of x (v, G, ...) into the exponent (G,) where the largest digits of a run are far from 1.

    The exponent itself comes back where nothing is moved.
    """
    if len(exponent) == 1:  # one run, as mostly: floats are looked at faster than arrays
        largest = max(float(x.max()), -float(x.min()))
        if _LOW < largest < _HIGH and (least is None or exponent.item() >= least):
            return exponent
    over = (0, *range(2, x.ndim))
    sizes = np.maximum(x.max(axis=over), -x.min(axis=over))
    shift = np.where((sizes > 0) & ((sizes <= _LOW) | (sizes >= _HIGH)), np.frexp(sizes)[1], 0)
    if least is not None:
        shift = np.maximum(shift, least - exponent)
    if not shift.any():
        return exponent
    x *= np.ldexp(1.0, -shift).reshape(-1, *(1,) * (x.ndim - 2))
    return np.asarray(exponent + shift, np.int64)


def follow(
    recursion: Recursion, measures: Sequence[Measure], schedules: Floats, *, tangent: bool
) -> list[list[SignedLog]]:
    """Return, for each measure, its trajectory (G, T+1) and, with a tangent, the derivative's."""
    if type(recursion) is not Recursion:  # another recursion of the same form has its own step
        history = [
            [now.measure(which) for which in measures] for now in trajectory(recursion, schedules, tangent=tangent)
        ]
        orders = range(1 + tangent)
        return [[stacked([row[i][order] for row in history]) for order in orders] for i in range(len(measures))]
    together = max(1, _TOGETHER // ((1 + tangent) * len(recursion.h) ** 2))
    parts = [
        _followed(recursion, measures, schedules[first : first + together], tangent=tangent)
        for first in range(0, len(schedules), together)
    ]
    return [[_joined([part[i][order] for part in parts]) for order in range(1 + tangent)] for i in range(len(measures))]


def _followed(
    recursion: Recursion, measures: Sequence[Measure], schedules: Floats, *, tangent: bool
) -> list[list[SignedLog]]:
    """Return the trajectories of runs that go together."""
    runs, steps = schedules.shape
    now = Stepping(recursion, runs, tangent=tangent)
    found = np.empty((len(measures), 2, 1 + tangent, runs, steps + 1))
    powers = np.empty((2, runs, steps + 1), np.int64)
    for t in range(steps + 1):
        if t:
            now.step(schedules[:, t - 1])
        powers[0, :, t], powers[1, :, t] = now.s, now.k
        for i, which in enumerate(measures):
            found[i, 0, ..., t], found[i, 1, ..., t] = now.measure(which.A, which.p)
    del now  # as large as what follows
    return [
        measured(which, (quadratic, powers[0]), (linear, powers[1]))
        for which, (quadratic, linear) in zip(measures, found, strict=True)
    ]


def _joined(parts: list[SignedLog]) -> SignedLog:
    """Return the runs of all parts."""
    if len(parts) == 1:
        return parts[0]
    return SignedLog(np.concatenate([x.sign for x in parts]), np.concatenate([x.log for x in parts]))
