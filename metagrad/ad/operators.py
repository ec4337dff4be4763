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
from metagrad.ad.tape import IDENTITY, Var, value_of
from metagrad.guard import WrittenError


def _array_function(self: Var, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return call_function(function, args, kwargs)


def _array_ufunc(self: Var, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return call_ufunc(ufunc, method, inputs, kwargs)


def _reshape(self: Var, *shape: Any) -> Any:
    return s.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Var, *axes: Any) -> Any:
    is_one = len(axes) == 1 and not isinstance(axes[0], int)
    return s.transpose(self, (axes[0] if is_one else axes) or None)


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np, name)

    def call(self: Var, *args: Any, **kwargs: Any) -> Any:
        return call_function(function, (self, *args), kwargs)

    return call


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
    "__matmul__": p.matmul_of_any,
    "__rmatmul__": lambda y, x: p.matmul_of_any(x, y),
    "__neg__": e.negative,
    "__pos__": e.copy,
    "__abs__": e.absolute,
    "__getitem__": s.getitem,
    "__iter__": lambda x: (s.getitem(x, i) for i in range(len(x))),
    "T": property(s.transpose),
    "mT": property(lambda x: s.swapaxes(x, -1, -2)),
    "reshape": _reshape,
    "transpose": _transpose,
    "astype": lambda x, dtype, copy=True: s.astype(x, dtype),
    "flatten": s.ravel,
    **{f"__i{name}__": _augmented(name) for name in _AUGMENTED},
    **{f"__{name}__": _comparison(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    **{name: _method(name) for name in ("sum", "mean", "max", "min", "prod", "cumsum", "var", "std", "dot")},
    **{name: _method(name) for name in ("ravel", "squeeze", "swapaxes", "clip", "copy", "round", "argmax", "argmin")},
    **{name: _method(name) for name in ("all", "any", "argsort", "trace")},
}

for _attribute, _function in OPERATORS.items():
    setattr(Var, _attribute, _function)
