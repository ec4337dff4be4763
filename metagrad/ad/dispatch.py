"""Teaching NumPy's own names to work on the tape: `np.exp(w)`, `w @ x`, `w.sum(axis=-1)` in a user's code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.ad import composed, ops
from metagrad.ad.tape import Var, value_of
from metagrad.errors import nearest
from metagrad.xp import is_array

UFUNCS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): getattr(ops, name)
    for name in (
        *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "negative", "square", "sqrt"),
        *("exp", "expm1", "log", "log1p", "sin", "cos", "sinh", "cosh", "tanh", "arctan", "arcsinh"),
        *("absolute", "sign", "matmul"),
    )
}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): getattr(ops, name)
    for name in (
        *("where", "clip", "sum", "mean", "max", "min", "reshape", "broadcast_to", "transpose", "swapaxes"),
        *("moveaxis", "expand_dims", "squeeze", "concatenate", "stack"),
    )
}
FUNCTIONS |= {
    np.dot: composed.dot,
    np.outer: composed.outer,
    np.einsum: composed.einsum,
    np.linalg.norm: composed.norm,
}
if hasattr(np, "vecdot"):
    UFUNCS[np.vecdot] = composed.vecdot
_COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.isfinite, np.isnan}
_CONSTANTS = {np.zeros_like, np.ones_like, np.full_like, np.shape, np.ndim, np.size}


def _unsupported(name: str, known: list[str]) -> TypeError:
    return TypeError(
        f"np.{name} has no rule on the tape. {nearest(name, known)} "
        "Or take metagrad.ad.stop_gradient of what is constant."
    )


def _array_ufunc(self: Var, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Apply the tape's version of a ufunc; comparisons give bare booleans."""
    _check_operands(ufunc.__name__, inputs)
    if ufunc in _COMPARISONS and method == "__call__":
        return ufunc(*[value_of(x) for x in inputs], **kwargs)
    if method == "reduce" and ufunc in (np.add, np.maximum, np.minimum):
        axis, keepdims = kwargs.get("axis", 0), kwargs.get("keepdims", False)
        return {np.add: ops.sum, np.maximum: ops.max, np.minimum: ops.min}[ufunc](inputs[0], axis, keepdims)
    call = UFUNCS.get(ufunc)
    if call is None or method != "__call__":
        raise _unsupported(ufunc.__name__, sorted(u.__name__ for u in UFUNCS))
    if kwargs:
        raise TypeError(
            f"np.{ufunc.__name__} on the tape takes no {', '.join(sorted(kwargs))}: values there do not change."
        )
    return call(*inputs)


def _array_function(self: Var, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Apply the tape's version of a NumPy function."""
    if function in _CONSTANTS:
        return function(*[value_of(x) for x in args], **kwargs)
    call = FUNCTIONS.get(function)
    if call is None:
        raise _unsupported(function.__name__, sorted(f.__name__ for f in FUNCTIONS))
    return call(*args, **kwargs)


def _check_operands(name: str, operands: tuple[Any, ...]) -> None:
    for x in operands:
        if type(x) is not Var and not is_array(x) and not isinstance(x, bool | int | float | np.generic):
            raise TypeError(
                f"np.{name}: an operand is a {type(x).__name__}; expected an array or a number. Use np.asarray."
            )


def _binary(call: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def forward(self: Var, other: Any) -> Any:
        _check_operands(call.__name__, (other,))
        return call(self, other)

    def reflected(self: Var, other: Any) -> Any:
        _check_operands(call.__name__, (other,))
        return call(other, self)

    return forward, reflected


def _comparison(name: str) -> Callable[..., Any]:
    return lambda self, other: getattr(self.value, name)(value_of(other))


def _reshape(self: Var, *shape: Any) -> Any:
    return ops.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Var, *axes: Any) -> Any:
    if not axes:
        return ops.transpose(self)
    return ops.transpose(self, axes[0] if isinstance(axes[0], tuple) else axes)


def install() -> None:
    """Give Var its operators, methods and NumPy protocols."""
    members: dict[str, Any] = {"__array_ufunc__": _array_ufunc, "__array_function__": _array_function}
    pairs = {"add": ops.add, "sub": ops.subtract, "mul": ops.multiply, "truediv": ops.divide, "pow": ops.power}
    for name, call in (pairs | {"matmul": ops.matmul}).items():
        members[f"__{name}__"], members[f"__r{name}__"] = _binary(call)
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        members[f"__{name}__"] = _comparison(f"__{name}__")
    members |= {
        "__hash__": object.__hash__,
        "__neg__": ops.negative,
        "__abs__": ops.absolute,
        "__getitem__": ops.getitem,
        "T": property(ops.transpose, doc="The transpose."),
        "reshape": _reshape,
        "transpose": _transpose,
    }
    for name in ("sum", "mean", "max", "min", "astype", "swapaxes", "squeeze", "clip"):
        members[name] = getattr(ops, name)
    for name, member in members.items():
        setattr(Var, name, member)
