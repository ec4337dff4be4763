"""Pass: what computes nothing. Copies, and operands that were spread before an entrywise function spreads them anyway.

Views one after the other that leave the entries in their order are one reshape, or none. No bit changes: an entrywise
function reads the same numbers either way, and its result lies in memory as it did.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.replay.functions import COPIES, method, spread
from metagrad.replay.program import Value, replaced

_SPREADS = (spread, np.broadcast_to)
_VIEWS: tuple[Any, ...] = (np.reshape, np.transpose, np.swapaxes, np.expand_dims, np.squeeze, np.matrix_transpose)
_VIEWS += (method("reshape"), method("transpose"), method("swapaxes"), method("squeeze"))


def simplified(values: list[Value]) -> dict[int, Value]:
    """Return for each value the one to take in its place; arguments of the calls are changed where they stand."""
    instead: dict[int, Value] = {}
    for v in values:
        v.args = replaced(v.args, lambda x: instead.get(x.number, x))
        v.kwargs = {name: replaced(x, lambda x: instead.get(x.number, x)) for name, x in v.kwargs.items()}
        if isinstance(v.function, np.ufunc) and v.function.signature is None and not v.kwargs and v.is_array:
            v.args = _narrow(v.args, v.example.shape)
        _straighten(v)
        instead[v.number] = _source(v)
    return instead


def _straighten(v: Value) -> None:
    """Let a view of all entries in their order be one reshape of what lies in memory."""
    x = v.args[0] if v.function in _VIEWS and v.args else None
    if type(x) is not Value or not (_is_straight(x.example) and _is_straight(v.example)):
        return
    is_again = x.function is method("reshape") and type(x.args[0]) is Value and _is_straight(x.args[0].example)
    if is_again and x.example.shape != v.example.shape:
        x = x.args[0]
    v.function, v.args, v.kwargs = method("reshape"), (x, v.example.shape), {}


def _is_straight(x: Any) -> bool:
    """Whether an array lies in memory as a new one of its shape does."""
    return type(x) is np.ndarray and x.ndim > 0 and x.size > 0 and x.strides == _strides(x)


def _strides(x: Any) -> tuple[int, ...]:
    step, found = x.itemsize, []
    for n in reversed(x.shape):
        found.append(step)
        step *= n
    return tuple(reversed(found))


def _source(v: Value) -> Value:
    """Return the value that a copy is of, or a reshape, where it lies in memory alike; else the value itself."""
    if v.function is method("reshape") and type(v.args[0]) is Value:
        x = v.args[0].example
        return v.args[0] if _is_straight(x) and _is_straight(v.example) and x.shape == v.example.shape else v
    if v.function in COPIES and len(v.args) == 1 and type(v.args[0]) is Value:
        x = v.args[0].example
        if type(x) is type(v.example) and getattr(x, "strides", ()) == getattr(v.example, "strides", ()):
            return v.args[0]
    return v


def _narrow(args: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the operands of an entrywise function as they were before they were spread."""
    for i, x in enumerate(args):
        if type(x) is Value and x.function in _SPREADS:
            slim = (*args[:i], x.args[0], *args[i + 1 :])
            shapes = [np.shape(a.example if type(a) is Value else a) for a in slim]
            if (
                type(x.args[0]) is Value
                and np.broadcast_shapes(*shapes) == shape
                and _in_order(args)
                and _in_order(slim)
            ):
                args = slim
    return args


def _in_order(args: tuple[Any, ...]) -> bool:
    """Whether all operands lie in C order, and so does what is made of them."""
    return all(x.example.flags.c_contiguous for x in args if type(x) is Value and x.is_array)
