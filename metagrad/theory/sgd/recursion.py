"""The exact recursion of the first two moments of SGD on a finite sample, at any magnitude.

With e = w - c in the coordinates of V, where H = diag(h), m = E[e], S = E[ee'], g = X'r/n, and c_b the spread of a
batch (`SgdProblem`):

    m+ = m - eta (Hm - g)
    S+ = S - eta (HS + SH - gm' - mg') + eta^2 [c_b C(S, m) + (1 - c_b) B(S, m)]
    C  = (1/n) sum_i x_i x_i' (x_i'S x_i - 2 r_i x_i'm + r_i^2)          E[(h h')] of one sample's gradient h
    B  = HSH - Hmg' - gm'H + gg'                                         its mean, squared

One step is linear in (S, m, 1) and S+ = S - eta P + eta^2 Q, so a tangent in eta is dS+ = dS - eta dP + eta^2 dQ
- P + 2 eta Q. S and m are carried with a power of two each, renormalised at every step: exact, and no eta is too large
or horizon too long. What is smaller than 2^-1022 times the largest entry of S is lost; sums of positive terms, as all
measures are, do not see it. Derived; checked by tests against enumeration in exact fractions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd.problem import Measure, SgdProblem

Integers = NDArray[np.int64]
LEAST = -200
_LN2 = np.log(2.0)


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments S 2^s and m 2^k of a batch of runs: S (v, G, d, d), m (v, G, d), exponents (G,).

    v = 1 holds the value; v = 2 the value and its tangent.
    """

    S: Floats
    m: Floats
    s: Integers
    k: Integers

    def measure(self, which: Measure) -> list[SignedLog]:
        """Return the measure (G,) and, where there is a tangent, its derivative."""
        quadratic, linear = np.sum(which.A * self.S, axis=(-2, -1)), self.m @ which.p
        return measured(which, (quadratic, self.s), (linear, self.k))


class Recursion:
    """The recursion of `SgdProblem` for a batch of step sizes."""

    def __init__(self, problem: SgdProblem) -> None:
        """Take what the recursion needs from the problem."""
        self.X, self.h, self.r, self.g = problem.rows, problem.h, problem.r, problem.g
        self.n, self.spread, self.start = len(problem.y), problem.spread, problem.start
        self.drifts = bool(np.any(self.g))
        self.coupled = self.drifts or (self.spread > 0 and bool(np.any(self.r)))

    def begin(self, runs: int, *, tangent: bool) -> Moments:
        """Return the moments before the first step."""
        m, S = self.start
        states = np.zeros((1 + tangent, runs, *S.shape)), np.zeros((1 + tangent, runs, *m.shape))
        states[0][0], states[1][0] = S, m
        return self.normalised(*states, np.zeros(runs, np.int64), np.zeros(runs, np.int64))

    def step(self, now: Moments, eta: Floats) -> Moments:
        """Return the moments after one step with step sizes eta (G,)."""
        P, Q, drift = self.parts(now)
        rate = eta[:, None, None]
        S, m = now.S - rate * P + rate**2 * Q, now.m - eta[:, None] * drift
        if len(S) == 2:
            S[1] += 2 * rate * Q[0] - P[0]
            m[1] -= drift[0]
        return self.normalised(S, m, now.s, now.k)

    def parts(self, now: Moments) -> tuple[Floats, Floats, Floats]:
        """Return P and Q, in units of 2^s, and Hm - g, in units of 2^k."""
        Hm, HS = now.m * self.h, self.h[:, None] * now.S
        drift = Hm - self._ones(now, now.k)[..., None] * self.g if self.drifts else Hm
        if not self.coupled:
            weights = np.sum((self.X @ now.S) * self.X, axis=-1)
            return HS + _transposed(HS), self._second(weights, HS * self.h), drift
        m, one = np.ldexp(now.m, (now.k - now.s)[:, None]), self._ones(now, now.s)
        weights = np.sum((self.X @ now.S) * self.X, axis=-1) - 2 * self.r * (m @ self.X.T)
        weights = weights + one[..., None] * self.r**2
        gm = _outer(self.g, m)
        HmG = _outer(m * self.h, self.g)
        B = HS * self.h - HmG - _transposed(HmG) + one[..., None, None] * np.outer(self.g, self.g)
        return HS + _transposed(HS) - gm - _transposed(gm), self._second(weights, B), drift

    def normalised(self, S: Floats, m: Floats, s: Integers, k: Integers) -> Moments:
        """Move the sizes of S and m into their exponents."""
        S = (S + _transposed(S)) / 2
        S, s = _renormalise(S, s, LEAST if self.coupled else None)
        m, k = _renormalise(m, k, LEAST if self.coupled else None)
        return Moments(S, m, s, k)

    def _second(self, weights: Floats, B: Floats) -> Floats:
        if self.spread == 0:
            return B
        C = self.X.T @ (weights[..., None] * self.X) / self.n
        return np.asarray(self.spread * C + (1 - self.spread) * B)

    @staticmethod
    def _ones(now: Moments, exponent: Integers) -> Floats:
        """Return the constant 1 in units of 2^exponent; its tangent is zero."""
        one = np.zeros((len(now.S), len(exponent)))
        one[0] = np.ldexp(1.0, -exponent)
        return one


def trajectory(recursion: Recursion, schedules: Floats, *, tangent: bool) -> Iterator[Moments]:
    """Yield the moments before the first and after each step of the schedules (G, T)."""
    now = recursion.begin(len(schedules), tangent=tangent)
    yield now
    for eta in schedules.T:
        now = recursion.step(now, eta)
        yield now


def measured(which: Measure, quadratic: tuple[Floats, Integers], linear: tuple[Floats, Integers]) -> list[SignedLog]:
    """Return (tr(A S) - 2 p'm + q)/2 and, where there is a tangent, its derivative.

    From tr(A S) and p'm, each (v, ...), with the exponent (...) of each beside it.
    """
    (squares, s), (firsts, k) = quadratic, linear
    found = []
    for order in range(len(squares)):
        constant = which.q if order == 0 else 0.0
        terms = (squares[order], s), (-2 * firsts[order], k), (np.full(s.shape, constant), 0)
        found.append(total([scaled(value / 2, exponent) for value, exponent in terms]))
    return found


def scaled(value: Floats, exponent: Integers | int) -> SignedLog:
    """Return value * 2^exponent."""
    number = SignedLog.from_float(value)
    return SignedLog(number.sign, np.where(number.sign == 0, -np.inf, number.log + _LN2 * np.asarray(exponent)))


def total(terms: list[SignedLog]) -> SignedLog:
    """Return the sum of numbers of one shape."""
    return stacked(terms).sum(axis=-1)


def stacked(numbers: list[SignedLog]) -> SignedLog:
    """Return the numbers along a new last axis."""
    return SignedLog(np.stack([x.sign for x in numbers], -1), np.stack([x.log for x in numbers], -1))


def _outer(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., :, None] * b[..., None, :], np.float64)


def _transposed(S: Floats) -> Floats:
    return np.swapaxes(S, -1, -2)


def _renormalise(x: Floats, exponent: Integers, least: int | None) -> tuple[Floats, Integers]:
    """Return x 2^-shift (v, G, ...) and exponent + shift, so that the largest entry of a run is of order one."""
    axes = (0, *range(2, x.ndim))
    largest = np.max(np.abs(x), axis=axes)
    shift = np.where(largest > 0, np.frexp(largest)[1], 0).astype(np.int64)
    if least is not None:
        shift = np.maximum(shift, least - exponent)
    return np.ldexp(x, -shift.reshape(-1, *(1,) * (x.ndim - 2))), exponent + shift
