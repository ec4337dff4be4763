"""Products of a constant sparse matrix of SciPy's with traced values: S @ x, S.T @ x, S.dot(x), x @ S.

SciPy computes them. The rule of S @ x is S.T @ g, of the same kind, so that every order follows. The matrix is kept
with the entries that it had, as arrays are (`constants`). Entry by entry, S * x would be sparse and traced: refused,
as is the product that * means for old matrices.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from metagrad.ad.constants import TRACE, kept
from metagrad.ad.functions.shapes import like, transpose
from metagrad.ad.tape import Function, multilinear, primitive, value_of
from metagrad.errors import bad_type, bad_value
from metagrad.xp import namespace

_ROWS = "Rows of a batch, of shape (tasks, n), go on the left: w @ S.T gives one row for each task."


def is_sparse(x: Any) -> bool:
    """Tell sparse matrices and arrays, by what they have."""
    return hasattr(x, "nnz") and hasattr(x, "toarray")


class _Kept:
    """A sparse matrix with the entries that it had, and its transpose; no array, so that nothing takes it for one."""

    __slots__ = ("S", "_transposed")
    _transposed: Any

    def __init__(self, S: Any) -> None:
        self.S, self._transposed = S, None

    @property
    def transposed(self) -> _Kept:
        held: _Kept = self._transposed or _Kept(self.S.T)
        self._transposed = held
        return held

    def __repr__(self) -> str:
        return repr(self.S)


def _no_rule(g: Any, *_: Any) -> Any:
    raise AssertionError("a sparse matrix is a constant")


def _times(held: _Kept, x: Any) -> Any:
    if isinstance(x, np.ndarray) or namespace(x) is not np:
        return held.S @ x
    return np.matmul(held.S.toarray(), x)  # arrays that are none of NumPy's own, for which SciPy has no loop


def _transposed_times(g: Any, out: Any, held: _Kept, x: Any) -> Any:
    return like(_product(held.transposed, g), x)


_product: Function = primitive("sparse product", _times, (_no_rule, _transposed_times), multilinear)


def left_product(S: Any, x: Any) -> Any:
    """Return S @ x, S a constant sparse matrix and x a vector or a matrix that may be traced."""
    _check(S, value_of(x), "S @ x", 0)
    return _product(_kept(S), x)


def right_product(x: Any, S: Any) -> Any:
    """Return x @ S, S a constant sparse matrix and x a vector or a matrix that may be traced."""
    _check(S, value_of(x), "x @ S", -1)
    return transpose(_product(_kept(S).transposed, transpose(x)))


def _check(S: Any, value: Any, where: str, axis: int) -> None:
    if type(S).__module__.startswith("scipy.") and namespace(value) is not np:
        came = f"a {type(S).__name__} of SciPy on the host, while x is on a device"
        bad_type(where, "S", came, "both on one device", "Take S.toarray(), moved to the device.")
    if S.dtype.kind not in "fiub":
        remedy = "Write real and imaginary part apart: S.real @ x and S.imag @ x." if S.dtype.kind == "c" else ""
        bad_type(where, "S", f"a {type(S).__name__} of {S.dtype}", "real numbers", remedy)
    if len(S.shape) != 2:
        bad_value(where, "S", f"of shape {S.shape}", "a matrix", "Take S.toarray() for a sparse vector.")
    shape, n = np.shape(value), S.shape[1 if axis == 0 else 0]
    if len(shape) not in (1, 2) or shape[axis] != n:
        expected = f"a vector of {n}, or a matrix with {n} {'rows' if axis == 0 else 'columns'}"
        bad_value(where, "x", f"of shape {shape} beside S of shape {S.shape}", expected, _ROWS)


def _kept(S: Any) -> _Kept:
    """Return a sparse matrix with the entries of S, whatever is done to S: its arrays are kept as constants are."""
    if TRACE.get().sweeping:
        return _Kept(S)
    if S.format in ("lil", "dok"):  # lists and dicts, which nothing protects
        return _Kept(S.tocsr())
    held = copy.copy(S)
    for name, x in vars(S).items():
        if type(x) is np.ndarray:
            setattr(held, name, kept(x))
        elif type(x) is tuple and x and type(x[0]) is np.ndarray:
            setattr(held, name, tuple(kept(part) for part in x))
    return _Kept(held)
