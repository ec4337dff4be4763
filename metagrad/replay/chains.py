"""Pass: cheap calls are joined in chains, each of which becomes one compiled function; the others stay calls of NumPy.

Between two chains lie the calls that read the first and are read by the second: products, sums, exponentials, views. So
the number of chains is how many of those follow upon one another. A cheap call goes to the last chain that it may go
to, the one that reads it: it is then held in registers, and needs no buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metagrad.replay.buffers import Unit
from metagrad.replay.cheap import Cheap
from metagrad.replay.dead import needed
from metagrad.replay.program import Value

_MOST = 256  # calls of one chain


def grouped(values: list[Value], ends: list[Value], guards: list[Value], calls: dict[int, Cheap]) -> list[Unit]:
    """Return the calls of a program as chains and single calls, in an order in which each finds what it reads.

    `ends` are returned, `calls` are the cheap ones by number. What guards need comes first, call by call.
    """
    first = {v.number for v in needed(values, guards)}
    rest = [v for v in values if v.function is not None and v.number not in first]
    cheap = {v.number for v in rest if v.number in calls}
    stages = _stages(rest, cheap)
    units = [Unit((v,), (v,)) for v in values if v.function is not None and v.number in first]
    for stage in sorted(set(stages.values())):
        here = [v for v in rest if stages[v.number] == stage]
        chain = [v for v in here if v.number in cheap]
        for i in range(0, len(chain), _MOST):
            units.append(Unit(tuple(chain[i : i + _MOST]), (), is_chain=True))
        units += [Unit((v,), (v,)) for v in here if v.number not in cheap]
    return _with_stored(units, {v.number for v in ends})


def _stages(values: list[Value], cheap: set[int]) -> dict[int, int]:
    """Return for each call the stage that it belongs to, as late as its readers allow: the chain of a stage comes
    before the other calls of it."""
    stages: dict[int, int] = {}
    latest: dict[int, int] = {}  # by value, as its readers allow
    for v in reversed(values):
        stage = stages[v.number] = latest.get(v.number, 0)
        for x in v.operands():
            bound = stage - 1 if v.number in cheap and x.number not in cheap else stage
            latest[x.number] = min(bound, latest.get(x.number, 0))
    return stages


def _with_stored(units: list[Unit], ends: set[int]) -> list[Unit]:
    """Return the units with what others read of them: other units, the caller, and other loops of a chain."""
    loops = [loops_of(unit.values) if unit.is_chain else [list(unit.values)] for unit in units]
    home = {v.number: (i, j) for i, of in enumerate(loops) for j, values in enumerate(of) for v in values}
    read = set(ends)
    for place, v in [(home[v.number], v) for unit in units for v in unit.values]:
        for x in v.operands():
            there = home.get(x.number)
            if there is not None and there != place and (there[0] != place[0] or has_axes(x)):
                read.add(x.number)
    return [
        unit._replace(stored=tuple([v for v in unit.values if v.number in read])) if unit.is_chain else unit
        for unit in units
    ]


def loops_of(values: Sequence[Value]) -> list[list[Value]]:
    """Return the values of a chain in loops: those of one shape that can be computed together, the smallest first.

    Numbers, and arrays of one entry, are loops of nothing; they are at hand in those that follow.
    """
    own, done, loops = {v.number for v in values}, set[int](), []
    waiting: dict[Any, list[Value]] = {}
    for v in values:
        waiting.setdefault(_key(v), []).append(v)
    sizes = {key: np.size(of[0].example) for key, of in waiting.items()}
    while waiting:
        found = [_ready(waiting[key], own, done) for key in sorted(waiting, key=sizes.__getitem__)]
        here = next(values for values in found if values)
        key = _key(here[0])
        done |= {v.number for v in here}
        loops.append(here)
        waiting[key] = [v for v in waiting[key] if v.number not in done]
        if not waiting[key]:
            del waiting[key]
    return loops


def _ready(values: list[Value], own: set[int], done: set[int]) -> list[Value]:
    """Return the values that can be computed from those that are done, and from one another."""
    known, found = set(done), []
    for v in values:
        if all(x.number in known for x in v.operands() if x.number in own):
            known.add(v.number)
            found.append(v)
    return found


def _key(v: Value) -> Any:
    """Return what values of one loop have in common; a sum has loops of its own."""
    return v.number if v.function == np.add.reduce else loop_of(v)


def has_axes(v: Value) -> bool:
    """Whether a loop runs over a value's entries; else there is one, which is held like a number."""
    return bool(loop_of(v)[1])


def loop_of(v: Value) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of a value, and the axes that a loop over its entries has, in their order in memory."""
    if not v.is_array:
        return (), ()
    shape, strides = v.example.shape, v.example.strides
    axes = sorted([i for i, n in enumerate(shape) if n > 1], key=lambda i: (-strides[i], i))
    return shape, tuple(axes)
