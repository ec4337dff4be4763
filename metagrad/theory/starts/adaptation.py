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

import numpy as np
from numpy.typing import ArrayLike

from metagrad.theory.numbers.checks import Floats, bad_value, check_choice, check_kind, finite_floats
from metagrad.theory.starts._moved import Moved
from metagrad.theory.starts.quadratic_tasks import QuadraticTasks

METHODS: tuple[str, ...] = ("maml", "fomaml", "reptile")


def adapted(tasks: QuadraticTasks, phi: ArrayLike, alpha: float, steps: int) -> Floats:
    """Return w_k of each task, (B, d), from the start phi (d,) or (B, d), after k = `steps` >= 1 steps of size alpha.

    >>> adapted(QuadraticTasks([[[2.0]]], [[2.0]]), [3.0], 0.25, steps=2)
    array([[1.5]])
    """
    moved = Moved.of("adapted", tasks, alpha, steps)
    return moved.from_start(_start("adapted", tasks, phi))


def meta_loss(tasks: QuadraticTasks, phi: ArrayLike, alpha: float, steps: int) -> Floats:
    """Return the query loss of each task after k steps, (B,).

    >>> meta_loss(QuadraticTasks([[[2.0]]], [[2.0]]), [3.0], 0.25, steps=2)
    array([-0.75])
    """
    w = Moved.of("meta_loss", tasks, alpha, steps).from_start(_start("meta_loss", tasks, phi))
    H, g = tasks.query
    found: Floats = np.einsum("bi,bij,bj->b", w, H, w) / 2 - np.einsum("bi,bi->b", g, w)
    return found


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
    w = moved.from_start(start)
    if method == "reptile":
        if moved.alpha == 0:
            bad_value("meta_gradient", "alpha", 0, "a number other than 0", "Reptile divides the way by it.")
        # (phi - w_k)/alpha = S (H phi - g)/alpha: without the difference, which loses the way of small steps
        return moved.applied(moved.moved / moved.alpha, np.einsum("bij,bj->bi", tasks.H, start + 0 * tasks.g) - tasks.g)
    H, g = tasks.query
    slope: Floats = np.einsum("bij,bj->bi", H, w) - g
    return slope if method == "fomaml" else moved.transported(slope)


def _start(function: str, tasks: QuadraticTasks, phi: ArrayLike) -> Floats:
    """Return the start, (d,) or (B, d), or raise."""
    check_kind(function, "tasks", tasks, QuadraticTasks)
    start = finite_floats(function, "phi", phi)
    if start.shape not in ((tasks.d,), (tasks.count, tasks.d)):
        expected = f"shape ({tasks.d},), or ({tasks.count}, {tasks.d}) for a start of each task"
        bad_value(function, "phi", f"of shape {start.shape}", expected)
    return start
