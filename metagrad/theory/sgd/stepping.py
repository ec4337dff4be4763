"""The recursion of `SgdProblem` in arrays that are made once, for those who look at measures of the moments alone.

With K_ij = 1 - eta (h_i + h_j) + eta^2 (1 - c_b) h_i h_j, q_i = x_i'S x_i - 2 r_i x_i'm + r_i^2 and
u = eta m + eta^2 (1 - c_b) (g/2 - Hm), a step of `recursion` is

    S+  = K o S + X' diag(eta^2 c_b/n q) X + gu' + ug'
    dS+ = K o dS + K' o S + X' diag(eta^2 c_b/n dq + 2 eta c_b/n q) X + g du' + du g'       (' of K and u: d/d eta)

with o the product entry by entry: the two products with X do nearly all of the work, value and tangent side by side.
The exponents of S and m are those of `recursion`, but moved only when the largest digits have drifted far from 1: exact,
and no size is lost. X is gone through in blocks of rows, so that memory beside it does not grow with n. The rounding of
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

_DRIFT = 32  # powers of two by which the largest digits may be away from 1
_BLOCK = 2**14  # entries of the products with a block of rows
_TOGETHER = 2**15  # entries of S of the runs that are stepped together


class _Rates(NamedTuple):
    """What a step takes of its step sizes (G,), each beside (d, v, G, d) or (n, v, G)."""

    eta: Floats
    kept: Floats  # K (d, 1, G, d)
    of_kept: Floats  # K' (d, G, d)
    scatter: Floats  # eta^2 c_b/n (G,)
    of_scatter: Floats  # its derivative (G,)


class Stepping:
    """The moments of a batch of runs, moved step by step in place: S (d, v, G, d) and m (d, v, G)."""

    def __init__(self, recursion: Recursion, runs: int, *, tangent: bool) -> None:
        """Begin at time 0; v = 2 with a tangent, else 1."""
        self.of, self._X = recursion, np.ascontiguousarray(recursion.X)
        first = recursion.begin(runs, tangent=tangent)
        self.S, self.m = (np.ascontiguousarray(np.moveaxis(x, -1, 0)) for x in (first.S, first.m))
        self.s, self.k = first.s, first.k
        d, v = self.m.shape[:2]
        self._total = np.empty_like(self.S)
        self._mixed = np.empty((d, runs, d)) if tangent else None
        blocks = -(-d * v * runs * len(self._X) // _BLOCK) if recursion.spread > 0 else 0
        rows = -(-len(self._X) // max(1, blocks))
        self._blocks = [self._X[lo : lo + rows] for lo in range(0, len(self._X), rows)] if blocks else []
        self._products = np.empty((rows if blocks else 0, v, runs, d))
        self._rates: _Rates | None = None
        h = recursion.h
        self._sums, self._outer = h[:, None] + h, (1 - recursion.spread) * np.multiply.outer(h, h)

    def measure(self, A: Floats, p: Floats) -> tuple[Floats, Floats]:
        """Return tr(A S) in units of 2^s and p'm in units of 2^k, each (v, G)."""
        return np.einsum("ij,ivgj->vg", A, self.S), np.tensordot(p, self.m, axes=1)

    def step(self, eta: Floats) -> None:
        """Take one step with step sizes eta (G,)."""
        rates, of = self._at(eta), self.of
        moved = self._scattered(rates)
        if self._mixed is not None:
            np.multiply(rates.of_kept, self.S[:, 0], out=self._mixed)
        self.S *= rates.kept
        if self._mixed is not None:
            self.S[:, 1] += self._mixed
        if moved is not None:
            self.S += moved
        Hm = of.h[:, None, None] * self.m
        if of.drifts:
            self._drift(rates, Hm)
            Hm[:, 0] -= np.multiply.outer(of.g, np.ldexp(1.0, -self.k))
        self.m -= rates.eta * Hm
        if self._mixed is not None:
            self.m[:, 1] -= Hm[:, 0]
        self.s = _moved(self.S, self.s, LEAST if of.coupled else None)
        self.k = _moved(self.m, self.k, LEAST if of.coupled else None)

    def _at(self, eta: Floats) -> _Rates:
        """Return what a step takes of its step sizes; those of the last step are still known."""
        if self._rates is None or not np.array_equal(eta, self._rates.eta):
            rate, share = eta[:, None], self.of.spread / self.of.n
            kept = 1 - rate * self._sums[:, None] + rate**2 * self._outer[:, None]
            of_kept = 2 * rate * self._outer[:, None] - self._sums[:, None]
            self._rates = _Rates(eta.copy(), kept[:, None], of_kept, share * eta**2, 2 * share * eta)
        return self._rates

    def _scattered(self, rates: _Rates) -> Floats | None:
        """Return what the spread of a batch adds to S; None where the batch is the sample."""
        if not self._blocks:
            return None
        d, total = len(self.m), self._total.reshape(len(self.m), -1)
        aligned = self._beside_S() if self.of.coupled else None
        first = 0
        for X in self._blocks:
            products = self._products[: len(X)]
            flat = products.reshape(len(X), -1)
            np.matmul(X, self.S.reshape(d, -1), out=flat)
            weights = np.einsum("nvgj,nj->nvg", products, X)
            if aligned is not None:
                m, ones = aligned
                r = self.of.r[first : first + len(X)]
                weights -= (2 * r)[:, None, None] * (X @ m).reshape(weights.shape)
                weights[:, 0] += np.multiply.outer(r**2, ones)
            if self._mixed is not None:
                weights[:, 1] *= rates.scatter
                weights[:, 1] += rates.of_scatter * weights[:, 0]
                weights[:, 0] *= rates.scatter
            else:
                weights *= rates.scatter
            np.multiply(X[:, None, None, :], weights[..., None], out=products)
            if first:
                total += X.T @ flat
            else:
                np.matmul(X.T, flat, out=total)
            first += len(X)
        return self._total

    def _beside_S(self) -> tuple[Floats, Floats]:
        """Return m (d, v G) and the constant 1 (G,) in units of 2^s."""
        return np.ldexp(self.m, self.k - self.s).reshape(len(self.m), -1), np.ldexp(1.0, -self.s)

    def _drift(self, rates: _Rates, Hm: Floats) -> None:
        """Add gu' + ug' to S, and its tangent."""
        of, eta, rest = self.of, rates.eta, 1 - self.of.spread
        shift, ones = self.k - self.s, np.ldexp(1.0, -self.s)
        m, Hm = np.ldexp(self.m, shift), np.ldexp(Hm, shift)
        g = np.multiply.outer(of.g, ones)
        u = eta * m - eta**2 * rest * Hm
        u[:, 0] += eta**2 * rest / 2 * g
        if u.shape[1] == 2:
            u[:, 1] += m[:, 0] - 2 * eta * rest * Hm[:, 0] + eta * rest * g
        self.S += of.g[:, None, None, None] * np.moveaxis(u, 0, -1)
        self.S += u[..., None] * of.g


def _moved(x: Floats, exponent: Integers, least: int | None) -> Integers:
    """Move powers of two of x (d, v, G, ...) into the exponent (G,) where the largest digits of a run are far from 1."""
    over = (0, 1, *range(3, x.ndim))
    largest = np.maximum(x.max(axis=over), -x.min(axis=over))
    shift = np.frexp(largest)[1].astype(np.int64)
    if abs(shift).max() <= _DRIFT and (least is None or (exponent >= least).all()):
        return exponent  # the usual case, found cheaply
    shift = np.where((largest > 0) & (abs(shift) > _DRIFT), shift, 0)
    if least is not None:
        shift = np.maximum(shift, least - exponent)
    x *= np.ldexp(1.0, -shift).reshape(-1, *(1,) * (x.ndim - 3))
    return np.asarray(exponent + shift, np.int64)


def follow(
    recursion: Recursion, measures: Sequence[Measure], schedules: Floats, *, tangent: bool
) -> list[list[SignedLog]]:
    """Return, for each measure, its trajectory (G, T+1) and, with a tangent, the derivative's."""
    if type(recursion) is not Recursion:  # another recursion of the same form has its own step
        history = [[now.measure(which) for which in measures] for now in trajectory(recursion, schedules, tangent=tangent)]
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
    return [
        measured(which, (quadratic, powers[0]), (linear, powers[1]))
        for which, (quadratic, linear) in zip(measures, found, strict=True)
    ]


def _joined(parts: list[SignedLog]) -> SignedLog:
    """Return the runs of all parts."""
    if len(parts) == 1:
        return parts[0]
    return SignedLog(np.concatenate([x.sign for x in parts]), np.concatenate([x.log for x in parts]))
