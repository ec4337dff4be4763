"""Products of matrices and tensors."""

from __future__ import annotations

import math
import string
from functools import lru_cache
from typing import Any

from metagrad.ad.shapes import (
    EachOperand,
    broadcast_to,
    getitem,
    like,
    module_of,
    moveaxis,
    ravel,
    reshape,
    sum_,
    swapaxes,
)
from metagrad.ad.tape import Function, multilinear, primitive, value_of
from metagrad.xp import namespace


def _left(g: Any, out: Any, x: Any, y: Any) -> Any:
    """Return g y', summed over what was broadcast."""
    if y.ndim == 1:
        return like(getitem(g, (..., None)) * y, x)
    if x.ndim == 1:
        return like(getitem(matmul(y, getitem(g, (..., None))), (..., 0)), x)
    if x.ndim == 2 and y.ndim > 2:  # one product instead of a sum of products
        return like(matmul(_columns(g), swapaxes(_columns(y), 0, 1)), x)
    return like(matmul(g, swapaxes(y, -1, -2)), x)


def _right(g: Any, out: Any, x: Any, y: Any) -> Any:
    """Return x' g, summed over what was broadcast."""
    if x.ndim == 1:
        if y.ndim == 1:
            return like(g * x, y)
        return like(getitem(x, (slice(None), None)) * getitem(g, (..., None, slice(None))), y)
    if y.ndim == 1:
        return like(sum_(getitem(g, (..., None)) * x, tuple(range(x.ndim - 1))), y)
    if y.ndim == 2 and x.ndim > 2:
        return like(matmul(swapaxes(_rows(x), 0, 1), _rows(g)), y)
    return like(matmul(swapaxes(x, -1, -2), g), y)


def _rows(x: Any) -> Any:
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _columns(x: Any) -> Any:
    return reshape(moveaxis(x, -2, 0), (x.shape[-2], math.prod(x.shape[:-2]) * x.shape[-1]))


matmul: Function = primitive("matmul", lambda x, y: module_of(x, y).matmul(x, y), (_left, _right), multilinear)


def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: a product of numbers, vectors or matrices; of last and last but one axis beyond that."""
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 2,)))


def inner(a: Any, b: Any) -> Any:
    """Sum of products over the last axes."""
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


def vdot(a: Any, b: Any) -> Any:
    """Sum of products of all entries."""
    return matmul(ravel(a), ravel(b))


def outer(a: Any, b: Any) -> Any:
    """All products of an entry of a with an entry of b."""
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over paired axes."""
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    of_a, of_b = [(side,) if isinstance(side, int) else side for side in axes]
    letters = string.ascii_letters
    a_names, b_names = list(letters[: a.ndim]), list(letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(of_a, of_b, strict=True):
        b_names[j] = a_names[i]
    shared = set(a_names) & set(b_names)
    result = [n for n in a_names + b_names if n not in shared]
    return einsum(f"{''.join(a_names)},{''.join(b_names)}->{''.join(result)}", a, b)


def trace(a: Any) -> Any:
    """Sum over the diagonal of the first two axes."""
    xp = module_of(value_of(a))
    i = xp.arange(min(a.shape[0], a.shape[1]))
    return sum_(getitem(a, (i, i)), 0)


@lru_cache(maxsize=1024)
def _explicit(subscripts: str, ndims: tuple[int, ...]) -> str:
    """Return subscripts with an output and with letters for the ellipsis."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: subscripts {subscripts!r} name {len(terms)} operands, {len(ndims)} came")
    free = [c for c in string.ascii_letters if c not in subscripts]
    ranks = [n - len(term.replace("...", "")) for n, term in zip(ndims, terms, strict=True)]
    longest = max([rank for rank, term in zip(ranks, terms, strict=True) if "..." in term], default=0)
    dots = "".join(free[:longest])
    terms = [
        term.replace("...", dots[longest - rank :]) if "..." in term else term
        for rank, term in zip(ranks, terms, strict=True)
    ]
    named = "".join(terms)
    once = "".join(sorted(c for c in set(named) if named.count(c) == 1 and c not in dots))
    result = output.replace("...", dots) if arrow else dots + once
    for term in terms:
        if len(set(term)) < len(term):
            raise TypeError(
                f"einsum: {term!r} repeats an index within one operand; its derivative is not provided. "
                "Take the diagonal by x[..., i, i] first."
            )
    return f"{','.join(terms)}->{result}"


def _einsum_rule(i: int, g: Any, out: Any, subscripts: str, optimize: Any, *operands: Any) -> Any:
    inputs, _, result = subscripts.partition("->")
    terms = inputs.split(",")
    mine, x = terms[i], operands[i]
    others = [(term, operand) for k, (term, operand) in enumerate(zip(terms, operands, strict=True)) if k != i]
    known = set(result).union(*[term for term, _ in others])
    seen = "".join(c for c in mine if c in known)
    spec = ",".join([result, *[term for term, _ in others]]) + "->" + seen
    part = _einsum(spec, optimize, g, *[operand for _, operand in others])
    # An index of x alone was summed over, or met an axis of 1: its cotangent is the same at each place.
    kept = tuple(part.shape[seen.index(c)] if c in known else 1 for c in mine)
    full = tuple(x.shape[k] if n == 1 else n for k, n in enumerate(kept))
    return like(part if full == part.shape else broadcast_to(reshape(part, kept), full), x)


_einsum: Function = primitive(
    "einsum",
    lambda subscripts, optimize, *operands: namespace(*operands).einsum(subscripts, *operands, optimize=optimize),
    EachOperand(_einsum_rule, first=2),  # type: ignore[arg-type]  # indexed as a sequence is
    multilinear,
)


def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Any:
    """Sum of products in Einstein's notation; no index may occur twice within one operand."""
    return _einsum(_explicit(subscripts, tuple(x.ndim for x in operands)), optimize, *operands)
