"""Pass: a program as one function of machine code, without a call of Python's: chains, and NumPy's own inner loops.

Chains are loops already (`loops`); what lies between them is in `whole_calls`. Where there is anything else, the
program stays calls and chains (`compiled`). Inputs and outputs move: at every step each of them lies elsewhere. Their
addresses are in a row beside the table of what stays, so that one call runs a whole stretch of steps (`stretches`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from metagrad.replay.arena import Arena
from metagrad.replay.buffers import Unit, placed, takes_out
from metagrad.replay.chains import grouped
from metagrad.replay.cheap import cheap
from metagrad.replay.loops import Lowering
from metagrad.replay.program import Value
from metagrad.replay.sums import pattern
from metagrad.replay.whole_calls import add_call, has_room
from metagrad.replay.whole_table import NotWhole, Table, Whole


class Planned(NamedTuple):
    """A whole step, the table it is called with, and the values whose addresses stand in a row."""

    whole: Whole
    table: Any
    inputs: list[Value]
    outputs: list[Value]
    held: list[Any]  # arrays whose addresses are in the table, but for the buffers
    block: Any  # of the buffers, None where there are none
    of_block: Any  # where in the table addresses in the block stand
    same_as: list[int]  # of each output, the first that is the same value


def planned(
    inputs: list[Value],
    calls: list[Value],
    outputs: list[Value],
    guards: list[tuple[Value, bool]],
    watched: list[Value],
    arena: Arena | None = None,
) -> Planned:
    """Return a program as one function, its buffers in an arena; NotWhole where that cannot be."""
    return _Planner(inputs, calls, outputs, guards, watched, arena).done()


class _Planner:
    def __init__(
        self,
        inputs: list[Value],
        calls: list[Value],
        outputs: list[Value],
        guards: list[tuple[Value, bool]],
        watched: list[Value],
        arena: Arena | None,
    ) -> None:
        from metagrad.replay.agree import disagreeing, operations_of

        self._inputs, self._guards = inputs, {v.number: expected for v, expected in guards}
        self._looked = {v.number for v in watched if _is_float(v)}
        values = [v for v in calls if v.function is not None]
        read = [x for v in values for x in v.operands()]  # constants among them
        self._next = 1 + max((v.number for v in [*inputs, *values, *read, *outputs]), default=0)
        found = {v.number: c for v in values if (c := cheap(v)) is not None}
        bad = disagreeing({operation for c in found.values() for operation in operations_of(c)})
        self._cheap = {number: c for number, c in found.items() if not bad.intersection(operations_of(c))}
        numbers = [v.number for v in outputs]
        self._same_as = [numbers.index(number) for number in numbers]
        self._outputs = self._made(values, outputs)
        ends = [v if v.is_array else next(v.operands()) for v in self._outputs]
        units = grouped(values, ends, [v for v, _ in guards], self._cheap)
        self._units = [self._chained(unit) for unit in units]
        buffers = placed(self._units, [v for v in self._outputs if v.is_array], 0, arena, has_room)
        self._table, self._block = Table(dict(buffers.arrays), buffers.block), buffers.block

    def done(self) -> Planned:
        table = self._table
        for row, v in enumerate(self._inputs):
            table.move(v, row, v.number)
        for row, v in enumerate(self._outputs, start=len(self._inputs)):
            table.move(v, row, v.number)
        made = [v for unit in self._units if unit.is_chain for v in unit.values]
        at_hand = {x.number for v in made for x in (v, *([] if pattern(v) else v.operands()))}
        later = self._looked & at_hand  # a chain has it in a register
        self._check(self._inputs, self._looked - later)
        for unit in self._units:
            if unit.is_chain:
                later = later - self._chain(unit, later)
            else:
                add_call(table, unit.values[0])
            self._check(unit.values, set() if unit.is_chain else self._looked - later)
        for v in self._outputs:
            if v.function is _number:
                self._copy_number(v)
        if later:
            raise NotWhole("it does not look for NaN where it should")
        whole = Whole(tuple(table.parts), len(self._inputs) + len(self._outputs))
        of_block = table.within(self._block)
        held = table.lasting()
        return Planned(whole, table.numbers, self._inputs, self._outputs, held, self._block, of_block, self._same_as)

    def _made(self, values: list[Value], outputs: list[Value]) -> list[Value]:
        """Return the outputs as values that are computed into memory of their own; others are copied at the end."""
        found, seen = [], set[int]()
        computed = {v.number for v in values}
        for v in outputs:
            is_own = v.number in computed and v.number not in seen and v.is_array
            is_own = is_own and (v.number in self._cheap or takes_out(v))
            seen.add(v.number)
            if is_own:
                found.append(v)
                continue
            copy = Value(self._next, v.example, np.copy if v.is_array else _number, (v,))
            self._next += 1
            if v.is_array:
                call = cheap(copy)
                if call is None:
                    raise NotWhole(f"it returns an array of {v.example.dtype}")
                self._cheap[copy.number] = call
                values.append(copy)
            found.append(copy)
        return found

    def _chained(self, unit: Unit) -> Unit:
        """Return a cheap call that stands alone, for a guard needs it, as a chain of one."""
        is_cheap = not unit.is_chain and unit.values[0].number in self._cheap
        return unit._replace(is_chain=True) if is_cheap else unit

    def _chain(self, unit: Unit, watched: set[int]) -> set[int]:
        """Add a chain; return where it looks for NaN."""
        table, static = self._table, {}
        for v in unit.values:
            for x in (v, *v.operands()):
                if x.number in table.arrays:
                    static[x.number] = table.arrays[x.number]
                elif x.is_constant:
                    static[x.number] = table.constant(x)
        low = _Lowering(unit, self._cheap, watched, static).done()
        if low.operands or low.written:
            raise NotWhole("an array that has no place")
        for room, values in low.rooms:
            table.held.append(room)
            for i, v in enumerate(values):
                table.arrays[v.number] = room[i : i + 1].reshape(())
        table.add(low.kernel, low.table.tolist())
        return low.looked

    def _check(self, values: Iterable[Value], looked: set[int]) -> None:
        """Add the guards and the looks for NaN at what has been made."""
        table = self._table
        for v in values:
            if v.number in self._guards:
                steps = ("read", "x", 0, ()), ("guard", "x", self._guards[v.number])
                table.kernel([table.arrays[v.number]], steps)
            if v.number in looked:
                array = table.arrays.get(v.number)
                if array is None:
                    raise NotWhole("it looks for NaN in a number that has no place")
                if np.ndim(array) and np.empty_like(array).strides != array.strides:
                    raise NotWhole("it looks for NaN in an array with gaps")
                step, sizes = ((1,), (array.size,)) if array.ndim else ((), ())
                table.kernel([array], (("read", "x", 0, step), ("look", "x")), sizes)

    def _copy_number(self, v: Value) -> None:
        """Add that a number is copied into an output."""
        table, source = self._table, next(v.operands())
        if source.is_constant and source.number not in table.arrays:
            table.constant(source)
        if source.number not in table.arrays:
            raise NotWhole("a number that has no place")
        pair = [table.arrays[source.number], table.arrays[v.number]]
        table.kernel(pair, (("read", "x", 0, ()), ("write", 1, (), "x")))


class _Lowering(Lowering):
    """A chain of which all operands, numbers among them, are read from memory."""

    def _is_read(self, x: Value) -> bool:
        return super()._is_read(x) if x.number in self._own else True


def _number(x: Any) -> Any:
    """Return a number: what stands for its copy into an output."""
    return x


def _is_float(v: Value) -> bool:
    return type(v.example) is float or getattr(getattr(v.example, "dtype", None), "kind", "") == "f"
