"""Pass: cheap calls are joined in chains, each of which becomes one compiled function; the others stay calls of NumPy.

Between two chains lie the calls that read the first and are read by the second: products, sums, exponentials, views. So
the number of chains is how many of those follow upon one another. A cheap call goes to the last chain that it may go
to, the one that reads it: it is then held in registers, and needs no buffer.
"""

from __future__ import annotations

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
    """Return the units with what others read of them: other units, the caller, and loops of another shape."""
    home = {v.number: i for i, unit in enumerate(units) for v in unit.values}
    read = set(ends)
    for i, unit in enumerate(units):
        for v in unit.values:
            for x in v.operands():
                if home.get(x.number) != i or (unit.is_chain and is_read_back(x, v)):
                    read.add(x.number)
    return [
        unit._replace(stored=tuple([v for v in unit.values if v.number in read])) if unit.is_chain else unit
        for unit in units
    ]


def is_read_back(x: Value, by: Value) -> bool:
    """Whether a value of a chain is read by another loop of it, from memory: loops over one entry hold numbers."""
    return loop_of(x) != loop_of(by) and bool(loop_of(x)[1])


def loop_of(v: Value) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of a value, and the axes that a loop over its entries has, in their order in memory."""
    if not v.is_array:
        return (), ()
    shape, strides = v.example.shape, v.example.strides
    axes = sorted([i for i, n in enumerate(shape) if n > 1], key=lambda i: (-strides[i], i))
    return shape, tuple(axes)
