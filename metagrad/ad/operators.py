"""The operators and methods of a traced value, by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np

from metagrad.ad.calls import call_function, call_ufunc
from metagrad.ad.functions import elementwise as e
from metagrad.ad.functions import products as p
from metagrad.ad.functions import shapes as s
from metagrad.ad.refusals import METHODS
from metagrad.ad.sparse import is_sparse, left_product, right_product
from metagrad.ad.tape import IDENTITY, Var, value_of, zeros_like
from metagrad.guard import WrittenError
from metagrad.xp import to_host


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


def _matmul(x: Var, y: Any) -> Any:
    return right_product(x, y) if type(y) not in _DENSE and is_sparse(y) else p.matmul_of_any(x, y)


def _rmatmul(y: Var, x: Any) -> Any:
    return left_product(x, y) if type(x) not in _DENSE and is_sparse(x) else p.matmul_of_any(x, y)


def _iterate(x: Var) -> Any:
    if not x.shape:
        raise TypeError("iteration over a traced value with no axes; np.atleast_1d(x) or x[None] gives it one")
    return (s.getitem(x, i) for i in range(len(x)))


def _format(x: Var, spec: str) -> str:
    """Format the plain value, for what is printed: arrays take no specification, as NumPy's do not."""
    return format(x.value if type(x.value) is float else to_host(x.value), spec) if spec else str(x)


def _to_device(x: Var, device: Any, **kwargs: Any) -> Any:
    x.value.to_device(device, **kwargs)  # raises where it is another one
    return x


def _absent(x: Var, name: str) -> Any:
    """Say that a traced value lacks an attribute, and which was meant."""
    if name in OPERATORS:  # a property that raised AttributeError, which would be hidden
        return OPERATORS[name].fget(x)
    raise AttributeError(_absence(name), name=name, obj=x)


@cache
def _absence(name: str) -> str:
    if name.startswith("_"):
        return name
    said = f"x.{name}: x is traced by metagrad.ad, and has no attribute {name!r}"
    if hasattr(np.ndarray, name):
        return f"{said}, which arrays have. Write it with NumPy's functions, or use metagrad.ad.stop_gradient(x)."
    close = get_close_matches(name, [known for known in dir(Var) if not known.startswith("_")], n=1)
    return f"{said}; arrays have none either." + (f" Did you mean {close[0]!r}?" if close else "")


_DENSE = frozenset({Var, np.ndarray, float, int, np.float64})
_AUGMENTED = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "matmul": "@"}

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
    "__pow__": e.power,
    "__rpow__": lambda y, x: e.power(x, y),
    "__matmul__": _matmul,
    "__rmatmul__": _rmatmul,
    "__neg__": e.negative,
    "__pos__": e.copy,
    "__abs__": e.absolute,
    "__getitem__": s.getitem,
    "__iter__": _iterate,
    "__contains__": lambda x, item: value_of(item) in x.value,
    "__format__": _format,
    "__copy__": e.copy,
    "__deepcopy__": lambda x, memo: e.copy(x),
    "__getattr__": _absent,
    "real": property(lambda x: x),
    "imag": property(lambda x: zeros_like(x.value)),
    "conj": lambda x: x,
    "conjugate": lambda x: x,
    "itemsize": property(lambda x: x.dtype.itemsize),
    "nbytes": property(lambda x: x.size * x.dtype.itemsize),
    "device": property(lambda x: getattr(x.value, "device", "cpu")),
    "flags": property(lambda x: np.asarray(x.value).flags if type(x.value) is float else x.value.flags),
    "to_device": _to_device,
    "T": property(lambda x: s.transpose(x) if x.shape else x),
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

for _attribute, _function in {**OPERATORS, **METHODS}.items():
    setattr(Var, _attribute, _function)
