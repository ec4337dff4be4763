"""The operators and methods of a traced value, by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad.calls import call_function, call_ufunc
from metagrad.ad.functions import elementwise as e
from metagrad.ad.functions import products as p
from metagrad.ad.functions import rounding as r
from metagrad.ad.functions import shapes as s
from metagrad.ad.refusals import METHODS, refuse
from metagrad.ad.sparse import is_sparse, left_product, right_product
from metagrad.ad.tape import IDENTITY, Var, value_of
from metagrad.ad.values import VALUES, iterate
from metagrad.guard import WrittenError


def _array_function(self: Var, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return call_function(function, args, kwargs)


def _array_ufunc(self: Var, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return call_ufunc(ufunc, method, inputs, kwargs)


def _reshape(self: Var, *shape: Any, order: Any = "C", copy: Any = None) -> Any:
    return s.reshape(self, shape[0] if len(shape) == 1 else shape, order, copy)


def _transpose(self: Var, *axes: Any) -> Any:
    is_one = len(axes) == 1 and not isinstance(axes[0], int | np.integer)
    return s.transpose(self, (axes[0] if is_one else axes) or None)


def _astype(
    self: Var, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
) -> Any:
    return s.astype(self if casting == "unsafe" else s.cast("astype", self, dtype, casting), dtype)


class _Flat:
    """What `x.flat` gives: the entries one after the other, to iterate over or to index."""

    def __init__(self, x: Var) -> None:
        self._entries = s.ravel(x)

    def __iter__(self) -> Any:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        return self._entries[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        refuse("x.flat[index] = value", "Build a new array with np.where, np.concatenate or np.stack.")


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def call(self: Var, *args: Any, **kwargs: Any) -> Any:
        return call_function(function, (self, *args), kwargs)

    return call


_DENSE = frozenset({Var, np.ndarray, float, int, np.float64})


def _matmul(x: Var, y: Any) -> Any:
    return right_product(x, y) if type(y) not in _DENSE and is_sparse(y) else p.matmul_of_any(x, y)


def _rmatmul(y: Var, x: Any) -> Any:
    return left_product(x, y) if type(x) not in _DENSE and is_sparse(x) else p.matmul_of_any(x, y)


def _comparison(name: str) -> Callable[[Var, Any], Any]:
    operation = getattr(operator, name)

    def call(self: Var, other: Any) -> Any:
        return operation(self.value, value_of(other))

    return call


def _augmented(name: str) -> Callable[[Var, Any], Any]:
    """Return `x op= y`, which gives the name another value: right for what was computed, not for what was given."""

    def call(self: Var, other: Any) -> Any:
        if (self.op is None or self.op is IDENTITY) and isinstance(self.value, np.ndarray):
            sign = _AUGMENTED[name]
            raise WrittenError(
                f"x {sign}= y on an array that a function was given would write into what its caller keeps. Write "
                f"x = x {sign} y, or x = x.copy() before it."
            )
        return OPERATORS[f"__{name}__"](self, other)

    return call


_AUGMENTED = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "matmul": "@", "mod": "%"}

OPERATORS: dict[str, Any] = {
    **VALUES,
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
    "__add__": e.add,
    "__radd__": e.add,
    "__sub__": e.subtract,
    "__rsub__": lambda y, x: e.subtract(x, y),
    "__mul__": e.multiply,
    "__rmul__": e.multiply,
    "__truediv__": e.divide,
    "__rtruediv__": lambda y, x: e.divide(x, y),
    "__mod__": r.remainder,
    "__rmod__": lambda y, x: r.remainder(x, y),
    "__floordiv__": lambda x, y: call_function(np.floor_divide, (x, y), {}),
    "__rfloordiv__": lambda y, x: call_function(np.floor_divide, (x, y), {}),
    "__divmod__": lambda x, y: call_function(np.divmod, (x, y), {}),
    "__rdivmod__": lambda y, x: call_function(np.divmod, (x, y), {}),
    "__pow__": e.power,
    "__rpow__": lambda y, x: e.power(x, y),
    "__matmul__": _matmul,
    "__rmatmul__": _rmatmul,
    "__neg__": e.negative,
    "__pos__": e.copy,
    "__abs__": e.absolute,
    "__getitem__": s.getitem,
    "__iter__": iterate,
    "T": property(lambda x: s.transpose(x) if x.shape else x),
    "mT": property(lambda x: s.swapaxes(x, -1, -2)),
    "reshape": _reshape,
    "transpose": _transpose,
    "astype": _astype,
    "flatten": s.ravel,
    "flat": property(_Flat),
    "itemsize": property(lambda x: x.dtype.itemsize),
    "nbytes": property(lambda x: x.size * x.dtype.itemsize),
    "strides": property(lambda x: s.as_array(x.value).strides),
    "flags": property(lambda x: s.as_array(x.value).flags),
    **{f"__i{name}__": _augmented(name) for name in _AUGMENTED},
    **{f"__{name}__": _comparison(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{name: _method(name) for name in ("sum", "mean", "max", "min", "prod", "cumsum", "var", "std", "dot")},
    **{name: _method(name) for name in ("ravel", "squeeze", "swapaxes", "clip", "copy", "round", "argmax", "argmin")},
    **{name: _method(name) for name in ("all", "any", "argsort", "trace", "take", "repeat", "diagonal", "choose")},
    "compress": lambda x, condition, axis=None: call_function(np.compress, (condition, x, axis), {}),
    **{name: _method(name) for name in ("cumprod", "argpartition", "searchsorted", "nonzero")},
}

for _attribute, _function in {**OPERATORS, **METHODS}.items():
    setattr(Var, _attribute, _function)
