"""Pass: dead code. What neither an output nor a guard nor a look for NaN needs is left out."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from metagrad.replay.program import Value


def needed(values: list[Value], ends: Iterable[Value], given: Iterable[Value] = ()) -> list[Value]:
    """Return the values that the ends are computed from, and the ends, in the order in which they were recorded.

    What is `given` need not be computed.
    """
    alive, stack, known = set(), list(ends), {v.number for v in given}
    while stack:
        value = stack.pop()
        if value.number not in alive:
            alive.add(value.number)
            if value.number not in known:
                stack.extend(value.operands())
    return [v for v in values if v.number in alive]


def dropped_errors(values: list[Value], ends: Iterable[Value]) -> bool:
    """Whether a call that may raise is one that nobody needs: its error would be dropped with it."""
    alive = {v.number for v in needed(values, ends)}
    return any(v.number not in alive and _may_raise(v) for v in values)


def _may_raise(v: Value) -> bool:
    """Whether numbers may be such that a call raises: those of a matrix, or of an index."""
    is_index = v.function in (operator.getitem, np.take) and any(type(x) is Value for x in _indices(v.args[1]))
    return is_index or "linalg" in str(getattr(v.function, "__module__", ""))


def _indices(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)
