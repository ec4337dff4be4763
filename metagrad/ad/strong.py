"""Strong zeros: a cotangent or a tangent that is exactly 0 stays 0, whatever it is multiplied by.

Where a branch is not taken, its cotangent is 0 and its derivative may be anything: that of sqrt(x) at 0 is infinite.
The chain rule then asks for 0 * inf, which is NaN in floats and is 0 here: the branch adds nothing. A number other
than 0 is multiplied as ever, so that what is really inf or NaN stays so.

Sweeps multiply plainly, and only one whose result has a NaN is made again with `pull` or `push` in the place of the
rules. The result is the same as if all were made so: 0 * inf leaves a NaN at the end, or is selected away. To look for
a NaN on a device would be to wait for it: there, sweeps are made so where `strong_zeros` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from metagrad.ad.functions.shapes import in_place_of, like, module_of
from metagrad.ad.tape import Function, Op, Var, multilinear, primitive, pushed, value_of

_ON_DEVICE: ContextVar[bool] = ContextVar("strong", default=False)


@contextmanager
def strong_zeros() -> Iterator[None]:
    """Let zeros be strong on a device too, for as long as the block lasts; on the host they always are.

    An estimate that is made within has the notes about NaN, too, for which a device has to be waited for.
    """
    token = _ON_DEVICE.set(True)
    try:
        yield
    finally:
        _ON_DEVICE.reset(token)


def are_zeros_strong() -> bool:
    """Whether zeros are strong on a device."""
    return _ON_DEVICE.get()


def may_have_nan(values: Iterable[Any]) -> bool:
    """Tell whether there is a NaN; a look at a small array is cheap, and on a device there is none."""
    for x in values:
        value = x.value if type(x) is Var else x
        if type(value) is np.ndarray:
            if value.size and (top := value.item(value.argmax())) != top:  # the first NaN counts as the largest
                return True
        elif value is None:
            continue
        elif isinstance(value, float | np.generic):
            if np.isnan(value):
                return True
        elif (watch := getattr(value, "watched", None)) is not None:
            watch()  # it is recorded (`metagrad.replay`), and looked at whenever it is computed
        elif module_of(value) is not np:
            return are_zeros_strong()
    return False


def _but(part: Any, dead: Any) -> Any:
    xp = module_of(dead)
    return xp.where(dead, xp.asarray(0, part.dtype), part)[()]


_cleared: Function = primitive(
    "cleared", _but, (lambda g, out, part, dead: like(_cleared(g, dead), part),), multilinear
)


def clear(g: Any, part: Any) -> Any:
    """Return what a rule made of g entry by entry, with 0 where it is NaN and g is exactly 0."""
    value = value_of(part)
    xp = module_of(value)
    dead = xp.isnan(value) & (value_of(g) == 0)
    return _cleared(part, dead) if xp is not np or dead.any() else part


def pull(op: Op, position: int, g: Any, out: Any, args: Sequence[Any]) -> Any:
    """Return the cotangent of an argument from that of the output, where 0 stays 0."""
    if op.entries is not None:
        rule = op.entries[position]
        assert rule is not None
        return like(clear(g, rule(g, out, *args)), args[position])
    rule = op.rules[position]
    if op.linear is not None:
        return _by_terms(lambda c, *operands: rule(c, out, *operands), g, args)
    return _unless_zero((g,), rule(g, out, *args))


def push(op: Op, tangents: dict[int, Any], out: Any, args: Sequence[Any]) -> Any:
    """Return the tangent of the output from those of the arguments, where 0 stays 0."""
    parts: list[Any]
    if op.entries is not None:
        rules = op.entries
        parts = [clear(t, rules[i](t, out, *args)) for i, t in tangents.items()]  # type: ignore[misc]
    elif op.linear is not None:
        parts = [_linear_in(op.linear, i, t, args) for i, t in tangents.items()]
    else:
        return _unless_zero(tangents.values(), pushed(op, tangents, out, args))
    return in_place_of(sum(parts[1:], start=parts[0]), out)


def _linear_in(call: Function, i: int, t: Any, args: Sequence[Any]) -> Any:
    return _by_terms(lambda c, *operands: call(*operands[:i], c, *operands[i + 1 :]), t, args)


def _by_terms(product: Function, g: Any, args: Sequence[Any]) -> Any:
    """Return product(g, *args), a sum of products of entries of g and of the operands, without those of g = 0.

    A sum is counted twice: once with all its terms where g is not 0, and once with those whose factors are finite. If
    these are as many, all that makes the sum NaN is multiplied by 0, and without it the sum is right.
    """
    part = product(g, *args)
    value = value_of(part)
    xp = module_of(value)
    if xp is np and not np.isnan(value).any():
        return part
    live = xp.asarray(value_of(g) != 0, dtype=np.float64)
    finite = [_is_finite(a) for a in args]
    every = [a if f is None else xp.ones_like(f) for a, f in zip(args, finite, strict=True)]
    sound = [a if f is None else f for a, f in zip(args, finite, strict=True)]
    lost = product(live, *every) > product(live, *sound)
    safe = [a if f is None else _cleared(a, f == 0) for a, f in zip(args, finite, strict=True)]
    kept = xp.isnan(value) & ~lost
    return _cleared(part, kept) + _cleared(product(g, *safe), ~kept)


def _is_finite(x: Any) -> Any:
    """Return 1.0 where entries of a float array are finite and 0.0 elsewhere; None for what is no such array."""
    value = value_of(x)
    if getattr(getattr(value, "dtype", None), "kind", "") != "f":
        return None
    return module_of(value).isfinite(value).astype(np.float64)


def _unless_zero(given: Iterable[Any], part: Any) -> Any:
    """Return what a primitive of any kind made of cotangents or tangents: without NaN where all of them are 0."""
    value = value_of(part)
    xp = module_of(value)
    if xp is not np or any(np.any(value_of(g)) for g in given):
        return part
    return _cleared(part, xp.isnan(value))
