"""Orthonormal bases of Krylov spaces of X'X, for several training sets at once.

Golub and Kahan's bidiagonalisation of X, XV = UB, keeps small singular values; Lanczos' tridiagonalisation of X'X,
V'X'XV = T, needs only the matrices X'X. The bases are reorthogonalised in full, without which they do not stay
orthogonal. The training sets are the leading axis of every array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metagrad.theory.numbers.checks import Floats

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Space:
    """Bases V (k, t, d) of span{b, X'Xb, ..}, ||b|| (k,), and the sides of B or T: (k, t) and (k, t - 1).

    A space that is exhausted after j steps has zeros from there on; `found` (k,) is j. `square`: T, not B.
    """

    basis: Floats
    start: Floats
    diagonal: Floats
    side: Floats
    found: NDArray[np.int_]
    square: bool

    def singular(self, k: int, eps: float) -> tuple[Floats, Floats]:
        """Return s (r,) and Q (j, r) with V'X'XV = Q diag(s^2) Q': those s above eps max(s) that floats can tell."""
        j = int(self.found[k])
        matrix = np.diag(self.diagonal[k, :j])
        matrix[range(j - 1), range(1, j)] = self.side[k, : j - 1] if j else 0.0
        if self.square:
            values, vectors = np.linalg.eigh(matrix, UPLO="U")
            values, vectors = values[::-1], vectors[:, ::-1]
            kept = values > eps * np.max(values, initial=0.0)
            return np.sqrt(values[kept]), vectors[:, kept]
        _, values, rows = np.linalg.svd(matrix)
        kept = values > eps * np.max(values, initial=0.0)
        return values[kept], rows[kept].T


def bidiagonal(X: Floats, train: NDArray[np.bool_], start: Floats, steps: int) -> Space:
    """Bidiagonalise the rows X (n, d) of each training set (k, n), from b = `start` (k, d)."""
    weight = train.astype(np.float64)
    V, U = np.zeros((len(train), steps, X.shape[1])), np.zeros((len(train), steps, len(X)))
    diagonal, side = np.zeros((len(train), steps)), np.zeros((len(train), steps))
    z, size = start, np.zeros(len(train))
    for j in range(steps):
        if j:
            z = _orthogonal(U[:, j - 1] @ X - diagonal[:, j - 1, None] * V[:, j - 1], V[:, :j])
        side[:, j] = _normalised(z, max(X.shape) * _EPS * size, V[:, j])
        p = (V[:, j] @ X.T) * weight
        if j:
            p = _orthogonal(p - side[:, j, None] * U[:, j - 1], U[:, :j])
        diagonal[:, j] = _normalised(p, 0.0 * size, U[:, j])
        size = np.maximum(size, diagonal[:, j])
    return Space(V, side[:, 0], diagonal, side[:, 1:], np.count_nonzero(side, axis=1), square=False)


def tridiagonal(X: Floats, train: NDArray[np.bool_], start: Floats, steps: int) -> Space:
    """Run Lanczos with X'X of each training set (k, n), from b = `start` (k, d)."""
    hessian = _grams(X, train)
    V = np.zeros((len(train), steps, X.shape[1]))
    diagonal, side = np.zeros((len(train), steps)), np.zeros((len(train), steps))
    z, size = start, np.zeros(len(train))
    for j in range(steps):
        side[:, j] = _normalised(z, max(X.shape) * _EPS * size, V[:, j])
        z = hessian(V[:, j])
        diagonal[:, j] = np.einsum("ij,ij->i", V[:, j], z)
        size = np.maximum(size, diagonal[:, j])
        # the recurrence first: what is left to the projection is rounding, which it cannot amplify
        z = z - diagonal[:, j, None] * V[:, j]
        if j:
            z -= side[:, j, None] * V[:, j - 1]
        if j + 1 < steps:
            z = _orthogonal(z, V[:, : j + 1])
    return Space(V, side[:, 0], diagonal, side[:, 1:], np.count_nonzero(side, axis=1), square=True)


def _grams(X: Floats, train: NDArray[np.bool_]) -> Callable[[Floats], Floats]:
    """Return v (k, d) -> X'Xv through the matrices X'X: one product for rows that are in the same training sets."""
    patterns, which = np.unique(train, axis=1, return_inverse=True)
    H = np.zeros((len(train), X.shape[1], X.shape[1]))
    for j, pattern in enumerate(patterns.T):
        part = X[which.ravel() == j]
        H[pattern] += part.T @ part
    return lambda v: (v[:, None] @ H)[:, 0]


def _normalised(z: Floats, least: Floats, out: Floats) -> Floats:
    """Write z/||z|| (k, d) into `out`, and return ||z||; 0 for both where ||z|| is at most `least`."""
    norm = np.sqrt(np.einsum("ij,ij->i", z, z))
    norm = np.where(norm <= least, 0.0, norm)
    np.divide(z, np.where(norm == 0, np.inf, norm)[:, None], out=out)
    return np.asarray(norm, np.float64)


def _orthogonal(z: Floats, past: Floats) -> Floats:
    """Return z (k, d) without its part in the span of `past` (k, j, d); again where most of z was in it."""
    for _ in range(2):
        before = np.einsum("ij,ij->i", z, z)
        z = z - ((past @ z[:, :, None]).transpose(0, 2, 1) @ past)[:, 0]
        if np.all(np.einsum("ij,ij->i", z, z) > 0.01 * before):
            break
    return z
