"""Products of matrices and tensors."""

from __future__ import annotations

import math
import operator
import string
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from metagrad.ad.constants import COMPLEX, ComplexOperandError, operand
from metagrad.ad.functions.rearranging import diagonal
from metagrad.ad.functions.shapes import (
    EachOperand,
    array_of,
    broadcast_to,
    cast,
    getitem,
    like,
    module_of,
    moveaxis,
    ravel,
    reshape,
    sum_,
    swapaxes,
)
from metagrad.ad.tape import Function, Var, multilinear, primitive
from metagrad.errors import bad_value
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
    x, y = array_of(a), array_of(b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    if y.ndim <= 2:
        return matmul(x, y)
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 2,)))


def inner(a: Any, b: Any) -> Any:
    """Sum of products over the last axes."""
    x, y = array_of(a), array_of(b)
    if not x.ndim or not y.ndim:
        return x * y
    if x.shape[-1] != y.shape[-1]:
        bad_value("inner", "b", f"an array of shape {y.shape}", f"a last axis of {x.shape[-1]}, as that of a")
    return tensordot(x, y, ((x.ndim - 1,), (y.ndim - 1,)))


def vdot(a: Any, b: Any) -> Any:
    """Sum of products of all entries."""
    x, y = ravel(array_of(a)), ravel(array_of(b))
    if x.shape != y.shape:
        bad_value("vdot", "b", f"an array of {y.size} entries", f"one of {x.size}, as a")
    return matmul(x, y)


def outer(a: Any, b: Any) -> Any:
    """All products of an entry of a with an entry of b."""
    return reshape(array_of(a), (-1, 1)) * reshape(array_of(b), (1, -1))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over paired axes."""
    x, y = array_of(a), array_of(b)
    sides = (tuple(range(-axes, 0)), tuple(range(axes))) if isinstance(axes, int | np.integer) else axes
    of_x, of_y = [normalize_axis_tuple(s, z.ndim, "tensordot: axes") for s, z in zip(sides, (x, y), strict=True)]
    letters = string.ascii_letters
    x_names, y_names = list(letters[: x.ndim]), list(letters[x.ndim : x.ndim + y.ndim])
    if [x.shape[i] for i in of_x] != [y.shape[j] for j in of_y]:
        came = f"{axes} for shapes {x.shape} and {y.shape}"
        bad_value("tensordot", "axes", came, "pairs of axes of one length")
    for i, j in zip(of_x, of_y, strict=True):
        y_names[j] = x_names[i]
    shared = set(x_names) & set(y_names)
    result = [n for n in x_names + y_names if n not in shared]
    return einsum(f"{''.join(x_names)},{''.join(y_names)}->{''.join(result)}", x, y)


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
    expected = ""
    if len(set(result)) < len(result) or not set(result) <= set(named):
        expected = "an output in which each index is one of the operands', and comes once"
    elif "." in named or (dots and arrow and "..." not in output):
        expected = "'...' once in an operand at most, and in the output if it stands for axes"
    if expected:
        bad_value("einsum", "subscripts", repr(subscripts), expected)
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


class _Plan(NamedTuple):
    """How a sum of products of two operands becomes a product of matrices."""

    alone: tuple[tuple[int, ...], tuple[int, ...]]  # the axes of each that occur nowhere else: summed first
    x_axes: tuple[int, ...]  # what is left of x: batch, rows, summed
    y_axes: tuple[int, ...]  # of y: batch, summed, columns
    shared: tuple[tuple[int, int], ...]  # an axis of x, an axis of y: the same index
    batch: int  # how many axes are batch, rows, summed
    rows: int
    summed: int
    out_axes: tuple[int, ...]  # the axes of (batch, rows, columns) in the order of the result


@lru_cache(maxsize=1024)
def _plan(subscripts: str) -> _Plan:
    inputs, _, result = subscripts.partition("->")
    x, y = inputs.split(",")
    alone = [tuple(i for i, c in enumerate(mine) if c not in other + result) for mine, other in ((x, y), (y, x))]
    both = [c for c in x if c in y]
    batch, summed = [c for c in both if c in result], [c for c in both if c not in result]
    rows, columns = [c for c in x if c not in y and c in result], [c for c in y if c not in x and c in result]
    x_left, y_left = [c for c in x if c in y + result], [c for c in y if c in x + result]
    made = batch + rows + columns
    return _Plan(
        (alone[0], alone[1]),
        tuple(x_left.index(c) for c in batch + rows + summed),
        tuple(y_left.index(c) for c in batch + summed + columns),
        tuple((x.index(c), y.index(c)) for c in both),
        len(batch),
        len(rows),
        len(summed),
        tuple(made.index(c) for c in result),
    )


def _by_matmul(subscripts: str, x: Any, y: Any) -> Any:
    """Return the sum of products of two arrays by one (stack of) matrix product."""
    plan = _plan(subscripts)
    x, y = [a.sum(axis=axes) if axes else a for a, axes in zip((x, y), plan.alone, strict=True)]
    x, y = x.transpose(plan.x_axes), y.transpose(plan.y_axes)
    b, r = plan.batch, plan.batch + plan.rows
    batch, rows, summed, columns = x.shape[:b], x.shape[b:r], x.shape[r:], y.shape[b + plan.summed :]
    inside = math.prod(summed)
    left = x.reshape((*batch, math.prod(rows), inside))
    right = y.reshape((*batch, inside, math.prod(columns)))
    return module_of(left, right).matmul(left, right).reshape(batch + rows + columns).transpose(plan.out_axes)


def _is_for_matmul(plan: _Plan, x: Any, y: Any) -> bool:
    """Tell whether a sum of products is a product of matrices, which is taken at every size."""
    if not plan.summed or x.dtype != y.dtype or x.dtype.itemsize < 4:
        return False  # NumPy's product of float16 matrices is a slow loop
    common = 1
    for i, j in plan.shared:
        if x.shape[i] != y.shape[j]:  # einsum broadcasts an axis of 1
            return False
        common *= x.shape[i]
    return bool(common)


def _sum_of_products(subscripts: str, optimize: Any, *operands: Any) -> Any:
    xp = namespace(*operands)
    if len(operands) == 2 and _is_for_matmul(_plan(subscripts), *operands):
        return _by_matmul(subscripts, *operands)
    return xp.einsum(subscripts, *operands, optimize=optimize)


_einsum: Function = primitive(
    "einsum",
    _sum_of_products,
    EachOperand(_einsum_rule, first=2),  # type: ignore[arg-type]  # indexed as a sequence is
    multilinear,
)


def einsum(*operands: Any, optimize: Any = False, dtype: Any = None, casting: str = "safe", order: str = "K") -> Any:
    """Sum of products in Einstein's notation, as a string before the operands or as a list after each.

    Of an index that comes twice in one operand the diagonal is taken first. `order` says how NumPy lays out the
    result, not what is in it.
    """
    subscripts, *given = operands if isinstance(operands[0], str) else _from_lists(*operands)
    arrays = [x if dtype is None and type(x) is Var else cast("einsum", x, dtype, casting) for x in given]
    explicit = _explicit(subscripts, tuple([x.ndim for x in arrays]))
    if _repeats(explicit):
        inputs, _, result = explicit.partition("->")
        terms, arrays = zip(*map(_diagonals, inputs.split(","), arrays), strict=True)  # type: ignore[assignment]
        explicit = f"{','.join(terms)}->{result}"
    return _einsum(explicit, optimize, *arrays)


@lru_cache(maxsize=1024)
def _repeats(explicit: str) -> bool:
    """Tell whether an index comes twice in one operand."""
    return any(len(set(term)) < len(term) for term in explicit.partition("->")[0].split(","))


# NumPy's order of labels: that of its letters where no output is given.
_LABELS = string.ascii_uppercase + string.ascii_lowercase


def _from_lists(*operands: Any) -> list[Any]:
    """Return (subscripts, *operands) of operands that each are followed by a list of labels, and a last one maybe."""
    count = len(operands) // 2 * 2
    terms = [_term(labels) for labels in operands[1:count:2]]
    output = f"->{_term(operands[-1])}" if len(operands) > count else ""
    return [f"{','.join(terms)}{output}", *operands[:count:2]]


def _term(labels: Any) -> str:
    if not isinstance(labels, list | tuple) or any(i is not Ellipsis and not 0 <= i < len(_LABELS) for i in labels):
        bad_value("einsum", "a list of labels", repr(labels), f"integers from 0 to {len(_LABELS) - 1}, or an Ellipsis")
    return "".join("..." if i is Ellipsis else _LABELS[operator.index(i)] for i in labels)


def _diagonals(term: str, x: Any) -> tuple[str, Any]:
    """Return the operand, and its indices, with the diagonal taken of each index that comes twice."""
    for c in sorted(set(term)):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            if x.shape[i] != x.shape[j]:
                came = f"an operand of shape {x.shape}"
                bad_value("einsum", f"what {term!r} names", came, f"one length along the axes of {c!r}")
            x, term = diagonal(x, 0, i, j), term[:i] + term[i + 1 : j] + term[j + 1 :] + c
    return term, x


def matmul_of_any(x1: Any, x2: Any) -> Any:
    """Product of matrices, one of which may be a list, a sparse matrix, or another thing that is made an array."""
    try:
        x = x1 if type(x1) is Var else operand(x1, "matmul")
        y = x2 if type(x2) is Var else operand(x2, "matmul")
    except ComplexOperandError:
        return COMPLEX["function"](np.matmul, (x1, x2), {})
    return matmul(x, y)


TABLE: dict[Any, Any] = {
    np.matmul: matmul_of_any,
    np.dot: dot,
    np.inner: inner,
    np.vdot: vdot,
    np.outer: outer,
    np.tensordot: tensordot,
    np.einsum: einsum,
}
