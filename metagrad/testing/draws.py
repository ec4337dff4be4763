"""Small problems of a seed, well-posed so that what a test finds is not their conditioning: what strategies draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad import ad, checks, parts
from metagrad.errors import bad_type, bad_value
from metagrad.protocols import Task
from metagrad.tasks import DiagonalQuadratic, FunctionTask, LeastSquares, Quadratic, random_least_squares
from metagrad.xp import rng, to_host


def quadratic(
    batch: int,
    d: int,
    seed: int,
    dtype: Any = np.float64,
    diagonal: bool = False,
    spectrum: tuple[float, float] = (0.1, 2.0),
) -> Quadratic | DiagonalQuadratic:
    """Return `batch` quadratics w' H w / 2 of `d` coordinates, their eigenvalues uniform in `spectrum`.

    No entry of w_0 in the basis of a diagonal H is below 0.5 or above 2 in size, so that every mode counts. `diagonal`
    gives a `DiagonalQuadratic`, else H is turned at random. The same seed gives the same problems. ValueError for
    counts below 1 and for a spectrum that does not rise from above 0; TypeError for other kinds.

    >>> quadratic(2, 3, seed=0).H.shape
    (2, 3, 3)
    """
    where = "quadratic"
    batch, d = checks.count(where, "batch", batch), checks.count(where, "d", d)
    dtype = checks.float_dtype(where, "dtype", dtype)
    least, most = spectrum_of(where, spectrum)
    checks.flag(where, "diagonal", diagonal)
    draw = rng(checks.count(where, "seed", seed, 0), "test_quadratic", batch, d)
    eigenvalues = draw.uniform(least, most, size=(batch, d))
    w0 = draw.choice([-1.0, 1.0], size=(batch, d)) * draw.uniform(0.5, 2.0, size=(batch, d))
    if diagonal:
        return DiagonalQuadratic(eigenvalues.astype(dtype), w0.astype(dtype))
    Q = np.linalg.qr(draw.standard_normal((batch, d, d)))[0]
    H = np.einsum("bij,bj,bkj->bik", Q, eigenvalues, Q)
    return Quadratic(((H + H.swapaxes(1, 2)) / 2).astype(dtype), w0.astype(dtype))


def spectrum_of(where: str, spectrum: Any) -> tuple[float, float]:
    """Return the least and the largest eigenvalue; raise unless 0 < least <= largest."""
    if not isinstance(spectrum, tuple | list) or len(spectrum) != 2:
        bad_type(where, "spectrum", checks.shown(spectrum), "(least, largest), two numbers")
    least, most = (checks.number(where, "spectrum", x, above=0.0) for x in spectrum)
    if least > most:
        bad_value(where, "spectrum", spectrum, "(least, largest) in this order")
    return least, most


def regression(
    batch: int, n: int, d: int, seed: int, sigma: float = 0.5, validation: bool = False, dtype: Any = np.float64
) -> LeastSquares:
    """Return `batch` least-squares tasks of `n` samples and `d` inputs with noise sigma, from w_0 = 0.

    With `validation` the last half of the samples, rounded down, is held out (n >= 2). As
    `metagrad.random_least_squares`, which checks the arguments.

    >>> regression(2, 6, 3, seed=0, validation=True).X.shape
    (2, 3, 3)
    """
    checks.flag("regression", "validation", validation)
    split = 0.5 if validation else None
    return random_least_squares(batch, n, d, sigma=sigma, seed=seed, split=split, dtype=dtype)


def logistic_regression(batch: int, n: int, d: int, seed: int, dtype: Any = np.float64) -> FunctionTask:
    """Return `batch` tasks of regularized logistic regression, a `FunctionTask`: no quadratic, and positive everywhere.

    Its losses are mean log(1 + exp(-y x w)) + |w|^2/20 + 0.1, of `n` samples of `d` inputs with labels y = -1, 1.
    TypeError and ValueError for counts below 1 and other kinds.

    >>> logistic_regression(2, 8, 3, seed=0).w0.shape
    (2, 3)
    """
    where = "logistic_regression"
    batch, n, d = (checks.count(where, name, x) for name, x in (("batch", batch), ("n", n), ("d", d)))
    dtype = checks.float_dtype(where, "dtype", dtype)
    draw = rng(checks.count(where, "seed", seed, 0), "test_logistic", batch, n, d)
    x = draw.standard_normal((batch, n, d))
    yx = (np.where(x[..., :1] + draw.standard_normal((batch, n, 1)) > 0, 1.0, -1.0) * x).astype(dtype)

    def loss(w: Any) -> Any:
        z = np.einsum("bnd,bd->bn", yx, w)
        decay = np.sum(w * w, axis=-1) / 20
        return np.mean(np.log1p(np.exp(-np.abs(z))) + np.maximum(-z, 0.0), axis=-1) + decay + dtype.type(0.1)

    return FunctionTask(loss, draw.standard_normal((batch, d)).astype(dtype))


def curvature(task: Task, seed: int = 0) -> float:
    """Return the largest eigenvalue of the Hessian at w_0 over all tasks: L, where gradient descent leaves at 2/L.

    For tasks whose w is one array (B, d), by d products with the Hessian; where the loss is a sample's, that of step 0.
    TypeError for other trees and for what is no task.

    >>> round(curvature(quadratic(1, 2, seed=0, spectrum=(2.0, 2.0))), 12)
    2.0
    """
    where = "curvature"
    parts.check_part(where, "task", task, Task)
    seed = checks.count(where, "seed", seed, 0)
    w = parts.start_of(task, seed)
    if getattr(w, "ndim", 0) != 2:
        bad_type(where, "task", f"one whose w is {checks.shown(w)}", "one whose w is an array (B, d)")
    sample = parts.sample(task, seed, 0, np) if parts.is_random(task) else None
    columns = []
    for i in range(w.shape[1]):
        e = np.zeros(w.shape, dtype=w.dtype)
        e[:, i] = 1.0
        column = ad.jvp(lambda u: parts.gradient(task, u, sample), (w,), (e,))[1]
        columns.append(np.zeros(w.shape) if column is None else to_host(column))
    H = np.stack(columns, axis=-1).astype(np.float64)
    if not np.isfinite(H).all():
        bad_value(where, "task", "one whose Hessian at w_0 is inf or NaN", "a loss that is smooth at its start")
    return float(np.linalg.eigvalsh((H + H.swapaxes(1, 2)) / 2).max())
