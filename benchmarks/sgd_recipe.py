"""Mean m = E[w] and second moment M = E[ww'] of minibatch SGD on a finite sample, stepped plainly in NumPy.

    m <- m - eta (Hm - g)
    M <- M - eta (HM + MH - gm' - mg') + eta^2 [C/b + (1 - 1/b) B]
    C = (1/n) sum_i x_i x_i' (x_i'Mx_i - 2 y_i x_i'm + y_i^2),    B = HMH - Hmg' - gm'H + gg'

with H = X'X/n, g = X'y/n, and the same differentiated in eta. Expected train loss: (tr(HM) - 2 g'm + y'y/n)/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


@dataclass(frozen=True)
class Sgd:
    """A sample X (n, d), y (n,), the start w0 (d,), the batch size, the step size and the number of steps."""

    X: Floats
    y: Floats
    w0: Floats
    batch: int
    eta: float
    steps: int


def random_sgd(n: int, d: int, steps: int, batch: int = 4, seed: int = 0) -> Sgd:
    """Return noisy targets of a random w*, and a step size within the stable range for n >= d."""
    stream = np.random.default_rng(np.random.SeedSequence([seed, n, d, batch]))
    X, w_star, w0 = stream.standard_normal((n, d)), stream.standard_normal(d), stream.standard_normal(d)
    y = X @ (w_star / np.sqrt(d)) + stream.standard_normal(n)
    return Sgd(X, y, w0, batch, 0.5 * batch / (d + batch + 1), steps)


def losses(problem: Sgd) -> Floats:
    """Return the expected train loss after 0..T steps and its eta-derivative, (2, T + 1)."""
    X, y, eta = problem.X, problem.y, problem.eta
    H, g = X.T @ X / len(y), X.T @ y / len(y)
    m, M = problem.w0, np.outer(problem.w0, problem.w0)
    dm, dM = np.zeros_like(m), np.zeros_like(M)
    found = np.empty((2, problem.steps + 1))
    for k in range(problem.steps + 1):
        found[:, k] = np.sum(H * M) / 2 - g @ m + y @ y / (2 * len(y)), np.sum(H * dM) / 2 - g @ dm
        P, Q = _parts(problem, H, g, m, M, one=1.0)
        dP, dQ = _parts(problem, H, g, dm, dM, one=0.0)
        dm, m = dm - (H @ m - g) - eta * (H @ dm), m - eta * (H @ m - g)
        dM, M = dM - P - eta * dP + 2 * eta * Q + eta**2 * dQ, M - eta * P + eta**2 * Q
    return found


def _parts(problem: Sgd, H: Floats, g: Floats, m: Floats, M: Floats, one: float) -> tuple[Floats, Floats]:
    # Linear in (M, m, one), so that the tangent has the same parts with one = 0.
    X, y, b = problem.X, problem.y, problem.batch
    HM, gm, Hmg = H @ M, np.outer(g, m), np.outer(H @ m, g)
    weights = np.einsum("ij,jk,ik->i", X, M, X, optimize=True) - 2 * y * (X @ m) + one * y**2
    C = X.T @ (weights[:, None] * X) / len(y)
    B = HM @ H - Hmg - Hmg.T + one * np.outer(g, g)
    return HM + HM.T - gm - gm.T, C / b + (1 - 1 / b) * B
