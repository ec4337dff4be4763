"""The least-squares solution of each task, the smallest loss, and the coordinates about the solution, in float64.

With X_b = U S V' and r = y - X w_0, the solution nearest to w_0 is w_ls = w_0 + V S^-1 U'r, over the singular values
that are not zero, and what U does not reach of r is the smallest loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from metagrad.tasks.least_squares._products import own_mean, predictions
from metagrad.xp import Array, float_info, to_host

_ROUNDINGS = 8  # units in the last place that a residual of zero may have


class Decomposed(NamedTuple):
    """X = U S V' of each task, which singular values count (`inside`), and y - X w_0 (`start`)."""

    U: Any
    S: Any
    V: Any
    inside: Any
    start: Any


class Centred(NamedTuple):
    """A task in the coordinates e = V'(w - w_ls): its y is zero."""

    X: Any
    w0: Any
    validation: tuple[Any, Any] | None
    w_star: Any


def decompose(X: Array, y: Array, w0: Array, sizes: Any | None) -> Decomposed:
    """Return the decomposition in float64; singular values up to max(n, d) eps times the largest count as zero.

    `sizes` (B,): the n of each task where they are unequal, X and y being 0 beyond.
    """
    X, y, w0 = (to_host(x).astype(np.float64) for x in (X, y, w0))
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    n, d = X.shape[-2], X.shape[-1]
    rows = n if sizes is None else sizes[:, None]
    smallest = np.maximum(rows, d) * np.finfo(np.float64).eps * S[..., :1]
    inside = (smallest < S) & (np.arange(S.shape[-1]) < rows)
    S, V, start = np.where(inside, S, 0.0), Vt.swapaxes(-1, -2), y - predictions(X, w0)
    U, S, V, inside = (_of_each_task(part, y.shape[0], X.ndim == 2) for part in (U, S, V, inside))
    return Decomposed(U, S, V, inside, start)


def solve(X: Array, y: Array, w0: Array, sizes: Any | None) -> tuple[Any, Any]:
    """Return the solution nearest to w0, (B, d), and the smallest train loss, (B,)."""
    U, S, V, inside, start = decompose(X, y, w0, sizes)
    coefficients = np.einsum("bnk,bn->bk", U, start) * inside
    moved = np.einsum("bdk,bk->bd", V, coefficients / np.where(inside, S, 1.0))
    residual = start - np.einsum("bnk,bk->bn", U, coefficients)
    return to_host(w0) + moved, 0.5 * own_mean(residual**2, sizes)


def centre(
    X: Array, y: Array, w0: Array, sizes: Any | None, validation: tuple[Array, Array] | None, w_star: Array
) -> Centred:
    """Return the task in the coordinates about its solution, d of them, V completed to a basis."""
    U, S, V, inside, start = decompose(X, y, w0, sizes)
    k, (n, d) = S.shape[-1], X.shape[-2:]
    e0 = np.zeros((start.shape[0], d))
    e0[:, :k] = -np.einsum("bnk,bn->bk", U, start) * inside / np.where(inside, S, 1.0)
    there = np.zeros((start.shape[0], n, d))
    there[..., :k] = U * S[:, None, :]
    V = np.stack([_completed(v) for v in V])
    moves = np.concatenate([inside, np.zeros((len(e0), d - k), bool)], axis=1)
    if w_star is not None:
        away = np.einsum("bdi,bd->bi", V, to_host(w_star).astype(np.float64) - to_host(w0))
        exact = _fits(X, y, w_star)
        e0 = np.where(moves & exact[:, None], -away, e0)
        w_star = np.where(moves & exact[:, None], 0.0, away + e0)
    w_ls = to_host(w0) - np.einsum("bdi,bi->bd", V, e0)
    if validation is not None:
        X_val, y_val = (to_host(x).astype(np.float64) for x in validation)
        rest = np.where(_fits(*validation, w_ls)[:, None], 0.0, y_val - predictions(X_val, w_ls))
        validation = np.matmul(X_val, V), rest
    return Centred(there, e0, validation, w_star)


def _fits(X: Array, y: Array, w: Array) -> Any:
    """Return of which tasks the targets are Xw up to the rounding of their dtype, (B,)."""
    unit = float_info(X.dtype).eps / 2
    X, y, w = (to_host(x).astype(np.float64) for x in (X, y, w))
    level = np.abs(y) + predictions(np.abs(X), np.abs(w))
    return (np.abs(y - predictions(X, w)) <= _ROUNDINGS * unit * level).all(axis=-1)


def _of_each_task(part: Any, count: int, shared: bool) -> Any:
    return np.broadcast_to(part, (count, *part.shape)) if shared else part


def _completed(V: Any) -> Any:
    """Return the orthonormal columns V (d, k) with those that are missing to a basis, (d, d)."""
    return np.concatenate([V, np.linalg.qr(V, mode="complete")[0][:, V.shape[1] :]], axis=1)
