"""Sums in chains: in NumPy's order, so that every bit is the same.

NumPy adds what lies side by side in pairs (`pairwise`: eight sums at a time in blocks of at most 128, and the blocks
two by two), and whole rows one after the other; both begin with a zero of their own. Tried in every process before it
is used (`agree_sums`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.replay.program import Value

ALONG, ROWS = "sum", "sum of rows"  # of neighbours, and of rows that lie one after the other


def pattern(v: Value) -> tuple[str, tuple[int, int, int]] | None:
    """Return which kind of sum a value is, and how many are kept, added, and kept of its operand's entries in order.

    None where it is no sum, or one of another kind.
    """
    if v.function != np.add.reduce or v.kwargs or type(v.args[0]) is not Value or v.args[2:4] != (None, None):
        return None
    return runs(v.args[0].example, v.args[1])


def runs(x: Any, axis: Any) -> tuple[str, tuple[int, int, int]] | None:
    """Return the same for what is summed, and along which axes."""
    if type(x) is not np.ndarray or not x.flags.c_contiguous or x.size < 2:
        return None
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    added = {i % x.ndim for i in axes}
    found: list[tuple[bool, int]] = []  # neighbouring axes of one kind, whether they are added, and their sizes
    for i, n in enumerate(x.shape):
        if n > 1:
            is_same = bool(found) and found[-1][0] == (i in added)
            found[len(found) - is_same :] = [(i in added, n * (found[-1][1] if is_same else 1))]
    if added and not any(kind for kind, _ in found):  # each is the sum of one entry
        found.append((True, 1))
    kinds, sizes = [kind for kind, _ in found], [n for _, n in found]
    return {  # type: ignore[return-value]
        (True,): (ALONG, (1, *sizes, 1)),
        (False, True): (ALONG, (*sizes, 1)),
        (True, False): (ROWS, (1, *sizes)),
        (False, True, False): (ROWS, (*sizes,)),
    }.get(tuple(kinds))
