"""`x += y` of a recorded array: every name for the array has the new numbers, as NumPy would write them into it.

Numbers, which cannot be written into, are bound anew. What shares memory with another array is refused: a program
would have to write into both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from metagrad.replay.functions import is_fresh
from metagrad.replay.program import Graph, Value

_WRITES = "x += y writes into an array that shares memory with another one (write x = x + y)"


def in_place(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the operator in place of one that computes a new array."""

    def write(self: Any, other: Any) -> Any:
        made = compute(self, other)
        if made is NotImplemented or type(self.value.example) is not np.ndarray:
            return made
        if (made.shape, made.dtype) != (self.shape, self.dtype):
            self.graph.refuse("x += y rounds or repeats what it writes (write x = x + y)")
        if _is_shared(self.graph, self.value):
            self.graph.refuse(_WRITES)
        self.value = made.value
        return self

    return write


def _is_shared(graph: Graph, value: Value) -> bool:
    """Whether an array may share memory with an input, or with another result."""
    if value.function is None or not is_fresh(value.function, value.args):
        return True
    return any(
        v.function is not None and not is_fresh(v.function, v.args) and any(x is value for x in v.operands())
        for v in graph.values
    )
