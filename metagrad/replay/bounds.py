"""What is known of a value whatever the numbers are: that the sign of no entry is minus, if it is no NaN.

The tape looks whether an argument is in the domain of a function, log1p(x) of x >= -1, say. A program cannot branch on
what it sees, so that it would choose entry by entry, in some ten passes. An exponential, a magnitude and a square are
in the domain by themselves, and so are sums, products and quotients of those. It is the sign that is followed, not
x >= 0, because 1/(-0) is -inf.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metagrad.replay.program import Value

_POSITIVE = frozenset({np.exp, np.exp2, np.absolute, np.square, np.hypot, np.cosh})
_OF_POSITIVE = frozenset({np.add, np.multiply, np.divide, np.maximum, np.sqrt})
_REDUCTIONS = (np.add.reduce, np.maximum.reduce, np.multiply.reduce)
_DEPTH = 4  # calls


def has_no_minus(x: Any, depth: int = _DEPTH) -> bool:
    """Whether no entry of a value, or number, has the sign minus, but where it is NaN; False means nothing."""
    if type(x) in (int, float):
        return math.copysign(1.0, x) > 0
    if type(x) is not Value or depth == 0 or getattr(getattr(x.example, "dtype", None), "kind", "") != "f":
        return False
    if x.is_constant:
        return not bool(np.signbit(x.example).any())
    function, args = x.function, x.args
    if function in _POSITIVE or (function is np.multiply and args[0] is args[1]):
        return True
    if function in _OF_POSITIVE and not x.kwargs:
        return all(has_no_minus(a, depth - 1) for a in args)
    return function in _REDUCTIONS and not x.kwargs and has_no_minus(args[0], depth - 1)
