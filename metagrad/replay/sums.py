"""Sums in chains: in NumPy's order, so that every bit is the same.

NumPy adds what lies side by side in pairs (`pairwise`: eight sums at a time in blocks of at most 128, and the blocks
two by two), and whole rows one after the other; both begin with a zero of their own. Tried in every process before it
is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.replay.bits import same_bits
from metagrad.replay.program import Graph, Value

ALONG, ROWS = "sum", "sum of rows"  # of neighbours, and of rows that lie one after the other
_LENGTHS = (*range(2, 35), 63, 64, 65, 127, 128, 129, 136, 200, 255, 257, 1000, 1280, 8193, 20000)


def pattern(v: Value) -> tuple[str, tuple[int, int, int]] | None:
    """Return which kind of sum a value is, and how many are kept, added, and kept of its operand's entries in order.

    None where it is no sum, or one of another kind.
    """
    if v.function != np.add.reduce or v.kwargs or type(v.args[0]) is not Value or v.args[2:4] != (None, None):
        return None
    x, axis = v.args[0].example, v.args[1]
    if type(x) is not np.ndarray or not x.flags.c_contiguous or x.size < 2:
        return None
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    added = {i % x.ndim for i in axes}
    runs: list[tuple[bool, int]] = []  # neighbouring axes of one kind, whether they are added, and their sizes
    for i, n in enumerate(x.shape):
        if n > 1:
            is_same = bool(runs) and runs[-1][0] == (i in added)
            runs[len(runs) - is_same :] = [(i in added, n * (runs[-1][1] if is_same else 1))]
    kinds, sizes = [kind for kind, _ in runs], [n for _, n in runs]
    return {  # type: ignore[return-value]
        (True,): (ALONG, (1, *sizes, 1)),
        (False, True): (ALONG, (*sizes, 1)),
        (True, False): (ROWS, (1, *sizes)),
        (False, True, False): (ROWS, (*sizes,)),
    }.get(tuple(kinds))


def agrees(name: str, kind: str) -> bool:
    """Whether sums have NumPy's bits on this machine: over many lengths, and numbers of very different sizes."""
    draw = np.random.Generator(np.random.PCG64(0))
    for length in _LENGTHS:
        for kept in (1, 3) if name == ALONG else (2, 3, 17):
            x = draw.standard_normal((kept, length)) * 10.0 ** draw.uniform(-3, 3, (kept, length))
            x[draw.random(x.shape) < 0.02] = -0.0
            if not _is_alike(name, x.astype(kind)):
                return False
    rows = [np.full(20, special) for special in (np.inf, -np.inf, np.nan, -0.0)]
    return _is_alike(name, np.array(rows, kind))


def _is_alike(name: str, rows: Any) -> bool:
    """Whether sums over rows are NumPy's: along them, or of columns that they are turned to; and that of all."""
    from metagrad.replay.buffers import Unit
    from metagrad.replay.cheap import cheap
    from metagrad.replay.loops import lowered
    from metagrad.replay.machine import function_of

    graph, x = Graph(), np.ascontiguousarray(rows if name == ALONG else rows.T)
    for axis in (1, None) if name == ALONG and len(rows) == 1 else (x.ndim - 1 if name == ALONG else 0,):
        v = graph.call(np.add.reduce, (graph.input(x), axis, None, None, False), {})
        call = cheap(v)
        if call is None or call.name != name:
            return False
        chain = lowered(Unit((v,), (v,), is_chain=True), {v.number: call}, set(), {})
        out = [np.empty_like(v.example) for v in chain.written]
        function_of(chain.kernel)(chain.table, x, *out)
        found = out[0] if out else chain.rooms[0][0][0]
        if not same_bits(found, v.example, any_nan=True):
            return False
    return True
