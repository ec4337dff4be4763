"""k steps of descent from a learned start phi on quadratic tasks, and what three methods take for the meta-gradient.

Task i has a support loss w'H w/2 - g'w with H symmetric, and a query loss w'H_q w/2 - g_q'w. With the step size alpha

    w_k = P phi + S g,      P = (I - alpha H)^k,      S = alpha sum_{j<k} (I - alpha H)^j = h_k(H),

    MAML      P'(H_q w_k - g_q)        the derivative of the query loss at w_k in phi
    FOMAML    H_q w_k - g_q            the same with the Hessians of the inner steps left out
    Reptile   (phi - w_k)/alpha        the way that the steps went, which needs no query loss

In the eigenvectors of H, P is (1 - alpha h)^k and S is (1 - (1 - alpha h)^k)/h, alpha k at h = 0. Derived; checked by
tests against the recursion in exact rationals and against the engine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_choice, check_kind, finite_floats
from metagrad.theory.starts._moved import Moved
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks

METHODS: tuple[str, ...] = ("maml", "fomaml", "reptile")


def adapted(tasks: QuadraticTasks, phi: ArrayLike, alpha: float, steps: int) -> Floats:
    """Return w_k of each task, (B, d), from the start phi (d,) or (B, d), after k = `steps` >= 1 steps of size alpha.

    ValueError where the way leaves the range of floats; so do `meta_loss` and `meta_gradient`.

    >>> adapted(QuadraticTasks([[[2.0]]], [[2.0]]), [3.0], 0.25, steps=2)
    array([[1.5]])
    """
    moved = Moved.of("adapted", tasks, alpha, steps)
    start = _start("adapted", tasks, phi)
    return _within_range("adapted", lambda: moved.from_start(start))


def meta_loss(tasks: QuadraticTasks, phi: ArrayLike, alpha: float, steps: int) -> Floats:
    """Return the query loss w_k'H_q w_k/2 - g_q'w_k of each task after k steps, (B,).

    >>> meta_loss(QuadraticTasks([[[2.0]]], [[2.0]]), [3.0], 0.25, steps=2)
    array([-0.75])
    """
    moved = Moved.of("meta_loss", tasks, alpha, steps)
    start = _start("meta_loss", tasks, phi)
    H, g = tasks.query

    def loss() -> Floats:
        w = moved.from_start(start)
        found: Floats = np.einsum("bi,bij,bj->b", w, H, w) / 2 - np.einsum("bi,bi->b", g, w)
        return found

    return _within_range("meta_loss", loss)


def meta_gradient(tasks: QuadraticTasks, phi: ArrayLike, alpha: float, steps: int, *, method: str = "maml") -> Floats:
    """Return what a method takes for the meta-gradient in the start, task by task (B, d); the mean is that of all.

    `method`: "maml", "fomaml" or "reptile". alpha = 0 is refused for Reptile, which divides by it.

    >>> tasks = QuadraticTasks([[[2.0]]], [[2.0]])
    >>> [float(meta_gradient(tasks, [3.0], 0.25, 2, method=name)[0, 0]) for name in METHODS]
    [0.25, 1.0, 6.0]
    """
    check_choice("meta_gradient", "method", method, METHODS)
    start = _start("meta_gradient", tasks, phi)
    moved = Moved.of("meta_gradient", tasks, alpha, steps)
    if method == "reptile" and moved.alpha == 0:
        bad_value("meta_gradient", "alpha", 0, "a number other than 0", "Reptile divides the way by it.")
    H, g = tasks.query

    def gradient() -> Floats:
        if method == "reptile":
            # (phi - w_k)/alpha = S (H phi - g)/alpha: without the difference, which loses the way of small steps
            at_start = np.einsum("bij,bj->bi", tasks.H, start + 0 * tasks.g) - tasks.g
            return moved.applied(moved.moved / moved.alpha, at_start)
        slope: Floats = np.einsum("bij,bj->bi", H, moved.from_start(start)) - g
        return slope if method == "fomaml" else moved.transported(slope)

    return _within_range("meta_gradient", gradient)


def _within_range(function: str, compute: Callable[[], Floats]) -> Floats:
    """Return what is computed; ValueError where a number of it, or on the way to it, has left the range of floats."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        found = compute()
    if not np.isfinite(found).all():
        came = f"so far away that {int((~np.isfinite(found).reshape(len(found), -1).all(axis=1)).sum())} of "
        came += f"{len(found)} tasks leave the range of floats"
        remedy = "Scale the tasks and the start down, or take fewer or smaller steps."
        bad_value(function, "phi", came, "a start from which all numbers are finite", remedy)
    return found


def _start(function: str, tasks: QuadraticTasks, phi: ArrayLike) -> Floats:
    """Return the start, (d,) or (B, d), or raise."""
    check_kind(function, "tasks", tasks, QuadraticTasks)
    start = finite_floats(function, "phi", phi)
    if start.shape not in ((tasks.d,), (tasks.count, tasks.d)):
        expected = f"shape ({tasks.d},), or ({tasks.count}, {tasks.d}) for a start of each task"
        bad_value(function, "phi", f"of shape {start.shape}", expected)
    return start
