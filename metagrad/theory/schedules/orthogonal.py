"""Orthogonal polynomials of s dmu(s), whose zeros are the best schedule of every average case.

pi_0, pi_1, .. are orthogonal under sum_j w_j s_j f(s_j) g(s_j). Lanczos' method on diag(s_j) from the vector
sqrt(w_j s_j) builds their Jacobi matrix, tridiagonal with the coefficients of the recurrence

    pi_{k+1}(s) = (s - a_k) pi_k(s) - b_k^2 pi_{k-1}(s);

its leading T x T part has the zeros of pi_T as eigenvalues: the nodes of Gauss' rule. The basis is orthogonalised in
full, twice, so that nothing is lost to rounding; zeros have an absolute error of about eps times the largest
eigenvalue. N different eigenvalues have zeros up to T = N, and those of pi_N are the eigenvalues. Source: Golub and
Welsch 1969; Gautschi 2004, section 2.2.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, check_kind, check_memory
from metagrad.theory.schedules._checks import checked_steps
from metagrad.theory.schedules.average_case import AverageCase

_SOLVED = "So many steps, one over each eigenvalue, leave no error: more cannot do better."


def recurrence(problem: AverageCase, steps: int) -> tuple[Floats, Floats]:
    """Return the diagonal a (T,) and the sides b (T - 1,) of the Jacobi matrix of s dmu, T = `steps`.

    ValueError for more steps than there are different positive eigenvalues.

    >>> [x.round(12).tolist() for x in recurrence(AverageCase([1.0, 3.0], [3.0, 1.0]), 2)]
    [[2.0, 2.0], [1.0]]
    """
    check_kind("recurrence", "problem", problem, AverageCase)
    size = checked_steps("recurrence", steps, problem.nodes.size, _SOLVED)
    check_memory("recurrence", "steps", steps, size * problem.nodes.size, "Take fewer steps.")
    scale = problem.nodes.max()
    nodes = problem.nodes / scale
    start = np.sqrt(problem.weights / problem.weights.max() * nodes)
    basis = np.empty((size, nodes.size))
    diagonal, sides = np.empty(size), np.empty(size)
    v = start / np.linalg.norm(start)
    for k in range(size):
        basis[k] = v
        v = nodes * v
        diagonal[k] = basis[k] @ v
        for _ in range(2):
            v = v - basis[: k + 1].T @ (basis[: k + 1] @ v)
        sides[k] = np.linalg.norm(v)
        if k + 1 < size and sides[k] == 0:
            raise ArithmeticError(f"recurrence: the weights end after {k + 1} steps; eigenvalues are too close.")
        v = v / (sides[k] or 1.0)
    return diagonal * scale, sides[:-1] * scale


def zeros(problem: AverageCase, steps: int) -> Floats:
    """Return the zeros of pi_T, ascending, (T,), T = `steps`: they lie between the eigenvalues, strictly, for T < N.

    >>> zeros(AverageCase([1.0, 3.0], [3.0, 1.0]), 1)
    array([2.])
    """
    from scipy.linalg import eigh_tridiagonal

    diagonal, sides = recurrence(problem, steps)
    return np.asarray(eigh_tridiagonal(diagonal, sides, eigvals_only=True), np.float64)
