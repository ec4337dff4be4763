"""The exact worst case of a short schedule over all smooth convex functions, with a certificate.

Gradient descent with steps h on a convex f with L = 1, x* = 0, ||x_0|| <= 1. By the interpolation theorem (Taylor,
Hendrickx and Glineur 2017) values f_i and gradients g_i at x_0 .. x_n and x* belong to such a function exactly if

    f_i >= f_j + g_j'(x_i - x_j) + ||g_i - g_j||^2/2    for all pairs,

so that max f(x_n) - f* is a semidefinite program in the f_i and the Gram matrix of x_0, g_0 .. g_n (Drori and Teboulle
2014). Its dual: multipliers lambda_ij >= 0 whose terms in f add up to f_n - f*, and a number tau, with

    S = tau E_00 + sum_ij lambda_ij A_ij positive semidefinite;    then   f(x_n) - f* <= tau   for every such f,

A_ij the matrix of g_j'(x_i - x_j) + ||g_i - g_j||^2/2. The dual is solved by a barrier, log det S + sum log lambda,
with Newton steps, from the inside: lambda > 0 and S > 0 strictly, so whatever stands at the end is a proof of `upper`
to rounding, and it is not needed to trust that the solver has converged. The multipliers of S give a Gram matrix that
is near a worst function, and with it the slope of the worst case in each step (envelope theorem),

    d tau/d h_k = -<G, dS/dh_k>,     G = dual of S.

The gap is at most `tolerance` tau. For n steps there are (n + 1)(n + 2) multipliers: seconds at n = 15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, number
from metagrad.theory.schedules._barrier import Barrier
from metagrad.theory.schedules._checks import one_schedule

_LONGEST = 31


@dataclass(frozen=True, eq=False)
class WorstCase:
    """What is certified of a schedule (n,): `upper`, a bound of (f(x_n) - f*)/(L ||x_0 - x*||^2) that has a proof.

    `gap`: how far above the worst case it is at most, by the duality gap of the barrier. `slope` (n,): the derivative
    of the worst case in each step. `multipliers` (n + 2, n + 2): lambda_ij, x* last. `margin`: the smallest eigenvalue
    of S, and `imbalance` the largest error of the terms in f: the proof is right if one is positive and the other of
    the size of rounding.
    """

    upper: float
    gap: float
    slope: Floats
    multipliers: Floats
    margin: float
    imbalance: float


def worst_case(schedule: ArrayLike, *, tolerance: float = 1e-9) -> WorstCase:
    """Return the worst case of f(x_n) - f* over smooth convex f for positive steps (n,), n <= 31, in units of 1/L.

    `tolerance`: the relative gap, 1e-11 to 0.1. ArithmeticError where the barrier does not get there.

    >>> found = worst_case([1.5])
    >>> round(found.upper, 6), bool(found.margin > 0)
    (0.125, True)
    """
    etas = one_schedule("worst_case", schedule)
    if etas.size > _LONGEST:
        bad_value("worst_case", "schedule", f"of {etas.size} steps", f"at most {_LONGEST}", "Take fewer steps.")
    asked = number("worst_case", "tolerance", tolerance)
    if not 1e-11 <= asked <= 0.1:
        bad_value("worst_case", "tolerance", asked, "a relative gap from 1e-11 to 0.1")
    if etas.max() > 1e3 or etas.min() < 1e-3:
        worst = etas.max() if etas.max() > 1e3 else etas.min()
        bad_value("worst_case", "schedule", f"with a step {worst:.6g}", "steps from 0.001 to 1000, in units of 1/L")
    return _Dual(etas).solved(asked)


class _Dual:
    """The program of a schedule: the variables are lambda_ij for all pairs, in turn, and tau."""

    def __init__(self, etas: Floats) -> None:
        self.n = n = etas.size
        self.points = np.zeros((n + 2, n + 2))  # x_0 .. x_n, x* in the basis x_0, g_0 .. g_n
        self.gradients = np.zeros((n + 2, n + 2))
        for i in range(n + 1):
            self.points[i, 0] = 1.0
            self.points[i, 1 : i + 1] = -etas[:i]
            self.gradients[i, i + 1] = 1.0
        self.pairs = [(i, j) for i in range(n + 2) for j in range(n + 2) if i != j]
        top = np.zeros((n + 2, n + 2))
        top[0, 0] = 1.0
        terms = np.zeros((n + 2, len(self.pairs) + 1))  # sum lambda_ij (f_i - f_j) = f* - f_n, x* last
        for v, (i, j) in enumerate(self.pairs):
            terms[i, v], terms[j, v] = 1.0, -1.0
        aim = np.zeros(n + 1)
        aim[n] = -1.0
        signed = np.arange(len(self.pairs) + 1) < len(self.pairs)
        # the last row of the terms is minus the sum of the others
        self.barrier = Barrier(np.stack([*(self._matrix(i, j) for i, j in self.pairs), top]), terms[:-1], aim, signed)

    def _matrix(self, i: int, j: int) -> Floats:
        """Return the symmetric matrix A_ij of g_j'(x_i - x_j) + ||g_i - g_j||^2/2, which is at most f_i - f_j."""
        across = np.outer(self.gradients[j], self.points[i] - self.points[j])
        apart = self.gradients[i] - self.gradients[j]
        return np.asarray((across + across.T) / 2 + np.outer(apart, apart) / 2)

    def solved(self, tolerance: float) -> WorstCase:
        """Follow the barrier to the gap that is asked for."""
        x, count = self._inside(), len(self.pairs) + self.n + 2
        cost = np.append(np.zeros(len(self.pairs)), 1.0)
        weight = max(x[-1], 1.0) / count
        while True:
            x = self.barrier.centred(x, cost / weight)
            if count * weight <= tolerance * x[-1]:
                return self._found(x, weight)
            weight /= 5

    def _inside(self) -> Floats:
        """Return a point with lambda > 0, the terms in f right, and S > 0: descent on t in S + t I > 0 until t < 0."""
        whole, size = self.barrier, self.n + 2
        even = np.full(len(self.pairs), 2.0)  # equal multipliers cancel in f
        flow = np.linalg.lstsq(whole.terms[:, :-1], whole.aim, rcond=None)[0]
        x = np.append(even + flow, 1.0)
        wider = Barrier(
            np.concatenate([whole.A, np.eye(size)[None]]),
            np.concatenate([whole.terms, np.zeros((self.n + 1, 1))], axis=1),
            whole.aim,
            np.append(whole.signed, False),
        )
        y = np.append(x, 1 + max(0.0, -float(np.linalg.eigvalsh(whole.matrix(x)).min())))
        cost = np.append(np.zeros(x.size), 1.0)

        def inside(at: Floats) -> bool:
            return float(np.linalg.eigvalsh(whole.matrix(at[:-1])).min()) > 1e-6

        for weight in 10.0 ** np.arange(1.0, -8.0, -0.5):
            y = wider.centred(y, cost / weight, inside)
            if inside(y):
                return np.asarray(y[:-1])
        raise ArithmeticError("worst_case: no strictly feasible multipliers were found; the steps may be too extreme.")

    def _found(self, x: Floats, weight: float) -> WorstCase:
        whole = self.barrier
        gram = weight * np.linalg.inv(whole.matrix(x))
        multipliers = np.zeros((self.n + 2, self.n + 2))
        for v, (i, j) in enumerate(self.pairs):
            multipliers[i, j] = x[v]
        # x_i loses h_k g_k for every i > k, so dA_ij/dh_k = -sym(g_j g_k') ([i > k] - [j > k])
        slope = np.zeros(self.n)
        for k in range(self.n):
            late = np.append(np.arange(self.n + 1) > k, False).astype(float)
            turned = np.sum(multipliers * (late[:, None] - late), axis=0)
            slope[k] = float(turned @ (self.gradients @ gram @ self.gradients[k]))
        return WorstCase(
            upper=float(x[-1]),
            gap=(len(self.pairs) + self.n + 2) * weight,
            slope=slope,
            multipliers=multipliers,
            margin=float(np.linalg.eigvalsh(whole.matrix(x)).min()),
            imbalance=float(np.max(np.abs(whole.terms @ x - whole.aim))),
        )
