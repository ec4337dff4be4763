"""Pass: where results are written. Arrays that live at different times share memory, which is allocated once (`arena`).

A buffer lies in memory as the result did when it was recorded: in which order a sum adds depends on it. What is
returned is none of the program's buffers; nor is what may be a view of something (those live as long as their views).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.arena import Arena, Packing
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
    """An array for each value that has one, by its number, and the block of memory that they lie in."""

    arrays: dict[int, Any] = field(default_factory=dict)
    block: Any = None

    @property
    def nbytes(self) -> int:
        """The memory of the block."""
        return 0 if self.block is None else int(self.block.nbytes)


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


def allocated(values: list[Value], outputs: list[Value], arena: Arena | None = None) -> Buffers:
    """Return buffers for the values that can be written into one and are not returned."""
    return placed([Unit((v,), (v,)) for v in values], outputs, _LEAST, arena)


def placed(
    units: Sequence[Unit],
    outputs: list[Value],
    least: int,
    arena: Arena | None = None,
    has_room: Callable[[Value], bool] = takes_out,
) -> Buffers:
    """Return buffers for what units store: arrays of some bytes at least, of calls that have room for their result.

    A chain writes over nothing that it reads: its loops are compiled as if no two of its arrays overlapped.
    """
    values = [v for unit in units for v in unit.values]
    roots, packing = roots_of(values), Packing()
    of_value, unit_of = last_uses(values, roots), [i for i, unit in enumerate(units) for _ in unit.values]
    kept = frozenset[int]().union(*[_roots(v, roots) for v in outputs])
    taken: dict[int, tuple[int, int]] = {}  # which slot, and how large
    found: dict[int, tuple[Value, int]] = {}
    ends: dict[int, list[int]] = {}
    for number, place in of_value.items():
        ends.setdefault(unit_of[place], []).append(number)
    for place, unit in enumerate(units):
        over = [number for number in ends.get(place, ()) if number in taken]
        for v in unit.stored:
            can = v.is_array if unit.is_chain else has_room(v)
            if not can or v.number in kept or v.example.nbytes < least or not _is_compact(v):
                continue
            size = v.example.nbytes
            alike = [] if unit.is_chain else [number for number in over if taken[number][1] == size]
            instead = next((number for number in alike if _may_overwrite(v, number, roots)), None)
            if instead is not None:
                over.remove(instead)
            slot = packing.begin(place, size) if instead is None else taken[instead][0]
            taken[v.number], found[v.number] = (slot, size), (v, slot)
        for number in over:
            packing.end(taken[number][0], place)
    if not found:
        return Buffers()
    begins, nbytes = packing.places()
    block = (arena or Arena()).block(nbytes)
    arrays = {
        number: np.ndarray(v.example.shape, v.example.dtype, block, begins[slot], v.example.strides)
        for number, (v, slot) in found.items()
    }
    return Buffers(arrays, block)


def _is_compact(v: Value) -> bool:
    """Whether a result is an array of its own, without gaps."""
    return bool(np.empty_like(v.example).strides == v.example.strides)


def _may_overwrite(v: Value, number: int, roots: dict[int, frozenset[int]]) -> bool:
    """Whether an entrywise call may write its result over an operand that it reads for the last time."""
    if not (isinstance(v.function, np.ufunc) and v.function.signature is None and v.is_array):
        return False
    if any(x.number != number and number in _roots(x, roots) for x in v.operands()):  # it reads a view of it, too
        return False
    operands = [x.example for x in v.operands() if x.number == number]
    alike = [np.shape(x) == v.example.shape and x.strides == v.example.strides for x in operands]
    return bool(alike) and all(alike)
