"""Least squares solved by rules that read the task, and the least mean loss of all rules that do not.

| symbol | code | meaning |
|---|---|---|
| f = ||A w - b||^2 | `halves` | the loss of a task, A (d, d) and b (d,) |
| lambda_i = 2 s_i^2 | `lam` | eigenvalues of the Hessian 2 A'A, s_i the singular values of A = U S V' |
| r_i | `r` | residuals U'(A w_0 - b): f(w_0) = sum_i r_i^2 |

A fixed schedule of step sizes and momenta, the same for all coordinates and all tasks, moves w_t by fixed combinations
of the gradients so far. Its residuals after t steps are p_t(lambda_i) r_i, where p_t is one polynomial for all tasks,
of degree at most t, with p_t(0) = 1: gradient descent, momentum, Nesterov's momentum, with or without a warm-up.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def halves(task: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return A (B, d, d) and b (B, d) of the losses ||A w - b||^2 of a full-batch `LeastSquares`, in its floats.

    >>> import metagrad as mg
    >>> A, b = halves(mg.LeastSquares(np.array([[[2.0]]]), np.array([[3.0]])))
    >>> round(float(((A[0] @ np.ones(1) - b[0]) ** 2).sum()), 12)
    0.5
    """
    root = np.asarray(np.sqrt(2 * task.n), dtype=task.X.dtype)
    return task.X / root, task.y / root


def spectra(task: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of the Hessians and the residuals in their coordinates, both (B, d), in float64."""
    A, b = (part.astype(np.float64) for part in halves(task))
    U, s, _ = np.linalg.svd(A)
    away = np.einsum("bij,bj->bi", A, task.w0.astype(np.float64)) - b
    return 2 * s**2, np.einsum("bij,bi->bj", U, away)


def least_of_schedules(lam: np.ndarray, r: np.ndarray, steps: int) -> np.ndarray:
    r"""Return the losses (steps + 1, B) of the schedules that have the least mean loss of all, one for each t.

    The mean loss of a schedule is a quadratic form in its p_t, the integral of p_t^2 over the measure mu with the
    masses r_i^2/B at lambda_i, of all tasks. Let pi_k be the orthonormal polynomials of mu. Of all p of degree at most
    t with p(0) = 1 the integral is least for
        p_t = sum_{k <= t} pi_k(0) pi_k / S_t,  S_t = sum_{k <= t} pi_k(0)^2,
    by Cauchy and Schwarz, and there it is 1/S_t (the Christoffel function of mu at 0). It is what t steps of conjugate
    gradients reach on the direct sum of all tasks. The pi_k are made by the Lanczos recurrence on diag(lambda) from r,
    each made orthogonal to all before it twice. p_t may be another polynomial at every t: no single schedule need have
    all these losses, and none has a smaller one at any t. In the mean over draws of tasks 1/S_t is below the
    least of what schedules are expected to have, as they are fitted to the draw. `lam`, `r` (B, d).
    Source: Hestenes and Stiefel 1952; Golub and Meurant 2010, chapter 2.

    >>> losses = least_of_schedules(np.array([[1.0], [2.0]]), np.ones((2, 1)), 2)
    >>> losses.mean(axis=1).round(12).tolist()  # one step size for two curvatures, then two steps for both
    [1.0, 0.1, 0.0]
    """
    x, size = lam.ravel(), np.linalg.norm(r)
    basis = np.zeros((steps + 1, x.size))
    basis[0] = r.ravel() / size
    at_0, before, beta = 1.0, 0.0, 0.0  # pi_k(0), pi_{k-1}(0), up to one factor, and the coefficient between them
    total, mixed = 1.0, basis[0].copy()
    losses = np.zeros((steps + 1, len(lam)))
    losses[0] = (r**2).sum(axis=1)
    for k in range(steps):
        w = x * basis[k]
        alpha = w @ basis[k]
        for _ in range(2):
            w -= (basis[: k + 1] @ w) @ basis[: k + 1]
        following = float(np.linalg.norm(w))
        if following <= np.finfo(float).eps * float(np.abs(x).max()):
            break  # as many steps as there are different eigenvalues: every task is solved
        basis[k + 1] = w / following
        at_0, before = -(alpha * at_0 + beta * before) / following, at_0
        beta = following
        total += at_0**2
        mixed += at_0 * basis[k + 1]
        losses[k + 1] = ((mixed * size / total).reshape(lam.shape) ** 2).sum(axis=1)
    return losses


def conjugate_gradients(task: Any, steps: int) -> np.ndarray:
    """Return the losses (steps + 1, B) of conjugate gradients, on each task by itself, in the floats of the task.

    The form for least squares, which never multiplies A'A out. A task at its minimum stays there.
    Source: Hestenes and Stiefel 1952, section 10.
    """
    A, b = halves(task)
    w = task.w0
    residual = b - _times(A, w)
    slope = _back(A, residual)
    p, size = slope, _squares(slope)
    losses = [_squares(residual)]
    for _ in range(steps):
        image = _times(A, p)
        step = _ratio(size, _squares(image))
        w, residual = w + step * p, residual - step * image
        slope = _back(A, residual)
        size, last = _squares(slope), size
        p = slope + _ratio(size, last) * p
        losses.append(_squares(_times(A, w) - b))
    return np.stack(losses)


def barzilai_borwein(task: Any, steps: int) -> np.ndarray:
    """Return the losses (steps + 1, B) of gradient descent with Barzilai and Borwein's step sizes, task by task.

    eta_t = s'y/y'y with s the last step and y the last change of the gradient, the shorter of their two. The first
    step is the best along the gradient. A task at its minimum stays there.
    Source: Barzilai and Borwein 1988, section 2.
    """
    A, b = halves(task)
    w = task.w0
    losses, eta = [_squares(_times(A, w) - b)], None
    for _ in range(steps):
        g = 2 * _back(A, _times(A, w) - b)
        image = _times(A, g)  # y is 2 A'A s, and s is along g
        change = 2 * _back(A, image)
        w = w - (_ratio(_squares(g), 2 * _squares(image)) if eta is None else eta) * g
        eta = _ratio(2 * _squares(image), _squares(change))
        losses.append(_squares(_times(A, w) - b))
    return np.stack(losses)


def _times(A: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.matmul(A, w[..., None])[..., 0]


def _back(A: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.matmul(v[:, None, :], A)[:, 0]


def _squares(x: np.ndarray) -> np.ndarray:
    return np.sum(x * x, axis=-1)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above/below (B, 1), and 0 where a task has come to its minimum: 0 below."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)[:, None]
