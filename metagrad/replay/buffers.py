"""Pass: where results are written. Arrays that live at different times share one buffer, allocated once.

A buffer lies in memory as the result did when it was recorded: in which order a sum adds depends on it. What is
returned is none of the program's buffers; nor is what may be a view of something (those live as long as their views).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.functions import is_fresh
from metagrad.replay.program import Value

_REDUCE = frozenset({np.add.reduce, np.multiply.reduce, np.maximum.reduce, np.minimum.reduce})
_LEAST = 1 << 10  # bytes below which NumPy keeps memory at hand itself


class Unit(NamedTuple):
    """What is computed at once: a call of NumPy, or a chain of cheap ones; and those of its values that others read."""

    values: tuple[Value, ...]
    stored: tuple[Value, ...]
    is_chain: bool = False


@dataclass
class Buffers:
    """An array for each value that has one, by its number, and the blocks of memory that they lie in."""

    arrays: dict[int, Any] = field(default_factory=dict)
    blocks: list[Any] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """The memory of all blocks."""
        return sum(block.nbytes for block in self.blocks)


def takes_out(v: Value) -> bool:
    """Whether a call can write its result into an array that is given."""
    is_ufunc = isinstance(v.function, np.ufunc) and v.function.nout == 1
    return v.is_array and not v.kwargs and (is_ufunc or v.function in _REDUCE) and v.example.size > 0


def roots_of(values: list[Value]) -> dict[int, frozenset[int]]:
    """Return for each value the numbers of those in whose memory it may lie: its own, or its arguments'."""
    roots: dict[int, frozenset[int]] = {}
    for v in values:
        if v.function is None or is_fresh(v.function, v.args):
            roots[v.number] = frozenset((v.number,))
        else:
            roots[v.number] = frozenset((v.number,)).union(*[_roots(x, roots) for x in v.operands()])
    return roots


def last_uses(values: list[Value], roots: dict[int, frozenset[int]]) -> dict[int, int]:
    """Return the place of the last call that reads the memory of a value, by its number."""
    last: dict[int, int] = {}
    for place, v in enumerate(values):
        for x in v.operands():
            for root in _roots(x, roots):
                last[root] = place
    return last


def _roots(v: Value, roots: dict[int, frozenset[int]]) -> frozenset[int]:
    return roots.get(v.number, frozenset((v.number,)))  # what is given is its own


def allocated(values: list[Value], outputs: list[Value]) -> Buffers:
    """Return buffers for the values that can be written into one and are not returned."""
    return placed([Unit((v,), (v,)) for v in values], outputs, _LEAST)


def placed(units: Sequence[Unit], outputs: list[Value], least: int) -> Buffers:
    """Return buffers for what units store: arrays of some bytes at least.

    A chain writes over nothing that it reads: its loops are compiled as if no two of its arrays overlapped.
    """
    values = [v for unit in units for v in unit.values]
    roots, found = roots_of(values), Buffers()
    of_value, unit_of = last_uses(values, roots), [i for i, unit in enumerate(units) for _ in unit.values]
    kept = frozenset[int]().union(*[_roots(v, roots) for v in outputs])
    free: dict[int, list[Any]] = {}
    taken: dict[int, Any] = {}
    ends: dict[int, list[int]] = {}
    for number, place in of_value.items():
        ends.setdefault(unit_of[place], []).append(number)
    for place, unit in enumerate(units):
        over = ends.get(place, ())
        inside = [number for number in over if number in taken and not unit.is_chain]
        inside = [number for number in inside if _may_overwrite(unit.values[0], number)]
        for number in inside:
            free.setdefault(taken[number].nbytes, []).append(taken[number])
        for v in unit.stored:
            can = v.is_array if unit.is_chain else takes_out(v)
            if can and v.number not in kept and v.example.nbytes >= least:
                _give(v, free, taken, found)
        for number in over:
            if number not in inside and number in taken:
                free.setdefault(taken[number].nbytes, []).append(taken[number])
    return found


def _give(v: Value, free: dict[int, list[Any]], taken: dict[int, Any], found: Buffers) -> None:
    model = np.empty_like(v.example)
    if model.strides != v.example.strides:  # a result that is no array of its own
        return
    pool = free.get(model.nbytes)
    block = pool.pop() if pool else np.zeros(model.nbytes, np.uint8)
    if not any(block is b for b in found.blocks):
        found.blocks.append(block)
    taken[v.number] = block
    found.arrays[v.number] = np.ndarray(v.example.shape, v.example.dtype, block, strides=v.example.strides)


def _may_overwrite(v: Value, number: int) -> bool:
    """Whether an entrywise call may write its result over an operand that it reads for the last time."""
    if not (isinstance(v.function, np.ufunc) and v.function.signature is None and v.is_array):
        return False
    operands = [x.example for x in v.operands() if x.number == number]
    alike = [np.shape(x) == v.example.shape and x.strides == v.example.strides for x in operands]
    return bool(alike) and all(alike)
