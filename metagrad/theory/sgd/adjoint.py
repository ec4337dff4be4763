"""The gradient of an expected measure of SGD in every step size of its schedule, by the adjoint of the moments.

The adjoint (L, p) of (S, m) starts at (A/2, -p) of the measure and goes back through the steps (`recursion`); H, C
and S -> HS + SH are self-adjoint:

    dV/d eta_k = <L+, 2 eta Q - P> - p+'(Hm - g)
    L = L+ - eta (HL+ + L+H) + eta^2 [c_b (1/n) sum_i x_i x_i' (x_i'L+x_i) + (1 - c_b) HL+H]
    p = p+ - eta Hp+ + 2 eta L+g - 2 eta^2 [c_b (1/n) sum_i r_i (x_i'L+x_i) x_i + (1 - c_b) H L+ g]

All T gradients cost about twice the trajectory, and 8 T d^2 bytes for its states. Derived; checked by tests.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats
from metagrad.theory.numbers.signed_log import SignedLog
from metagrad.theory.sgd.problem import Measure, SgdProblem
from metagrad.theory.sgd.recursion import Moments, Recursion, scaled, stacked, total, trajectory

_LEAST = -200


def schedule_gradient(problem: SgdProblem, measure: Measure, schedule: Floats) -> SignedLog:
    """Return the derivatives (T,) of the measure after the last step in the step sizes of the schedule (T,)."""
    recursion = Recursion(problem)
    states = list(trajectory(recursion, schedule[None], tangent=False))
    adjoint = _Adjoint(recursion, measure)
    slopes = []
    for eta, before in zip(schedule[::-1], states[-2::-1], strict=True):
        slopes.append(adjoint.slope(before, eta))
        adjoint.step_back(eta)
    return stacked(slopes[::-1])


class _Adjoint:
    """The adjoint L 2^l of S and p 2^q of m."""

    def __init__(self, recursion: Recursion, measure: Measure) -> None:
        self.of = recursion
        self.L, self.p, self.l, self.q = measure.A / 2, -measure.p, 0, 0

    def slope(self, before: Moments, eta: float) -> SignedLog:
        """Return dV/d eta of the step that starts from the moments `before`."""
        P, Q, drift = (part[0, 0] for part in self.of.parts(before))
        quadratic, linear = np.sum(self.L * (2 * eta * Q - P)), self.p @ drift
        return total([scaled(quadratic, before.s[0] + self.l), scaled(-linear, before.k[0] + self.q)])

    def step_back(self, eta: float) -> None:
        """Move before the step with step size eta."""
        of, spread = self.of, self.of.spread
        weights = spread * np.sum((of.X @ self.L) * of.X, axis=-1) / of.n
        HL, p = of.h[:, None] * self.L, self.p - eta * of.h * self.p
        if of.coupled:
            noise = of.X.T @ (of.r * weights) + (1 - spread) * (HL @ of.g)
            p = p + np.ldexp(2 * eta * (self.L @ of.g) - 2 * eta**2 * noise, self.l - self.q)
        second = of.X.T @ (weights[:, None] * of.X) + (1 - spread) * HL * of.h
        L = self.L - eta * (HL + HL.T) + eta**2 * second
        self.L, self.l = _renormalise((L + L.T) / 2, self.l, None)
        self.p, self.q = _renormalise(p, self.q, self.l + _LEAST if of.coupled else None)


def _renormalise(x: Floats, exponent: int, least: int | None) -> tuple[Floats, int]:
    largest = float(np.max(np.abs(x)))
    shift = int(np.frexp(largest)[1]) if largest > 0 else 0
    if least is not None:
        shift = max(shift, least - exponent)
    return np.ldexp(x, -shift), exponent + shift
