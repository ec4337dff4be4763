"""Which calls are cheap: entrywise and exactly rounded, and so of the same bits whoever computes them.

Such calls may be joined into one loop; so may sums, whose order is known (`sums`). Dtypes are those that NumPy casts
operands to (`ufunc.resolve_dtypes`, which knows that Python's numbers are weak). Powers, exponentials, logarithms and
the like are not here: their bits are those of NumPy's own vector code, which is faster than a compiler's. Nor is what
tells the sign of a NaN.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.functions import method, spread
from metagrad.replay.program import PLAIN, SAME, Value
from metagrad.replay.sums import pattern

FLOATS = ("f8", "f4")
_ARITHMETIC = "add subtract multiply divide negative absolute sign square sqrt reciprocal maximum minimum"
_ROUNDING = "floor ceil rint trunc"
_COMPARED = "less less_equal greater greater_equal equal not_equal"
_TESTS = "isnan isinf isfinite"
_TRUTH = "logical_and logical_or logical_xor logical_not"
_BITS = {
    np.bitwise_and: "logical_and",
    np.bitwise_or: "logical_or",
    np.bitwise_xor: "logical_xor",
    np.invert: "logical_not",
}
_NAMED: dict[Any, str] = {
    getattr(np, name): name for names in (_ARITHMETIC, _ROUNDING, _COMPARED, _TESTS, _TRUTH) for name in names.split()
}
_NAMED |= {np.fabs: "absolute"}
_COPIES = frozenset(  # with so many arguments
    {(np.copy, 1), (np.positive, 1), (operator.pos, 1), (method("copy"), 1), (spread, 2), (np.broadcast_to, 2)}
)
_MORE = {operator.xor: np.bitwise_xor}
WEAK_INT = 1 << 53  # beyond, an integer of Python's is no float


class Cheap(NamedTuple):
    """A cheap call: what it does, on operands cast to which kinds of numbers, with a result of which kind."""

    name: str
    kinds: tuple[str, ...]  # "f8", "f4", "b1"
    out: str
    operands: tuple[Any, ...]  # values and Python's or NumPy's numbers


def kind_of(example: Any) -> str | None:
    """Return the kind of an array or a number, None for what is not for chains."""
    if isinstance(example, np.ndarray | np.generic):
        kind = example.dtype.str[1:] if example.dtype.isnative else ""
        return kind if kind in (*FLOATS, "b1") else None
    return {float: "f8", bool: "b1", int: "i8"}.get(type(example))


def cheap(v: Value) -> Cheap | None:
    """Return a value's call as a cheap one; None where it is not."""
    out = kind_of(v.example)
    if v.function is None or v.kwargs or out is None or type(v.example) in PLAIN or not _is_compact(v.example):
        return None
    found = _read(v, out)
    return found if found is not None and all(map(_is_operand, found.operands)) else None


def _read(v: Value, out: str) -> Cheap | None:
    """Return a call as it is written, with the kinds that its operands are cast to."""
    args, found = v.args, pattern(v)
    if found is not None:
        return Cheap(found[0], (out,), out, args[:1]) if _kind(args[0]) == out and _are_floats((out,)) else None
    if v.function is np.where:
        is_plain = len(args) == 3 and _kind(args[0]) == "b1" and _are_floats((out,))
        return Cheap("where", ("b1", out, out), out, args) if is_plain else None
    if _is_copy(v, out):
        return Cheap("copy", (out,), out, args[:1])
    ufunc: Any = _MORE.get(v.function) or SAME.get(v.function, v.function)  # type: ignore[arg-type]
    name = _NAMED.get(ufunc) or _BITS.get(ufunc)
    kinds = _resolved(ufunc, args) if name is not None and len(args) == ufunc.nin else None
    if name is None or kinds is None or kinds[-1] != out:
        return None
    return Cheap(name, kinds[:-1], out, args) if _is_computed(name, kinds[:-1], is_bitwise=ufunc in _BITS) else None


def _is_copy(v: Value, out: str) -> bool:
    """Whether a call returns its operand, in another place, shape or dtype."""
    kind = _kind(v.args[0]) if v.args else None
    if v.function is method("astype") and len(v.args) == 2:
        return _are_floats((out,)) and kind is not None
    return kind == out and (v.function, len(v.args)) in _COPIES


def _resolved(ufunc: Any, args: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return the kinds that NumPy casts operands to, and that of the result."""
    dtypes = [_dtype(x.example if type(x) is Value else x) for x in args]
    try:
        found = ufunc.resolve_dtypes((*dtypes, None))
    except TypeError:
        return None
    return tuple([d.str[1:] for d in found])


def _dtype(x: Any) -> Any:
    return type(x) if type(x) in (int, float) else getattr(x, "dtype", np.dtype(bool))


def _is_computed(name: str, kinds: tuple[str, ...], *, is_bitwise: bool) -> bool:
    if is_bitwise:
        return set(kinds) == {"b1"}
    if name in _TRUTH.split() or name in ("equal", "not_equal"):
        return set(kinds) == {"b1"} or _are_floats(kinds)
    return _are_floats(kinds)


def _are_floats(kinds: tuple[str, ...]) -> bool:
    return len(set(kinds)) == 1 and kinds[0] in FLOATS


def _is_compact(x: Any) -> bool:
    """Whether a result is a number, or an array of its own without gaps, and not of no entries."""
    return not isinstance(x, np.ndarray) or (x.size > 0 and np.empty_like(x).strides == x.strides)


def _kind(x: Any) -> str | None:
    return kind_of(x.example if type(x) is Value else x)


def _is_operand(x: Any) -> bool:
    """Whether a loop can read an operand."""
    example = x.example if type(x) is Value else x
    if isinstance(example, np.ndarray):
        steps = all(stride % example.itemsize == 0 for stride in example.strides)
        return type(example) is np.ndarray and kind_of(example) is not None and example.flags.aligned and steps
    if type(example) is int and type(x) is not Value and abs(example) > WEAK_INT:
        return False
    return kind_of(example) is not None
