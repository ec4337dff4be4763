"""How far rounding may move the gradient of least squares: what is left of it at the solution."""

from __future__ import annotations

from metagrad.xp import Array, float_info, namespace

_CHUNK_ENTRIES = 1 << 20


def gradient_rounding(X: Array, w: Array, predictions: Array, y: Array, sizes: Array | None) -> Array:
    """Return the rounding level (B, d) of X'r/n, r = p - y, p = Xw (B, n), for X (n, d) or (B, n, d) and w (B, d).

    `sizes` (B,): the n of each task where they are unequal, X and y being 0 beyond.

    Every product, sum and residual is off by u, the unit roundoff, each in its own direction:
    dr_i = u (sqrt(sum_k x_ik^2 w_k^2) + |p_i| + |r_i|), dg_j = sqrt(sum_i x_ij^2 dr_i^2)/n. Derived.
    """
    sums = abs(predictions) + abs(predictions - y)
    if X.ndim == 2:
        return _level(X, w, sums)
    level = _by_parts(X, w, sums)
    return level if sizes is None else level * (X.shape[1] / sizes[:, None])


def _by_parts(X: Array, w: Array, sums: Array) -> Array:
    tasks = max(1, _CHUNK_ENTRIES // (X.shape[1] * X.shape[2]))  # no second X in memory
    parts = [slice(b, b + tasks) for b in range(0, X.shape[0], tasks)]
    return namespace(X).concatenate([_level(X[part], w[part], sums[part]) for part in parts])


def _level(X: Array, w: Array, sums: Array) -> Array:
    xp, axes = namespace(X), (-2, -1)
    top = _positive(xp.maximum(X.max(axis=axes, keepdims=True), -X.min(axis=axes, keepdims=True)))
    squares = X * (1 / top)
    squares *= X  # over the largest entry: in range wherever X is
    root = xp.sqrt(top[..., 0])
    of_residual = root * _root_of_products(squares, w) + sums
    of_gradient = root * _root_of_products(squares.swapaxes(-1, -2), of_residual)
    return float_info(X.dtype).eps / 2 / X.shape[-2] * of_gradient


def _root_of_products(squares: Array, x: Array) -> Array:
    """Return sqrt(sum_k squares_ik x_k^2), (B, ...), without leaving the range where x does not."""
    top = _positive(abs(x).max(axis=-1, keepdims=True))
    xp, relative = namespace(x), x / top
    relative = relative * relative
    total = xp.matmul(relative, squares.T) if squares.ndim == 2 else xp.matmul(squares, relative[..., None])[..., 0]
    return top * xp.sqrt(total)


def _positive(top: Array) -> Array:
    xp = namespace(top)
    return xp.where(top == 0, xp.asarray(1, dtype=top.dtype), top)
