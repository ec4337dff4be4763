"""Where each method ends: the start at which the mean of its meta-gradients over the tasks vanishes.

    MAML      (sum P'H_q P) phi = sum P'(g_q - H_q S g)        the minimiser of the mean query loss after k steps
    FOMAML    (sum H_q P) phi = sum (g_q - H_q S g)
    Reptile   (sum (I - P)) phi = sum S g

On centred tasks, H = H_q with minima m = H^{-1} g, these are means of m with the weights

    (I - alpha H)^{2k} H,      (I - alpha H)^k H,      (I - (I - alpha H)^k)/alpha:

three different points wherever curvatures differ. MAML listens to flat directions, in which the inner steps do little;
Reptile to those that the steps reach. Derived; checked by tests, also by running each method to its end.
"""

from __future__ import annotations

import numpy as np

from metagrad.theory.numbers.checks import Floats, bad_value, check_choice
from metagrad.theory.starts._moved import Moved
from metagrad.theory.starts.adaptation import METHODS
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks

_RANK, _LEAST_LEFT = 1e-13, 1e-10


def fixed_point(tasks: QuadraticTasks, alpha: float, steps: int, *, method: str = "maml") -> Floats:
    """Return the start (d,) at which a method stays; ValueError where there is no single one.

    `method`: "maml", "fomaml" or "reptile"; for MAML it is a minimum where all H_q are positive semidefinite.

    >>> tasks = QuadraticTasks([[[2.0]], [[1.0]]], [[2.0], [-1.0]])  # minima at 1 and -1, the first twice as sharp
    >>> [round(float(fixed_point(tasks, 0.25, 1, method=name)[0]), 6) for name in METHODS]
    [-0.058824, 0.142857, 0.333333]
    """
    check_choice("fixed_point", "method", method, METHODS)
    moved = Moved.of("fixed_point", tasks, alpha, steps)
    P, Sg = moved.matrix(moved.kept), moved.applied(moved.moved, tasks.g)
    if method == "reptile":
        # I - P = H S: without the cancellation of 1 - (1 - alpha h)^k
        matrix, vector = tasks.H @ moved.matrix(moved.moved), Sg
    else:
        H, g = tasks.query
        of_query = np.einsum("bij,bj->bi", H, Sg)
        if H is tasks.H and g is tasks.g:  # g - H S g = P g, without the difference
            vector = moved.applied(moved.kept, g)
        else:
            vector = g - of_query
            _check_difference(vector, g, of_query)
        matrix = H @ P
        if method == "maml":
            matrix, vector = P @ matrix, np.einsum("bij,bj->bi", P, vector)
    total, right = matrix.sum(axis=0), vector.sum(axis=0)
    largest = np.abs(matrix).max()
    if not largest > 0 or np.linalg.matrix_rank(total / largest, tol=_RANK * tasks.d) < tasks.d:
        remedy = "In some direction no task tells the starts apart: take another step size, or tasks that do."
        bad_value("fixed_point", "tasks", "such that no single start is left as it is", "one fixed point", remedy)
    found: Floats = np.linalg.solve(total / largest, right / largest)
    return found


def _check_difference(found: Floats, one: Floats, other: Floats) -> None:
    """Raise where the steps have gone so far that g_q - H_q S g has lost its digits."""
    size = np.maximum(np.abs(one), np.abs(other)).max()
    if np.abs(found).max() < _LEAST_LEFT * size:
        came, expected = "so many that the query gradient is rounding", "steps that leave it six digits"
        bad_value("fixed_point", "steps", came, expected, "Take fewer steps, or a smaller step size.")
