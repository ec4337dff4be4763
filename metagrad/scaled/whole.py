"""NumPy's functions of whole arrays, on digits with exponents: sums, products, extremes, sorting, moving entries.

A sum aligns what it adds at the largest exponent, as a sum of floats does. A product of matrices is one product of
digits where each row and each column fits into the range together, else products first and sums after.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.scaled.entrywise import where, widen
from metagrad.scaled.numbers import Scaled, narrow
from metagrad.scaled.ranges import LOWEST, ldexp, of_digits
from metagrad.scaled.tables import FUNCTIONS, MOVING, REDUCTIONS, UFUNCS, refuse, together
from metagrad.xp import float_info


def _powers(x: Scaled) -> Any:
    return of_digits(x.mantissa, x.exponent)


def _sum(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    if dtype is not None and np.dtype(dtype) != a.dtype:
        refuse("numpy.sum", {"dtype": dtype})
    return a.sum(axis=axis, keepdims=keepdims)


def _mean(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    if dtype is not None and np.dtype(dtype) != a.dtype:
        refuse("numpy.mean", {"dtype": dtype})
    return a.mean(axis=axis, keepdims=keepdims)


def _extreme(largest: bool) -> Callable[..., Scaled]:
    pick = np.max if largest else np.min

    def reduce(a: Any, axis: Any = None, keepdims: bool = False) -> Scaled:
        key = _key(a)
        best = key == pick(key, axis=axis, keepdims=True)  # by sign and exponent first, then by digits
        digits = pick(np.where(best, a.mantissa, -np.inf if largest else np.inf), axis=axis, keepdims=True)
        power = np.where(best, a.exponent, LOWEST).max(axis=axis, keepdims=True)
        no_number = np.isnan(a.mantissa).any(axis=axis, keepdims=True)
        found = Scaled.of(np.where(no_number, np.nan, digits).astype(a.dtype), np.where(no_number, 0, power))
        return found if keepdims else found.squeeze(tuple(range(a.ndim)) if axis is None else axis)

    return reduce


def _key(a: Scaled) -> Any:
    """Return floats in the order of the numbers, but for ties of those with one exponent."""
    key = np.sign(a.mantissa) * (a.exponent + float(2**50))
    return np.where(np.isinf(a.mantissa), a.mantissa.astype(np.float64) * np.inf, key)


def _argsort(a: Any, axis: int = -1, kind: Any = None, order: Any = None) -> Any:
    return np.lexsort((a.mantissa, _key(a)), axis=axis)


def _sort(a: Any, axis: int = -1, kind: Any = None, order: Any = None) -> Scaled:
    return _along(a, _argsort(a, axis), axis)


def _along(arr: Any, indices: Any, axis: int = -1) -> Scaled:
    taken = [np.take_along_axis(part, indices, axis=axis) for part in (arr.mantissa, arr.exponent)]
    return Scaled(taken[0], taken[1])


def _arg(largest: bool) -> Callable[..., Any]:
    def found(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        best = _extreme(largest)(a, axis=axis, keepdims=True)
        return np.argmax((a == best) | np.isnan(a.mantissa), axis=axis, keepdims=keepdims)

    return found


def _cumulate(combine: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def cumulate(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        a, at = (a.ravel(), 0) if axis is None else (a, axis % a.ndim)
        parts = [a[(slice(None),) * at + (i,)] for i in range(a.shape[at])]
        for i in range(1, len(parts)):
            parts[i] = combine(parts[i - 1], parts[i])
        return np.stack(parts, at)

    return cumulate


def _prod(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    a, at = (a.ravel(), 0) if axis is None else (a, axis % a.ndim)
    total = widen(1.0, a.dtype)
    for i in range(a.shape[at]):
        total = total * a[(slice(None),) * at + (i,)]
    return np.expand_dims(total, at) if keepdims else total


def _add_at(full: Scaled, index: Any, g: Any) -> None:
    """Add g to full[index] in place, an index that comes twice twice; each entry aligned at its own largest."""
    g = widen(g, full.dtype)
    digits: Any = np.broadcast_to(g.mantissa, full.mantissa[index].shape)
    powers = np.broadcast_to(_powers(g), digits.shape)
    top = _powers(full)
    np.maximum.at(top, index, powers)
    total = ldexp(full.mantissa, _powers(full) - top)
    np.add.at(total, index, ldexp(digits, powers - top[index]))
    full[...] = Scaled.of(total, np.where(total == 0, 0, top))


# -- products


def _spread(x: Scaled, axis: int) -> int:
    """Return by how many powers of two the entries along an axis differ, at most."""
    powers = _powers(x)
    top = powers.max(axis=axis, initial=LOWEST)
    low = np.where(x.mantissa == 0, -LOWEST, x.exponent).min(axis=axis, initial=-LOWEST)
    return int(np.where(top == LOWEST, 0, top - low).max(initial=0))


def _matmul(x1: Any, x2: Any) -> Any:
    x: Any
    y: Any
    x, y = together(x1, x2)
    a: Any = x[None] if x.ndim == 1 else x
    b: Any = y[..., None] if y.ndim == 1 else y
    out: Any = _product(a, b)
    out = out[..., 0] if y.ndim == 1 else out
    return out if x.ndim > 1 else out[..., 0, :] if y.ndim > 1 else out[..., 0]


def _product(a: Scaled, b: Scaled) -> Scaled:
    """Return the product of matrices (..., n, k) and (..., k, m)."""
    if _spread(a, -1) + _spread(b, -2) < -float_info(np.dtype(a.dtype)).min_exponent - 8:
        (m, p), (n, q) = _aligned(a, -1), _aligned(b, -2)
        return Scaled.of(np.matmul(m, n), p + q)
    return (a[..., :, :, None] * b[..., None, :, :]).sum(axis=-2)


def _aligned(x: Scaled, axis: int) -> tuple[Any, Any]:
    """Return digits relative to the largest entry along an axis, and its exponent, along an axis of 1."""
    powers = _powers(x)
    top = powers.max(axis=axis, keepdims=True, initial=LOWEST)
    return ldexp(x.mantissa, powers - top), np.where(top == LOWEST, 0, top)


def _einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Scaled:
    if not isinstance(subscripts, str) or "." in subscripts:
        refuse("numpy.einsum", {"subscripts": subscripts})
    inputs, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    letters = "".join(terms)
    if not arrow:
        result = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if any(len(set(term)) < len(term) for term in terms):
        refuse("numpy.einsum of a repeated index", {})
    arrays = together(*operands)
    if len(arrays) == 2:
        return _contract(terms, arrays, result)
    total, seen = arrays[0], terms[0]
    for i in range(1, len(arrays)):  # pair by pair, keeping what is asked for later
        later = set("".join(terms[i + 1 :]) + result)
        kept = "".join(c for c in string.ascii_letters if c in set(seen + terms[i]) and c in later)
        total, seen = _contract([seen, terms[i]], [total, arrays[i]], kept), kept
    return _alone(total, seen, result)


def _alone(x: Scaled, term: str, result: str) -> Scaled:
    axes = tuple(i for i, c in enumerate(term) if c not in result)
    x, term = (x.sum(axis=axes) if axes else x), "".join(c for c in term if c in result)
    return x.transpose([term.index(c) for c in result])


def _contract(terms: list[str], arrays: list[Scaled], result: str) -> Scaled:
    """Return the sum of products of two operands, by (batch, rows, summed) times (batch, summed, columns)."""
    (s, t), (x, y) = terms, arrays
    s_left, t_left = "".join(c for c in s if c in t + result), "".join(c for c in t if c in s + result)
    x, y = _alone(x, s, s_left), _alone(y, t, t_left)
    both = [c for c in s_left if c in t_left]
    batch, summed = [c for c in both if c in result], [c for c in both if c not in result]
    rows, columns = [c for c in s_left if c not in t_left], [c for c in t_left if c not in s_left]
    size: dict[str, int] = {}
    for c, n in [*zip(s_left, x.shape, strict=True), *zip(t_left, y.shape, strict=True)]:
        size[c] = max(n, size.get(c, n))  # an axis of 1 is repeated
    both_whole: Any = [np.broadcast_to(z, tuple(size[c] for c in term)) for z, term in ((x, s_left), (y, t_left))]
    x, y = both_whole

    def many(of: list[str]) -> int:
        return int(np.prod([size[c] for c in of], dtype=np.int64))

    x = x.transpose([s_left.index(c) for c in batch + rows + summed]).reshape((many(batch), many(rows), many(summed)))
    y = y.transpose([t_left.index(c) for c in batch + summed + columns]).reshape(
        (many(batch), many(summed), many(columns))
    )
    made = batch + rows + columns
    out = _product(x, y).reshape(tuple(size[c] for c in made))
    return out.transpose([made.index(c) for c in result])


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Scaled:
    a, b = together(a, b)
    if isinstance(axes, int):
        axes = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    of_a, of_b = ([i] if isinstance(i, int) else list(i) for i in axes)
    names = string.ascii_letters
    s, t = list(names[: a.ndim]), list(names[a.ndim : a.ndim + b.ndim])
    for i, j in zip(of_a, of_b, strict=True):
        t[j % b.ndim] = s[i % a.ndim]
    result = "".join(c for c in s if c not in t) + "".join(c for c in t if c not in s)
    return _contract(["".join(s), "".join(t)], [a, b], result)


def _dot(a: Any, b: Any) -> Scaled:
    a, b = together(a, b)
    return a * b if 0 in (a.ndim, b.ndim) else _tensordot(a, b, ((a.ndim - 1,), (max(0, b.ndim - 2),)))


# -- arrays like others


def _like(fill: float) -> Callable[..., Scaled]:
    def like(a: Any, dtype: Any = None, shape: Any = None) -> Scaled:
        kind = dtype or a.dtype
        if np.dtype(kind).kind != "f":
            return np.full(a.shape if shape is None else shape, fill, kind)  # type: ignore[return-value]
        return Scaled.of(np.full(a.shape if shape is None else shape, fill, kind))

    return like


def _full_like(a: Any, fill_value: Any, dtype: Any = None, shape: Any = None) -> Any:
    filled: Any = np.broadcast_to(widen(fill_value, dtype or a.dtype), a.shape if shape is None else shape)
    return filled.copy()


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    a = a if a_min is None else np.maximum(a, a_min)
    return a if a_max is None else np.minimum(a, a_max)


def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Scaled]:
    parts = [np.split(part, indices_or_sections, axis) for part in (ary.mantissa, ary.exponent)]
    return [Scaled(m, e) for m, e in zip(*parts, strict=True)]


FUNCTIONS.update(
    {
        np.sum: _sum,
        np.mean: _mean,
        np.max: _extreme(True),
        np.min: _extreme(False),
        np.argmax: _arg(True),
        np.argmin: _arg(False),
        np.sort: _sort,
        np.argsort: _argsort,
        np.take_along_axis: _along,
        np.prod: _prod,
        np.cumsum: _cumulate(lambda a, b: a + b),
        np.cumprod: _cumulate(lambda a, b: a * b),
        np.add.at: _add_at,
        np.where: where,
        np.clip: _clip,
        np.einsum: _einsum,
        np.tensordot: _tensordot,
        np.dot: _dot,
        np.zeros_like: _like(0.0),
        np.ones_like: _like(1.0),
        np.empty_like: _like(0.0),
        np.full_like: _full_like,
        np.split: _split,
        np.shape: lambda a: a.shape,
        np.ndim: lambda a: a.ndim,
        np.size: lambda a: a.size,
        np.isscalar: lambda a: False,
        np.result_type: lambda *a: np.result_type(*[x.dtype if type(x) is Scaled else x for x in a]),
        np.astype: lambda x, dtype, copy=True: x.astype(dtype),
        np.all: lambda a, axis=None, keepdims=False: (a.mantissa != 0).all(axis=axis, keepdims=keepdims),
        np.any: lambda a, axis=None, keepdims=False: (a.mantissa != 0).any(axis=axis, keepdims=keepdims),
        np.count_nonzero: lambda a, axis=None: np.count_nonzero(a.mantissa, axis=axis),
        np.allclose: lambda *a, **options: np.allclose(*[narrow(x) for x in a], **options),
        np.array_equal: lambda a, b: a.shape == b.shape and bool((a == b).all()),
    }
)
REDUCTIONS.update({"add": _sum, "maximum": _extreme(True), "minimum": _extreme(False), "multiply": _prod})
MOVING.update(
    {
        *(np.reshape, np.transpose, np.broadcast_to, np.concatenate, np.stack, np.squeeze, np.moveaxis, np.swapaxes),
        *(np.expand_dims, np.ravel, np.flip, np.copy, np.atleast_1d, np.atleast_2d, np.roll, np.repeat, np.tile),
        *(np.take, np.matrix_transpose, np.hstack, np.vstack, np.diagonal),
        np.lib.stride_tricks.sliding_window_view,
    }
)

UFUNCS["matmul"] = _matmul
