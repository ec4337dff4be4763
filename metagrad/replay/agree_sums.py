"""Whether sums in chains have NumPy's bits on this machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from metagrad.replay.bits import same_bits
from metagrad.replay.buffers import Unit
from metagrad.replay.cheap import cheap
from metagrad.replay.loops import lowered
from metagrad.replay.program import Graph
from metagrad.replay.sums import ALONG
from metagrad.replay.whole_code import run_kernel

_LENGTHS = (*range(1, 35), 63, 64, 65, 127, 128, 129, 136, 200, 255, 257, 1000, 1280, 8193, 20000)


def agrees(name: str, kind: str) -> bool:
    """Whether sums have NumPy's bits on this machine: over many lengths, and numbers of very different sizes."""
    draw = np.random.Generator(np.random.PCG64(0))
    for length in _LENGTHS:
        for kept in (1, 3) if name == ALONG else (2, 3, 17):
            if length == 1 and (kept == 1 or name != ALONG):  # no sum, or one along what lies side by side
                continue
            x = draw.standard_normal((kept, length)) * 10.0 ** draw.uniform(-3, 3, (kept, length))
            x[draw.random(x.shape) < 0.02] = -0.0
            if not _is_alike(name, x.astype(kind)):
                return False
    rows = [np.full(20, special) for special in (np.inf, -np.inf, np.nan, -0.0)]
    return _is_alike(name, np.array(rows, kind))


def _is_alike(name: str, rows: Any) -> bool:
    """Whether sums over rows are NumPy's: along them, or of columns that they are turned to; and that of all."""
    graph, x = Graph(), np.ascontiguousarray(rows if name == ALONG else rows.T)
    for axis in (1, None) if name == ALONG and len(rows) == 1 else (x.ndim - 1 if name == ALONG else 0,):
        v = graph.call(np.add.reduce, (graph.input(x), axis, None, None, False), {})
        call = cheap(v)
        if call is None or call.name != name:
            return False
        place = {next(v.operands()).number: x}
        out = place[v.number] = np.empty_like(v.example)
        chain = lowered(Unit((v,), (v,), is_chain=True), {v.number: call}, set(), place)
        run_kernel(chain.kernel, chain.table)
        found = out if np.ndim(v.example) else chain.rooms[0][0][0]
        if not same_bits(found, v.example, any_nan=True):
            return False
    return True
