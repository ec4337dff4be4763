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
        matrix, vector = H @ P, g - np.einsum("bij,bj->bi", H, Sg)
        if method == "maml":
            matrix, vector = P @ matrix, np.einsum("bij,bj->bi", P, vector)
    total, right = matrix.sum(axis=0), vector.sum(axis=0)
    if np.linalg.matrix_rank(total) < tasks.d:
        remedy = "In some direction no task tells the starts apart: take another step size, or tasks that do."
        bad_value("fixed_point", "tasks", "such that no single start is left as it is", "one fixed point", remedy)
    found: Floats = np.linalg.solve(total, right)
    return found
