"""What code sees that is written for NumPy: the functions and operators of a traced value, by name.

`FUNCTIONS` maps NumPy's functions to their differentiable forms, `CONSTANT` lists those that have no derivative.
A new function is one primitive (or a composition) in elementwise, shapes, reductions, sorting or products, one line
here, and one line in domains: the tests run over all of them.
"""

from __future__ import annotations

import inspect
import operator
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from metagrad.ad import elementwise as e
from metagrad.ad import products as p
from metagrad.ad import reductions as r
from metagrad.ad import shapes as s
from metagrad.ad import sorting
from metagrad.ad.constants import NUMBERS, operand
from metagrad.ad.tape import IDENTITY, Var, multilinear, primitive, value_of
from metagrad.guard import WrittenError

_passed = (lambda g, out, a: g,)
_copied = primitive("copy", lambda a: a, _passed, multilinear, _passed)


def _copy(a: Any) -> Any:
    """Return a, which is no leaf then: it may be written over."""
    return _copied(a)


def _matmul(x: Any, y: Any) -> Any:
    return p.matmul(x if type(x) is Var else operand(x, "matmul"), y if type(y) is Var else operand(y, "matmul"))


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.add: e.add,
    np.subtract: e.subtract,
    np.multiply: e.multiply,
    np.divide: e.divide,
    np.power: e.power,
    np.negative: e.negative,
    np.positive: _copy,
    np.square: e.square,
    np.sqrt: e.sqrt,
    np.exp: e.exp,
    np.expm1: e.expm1,
    np.log: e.log,
    np.log2: e.log2,
    np.log10: e.log10,
    np.log1p: e.log1p,
    np.sin: e.sin,
    np.cos: e.cos,
    np.sinh: e.sinh,
    np.cosh: e.cosh,
    np.tanh: e.tanh,
    np.arctan: e.arctan,
    np.arcsinh: e.arcsinh,
    np.absolute: e.absolute,
    np.fabs: e.absolute,
    np.reciprocal: e.reciprocal,
    np.maximum: e.maximum,
    np.minimum: e.minimum,
    np.logaddexp: e.logaddexp,
    np.where: e.where,
    np.clip: e.clip,
    np.sum: lambda a, axis=None, keepdims=False: s.sum_(a, axis, keepdims),
    np.mean: r.mean,
    np.max: r.max_,
    np.min: r.min_,
    np.prod: r.prod,
    np.cumsum: r.cumsum,
    np.var: r.var,
    np.std: r.std,
    np.linalg.norm: r.norm,
    np.sort: sorting.sort,
    np.median: sorting.median,
    np.take_along_axis: sorting.take_along_axis,
    np.matmul: _matmul,
    np.dot: p.dot,
    np.inner: p.inner,
    np.vdot: p.vdot,
    np.outer: p.outer,
    np.tensordot: p.tensordot,
    np.trace: p.trace,
    np.einsum: p.einsum,
    np.transpose: lambda a, axes=None: s.transpose(a, axes),
    np.matrix_transpose: lambda x: s.swapaxes(x, -1, -2),
    np.swapaxes: s.swapaxes,
    np.moveaxis: s.moveaxis,
    np.reshape: s.reshape,
    np.ravel: s.ravel,
    np.broadcast_to: s.broadcast_to,
    np.full_like: s.full_like,
    np.expand_dims: s.expand_dims,
    np.squeeze: s.squeeze,
    np.flip: s.flip,
    np.concatenate: s.concatenate,
    np.stack: s.stack,
    np.split: s.split,
    np.astype: s.astype,
    np.atleast_1d: lambda x: x if x.ndim else s.reshape(x, (1,)),
    np.atleast_2d: lambda x: x if x.ndim >= 2 else s.reshape(x, (1, x.size)),
    np.copy: _copy,
}

CONSTANT = frozenset(
    {
        *(np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.isfinite, np.isinf, np.isnan, np.signbit),
        *(np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal),
        *(np.logical_and, np.logical_or, np.logical_not, np.all, np.any, np.count_nonzero),
        *(np.argmax, np.argmin, np.argsort, np.argpartition, np.shape, np.ndim, np.size, np.result_type, np.allclose),
        *(np.zeros_like, np.ones_like, np.empty_like, np.array_equal),
    }
)

_REMEDY = (
    "Write it with supported functions (metagrad.ad.ops.FUNCTIONS), bring your own with metagrad.ad.primitive, or "
    "apply it to metagrad.ad.stop_gradient(x) if no derivative is meant."
)


def _name(function: Any) -> str:
    return f"{getattr(function, '__module__', None) or 'numpy'}.{function.__name__}"


def _unsupported(function: Any, what: str = "") -> TypeError:
    return TypeError(f"{_name(function)}{what} cannot be traced by metagrad.ad. {_REMEDY}")


class _Signature(NamedTuple):
    """How NumPy's function is called, and what of it is supported."""

    ours: frozenset[str]
    theirs: dict[str, Any]  # the defaults of its parameters by name; empty where NumPy does not tell
    shared: int  # how many parameters come in the same place


@cache
def _signature(function: Any) -> _Signature:
    ours = tuple(inspect.signature(FUNCTIONS[function]).parameters)
    try:
        given = list(inspect.signature(function).parameters.values())
    except ValueError:
        given = []
    theirs = {p.name: p.default for p in given if p.kind is not p.VAR_POSITIONAL}
    if len(theirs) < len(given) or not given or isinstance(function, np.ufunc):
        return _Signature(frozenset(ours), theirs, sys.maxsize)  # any number, or NumPy does not tell
    same = [mine == name for mine, name in zip(ours, theirs, strict=False)]
    return _Signature(frozenset(ours), theirs, same.index(False) if False in same else len(same))


_SURE = frozenset({Var, type(None), str, slice, *NUMBERS})


def _operands(args: Any, where: str) -> list[Any]:
    """Return the arguments of a function, and what is in lists of them, as real arrays; TypeError for others."""
    return [a if type(a) in _SURE else _operand(a, where) for a in args]


def _operand(a: Any, where: str) -> Any:
    return type(a)(_operands(a, where)) if type(a) in (list, tuple) else operand(a, where)


def _by_name(function: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return arguments that our function takes for what they are: those in another place by name, defaults left out."""
    ours, theirs, shared = _signature(function)
    if len(args) > shared:
        kwargs = {**dict(zip(list(theirs)[shared:], args[shared:], strict=False)), **kwargs}
        args = args[:shared]
    left = {name: x for name, x in kwargs.items() if name in ours or name not in theirs or x is not theirs[name]}
    return args, left


def call_function(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what NumPy's `function` gives for traced arguments; TypeError where it or an option is not supported."""
    if function in CONSTANT:
        return function(*map(value_of, args), **{name: value_of(x) for name, x in kwargs.items()})
    traced = FUNCTIONS.get(function)
    if traced is None:
        raise _unsupported(function)
    signature = _signature(function)
    if len(args) != 1 or type(args[0]) is not Var:
        args = _operands(args, function.__name__)
    if len(args) <= signature.shared and kwargs.keys() <= signature.ours:
        return traced(*args, **kwargs)
    args, kwargs = _by_name(function, args, kwargs)
    unknown = kwargs.keys() - signature.ours
    if "out" in unknown:
        raise TypeError(f"{_name(function)}: a traced value cannot be written in place. Write x = x + y for x += y.")
    if unknown:
        raise _unsupported(function, f" with {', '.join(sorted(unknown))}=")
    return traced(*args, **kwargs)


def _array_function(self: Var, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    return call_function(function, args, kwargs)


def _array_ufunc(self: Var, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method != "__call__":
        raise _unsupported(ufunc, f".{method}")
    if not kwargs:
        traced = FUNCTIONS.get(ufunc)
        if traced is not None:
            return traced(*inputs)
    return call_function(ufunc, inputs, kwargs)


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
    "__rmatmul__": lambda y, x: _matmul(x, y),
    "__neg__": e.negative,
    "__pos__": _copy,
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
